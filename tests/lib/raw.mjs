// WebSocket by hand over a socket: for handshakes and frames that no library sends.

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";

const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A key as RFC 6455 wants it. */
export const newKey = () => randomBytes(16).toString("base64");

/** A frame; masked unless `mask` is false. */
export function frame(opcode, payload = Buffer.alloc(0), { fin = true, rsv = 0, mask = true } = {}) {
  const data = Buffer.from(payload);
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const masked = mask ? 0x80 : 0;
  if (data.length < 126) head.push(masked | data.length);
  else head.push(masked | 126, data.length >> 8, data.length & 0xff);
  if (!mask) return Buffer.concat([Buffer.from(head), data]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, data.map((byte, at) => byte ^ key[at % 4])]);
}

export class Raw {
  /** Connects, over TLS where roots (`ca`) are given, `from` an address of this machine; nothing is sent yet. */
  static async connect(url, { ca, from } = {}) {
    const raw = new Raw();
    raw.url = new URL(url);
    raw.bytes = Buffer.alloc(0);
    raw.waiting = new Set();
    const way = { port: Number(raw.url.port), host: raw.url.hostname, localAddress: from };
    raw.socket = ca ? connectTls({ ...way, ca }) : connect(way);
    raw.socket.on("data", (data) => raw.take(data));
    raw.socket.on("error", () => {});
    raw.closed = new Promise((resolve) => raw.socket.on("close", resolve));
    raw.closed.then(() => {
      raw.over = true;
      for (const check of raw.waiting) check();
    });
    await new Promise((resolve, reject) => raw.socket.once(ca ? "secureConnect" : "connect", resolve).once("error", reject));
    return raw;
  }

  take(data) {
    this.bytes = Buffer.concat([this.bytes, data]);
    for (const check of this.waiting) check();
  }

  write(data) {
    this.socket.write(data);
  }

  /** Resolves to what `find(bytes)` returns as soon as that is not undefined. */
  until(find, what) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = find(this.bytes);
        if (found === undefined && !this.over) return;
        this.waiting.delete(check);
        if (found !== undefined) resolve(found);
        else reject(new Error(`the server closed before ${what}; it had sent ${this.bytes.length} bytes`));
      };
      this.waiting.add(check);
      check();
    });
  }

  /** Sends a request head and reads the head of the answer, and its body when it says how long that is. */
  async request(method, headers, path = this.url.pathname) {
    const lines = Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => `${name}: ${value}`));
    this.write([`${method} ${path} HTTP/1.1`, ...lines, "", ""].join("\r\n"));
    return this.answer();
  }

  async answer() {
    const end = await this.until((bytes) => found(bytes.indexOf("\r\n\r\n")), "the head of the answer");
    const [first, ...lines] = this.bytes.subarray(0, end).toString("latin1").split("\r\n");
    this.bytes = this.bytes.subarray(end + 4);
    const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    const length = Number(headers.get("content-length") ?? 0);
    const body = await this.until((bytes) => (bytes.length >= length ? bytes.subarray(0, length) : undefined), "the body of the answer");
    this.bytes = this.bytes.subarray(length);
    return { status: Number(first.split(" ")[1]), headers, body: body.toString() };
  }

  /** Headers of a good handshake. */
  handshake(more = {}) {
    this.key = newKey();
    return {
      Host: this.url.host,
      Upgrade: "websocket",
      Connection: "Upgrade",
      "Sec-WebSocket-Key": this.key,
      "Sec-WebSocket-Version": "13",
      ...more,
    };
  }

  /** Upgrades; fails unless the answer is the right one. */
  async upgrade(more) {
    const answer = await this.request("GET", this.handshake(more));
    const accept = createHash("sha1").update(this.key + MAGIC).digest("base64");
    if (answer.status !== 101) throw new Error(`${answer.status} instead of 101: ${answer.body}`);
    if (answer.headers.get("sec-websocket-accept") !== accept) throw new Error("wrong Sec-WebSocket-Accept");
    return answer;
  }

  /** The next whole frame. */
  async frame() {
    const parsed = await this.until(parse, "a frame");
    this.bytes = this.bytes.subarray(parsed.length);
    return parsed;
  }

  /** Frames up to the close frame, whose code and reason are given. */
  async close() {
    for (;;) {
      const { opcode, payload } = await this.frame();
      if (opcode === 8) return { code: payload.length >= 2 ? payload.readUInt16BE(0) : 1005, reason: payload.subarray(2).toString() };
    }
  }

  end() {
    this.socket.destroy();
  }
}

const found = (index) => (index < 0 ? undefined : index);

/** The frame at the front: unmasked, as a server sends it. */
function parse(bytes) {
  if (bytes.length < 2) return undefined;
  const short = bytes[1] & 0x7f;
  const head = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
  if (bytes.length < head) return undefined;
  const size = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < head + size) return undefined;
  if (bytes[1] & 0x80) throw new Error("the server masked a frame");
  return { opcode: bytes[0] & 0x0f, rsv: (bytes[0] >> 4) & 7, payload: bytes.subarray(head, head + size), length: head + size };
}
