// hixie-76 and hixie-75 by hand, for what no client of theirs sends.

import { createHash } from "node:crypto";

import { Raw } from "./raw.mjs";

/** The keys of section 1.2 of draft 76, with the numbers that are in them. */
const KEYS = { first: "4 @1  46546xW%0l 1 5", second: "12998 5 Y3 1  .P00", numbers: [829309203, 259970620] };
const KEY_BYTES = Buffer.from("^n:ds[4U", "latin1");

export class Hixie extends Raw {
  /** Headers of a good handshake of draft 76, without the key bytes. */
  headers76(more = {}) {
    return {
      Host: this.url.host,
      Connection: "Upgrade",
      "Sec-WebSocket-Key2": KEYS.second,
      "Sec-WebSocket-Protocol": "throughline.v1",
      Upgrade: "WebSocket",
      "Sec-WebSocket-Key1": KEYS.first,
      Origin: `http://${this.url.host}`,
      ...more,
    };
  }

  headers75(more = {}) {
    return { Upgrade: "WebSocket", Connection: "Upgrade", Host: this.url.host, Origin: `http://${this.url.host}`, ...more };
  }

  /** Writes a request with what follows it in one piece. */
  ask(headers, behind = Buffer.alloc(0), path = this.url.pathname + this.url.search) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    this.write(Buffer.concat([Buffer.from([`GET ${path} HTTP/1.1`, ...lines, "", ""].join("\r\n")), behind]));
  }

  /** The head of the answer, byte for byte. */
  async head() {
    const end = await this.until((bytes) => (bytes.includes("\r\n\r\n") ? bytes.indexOf("\r\n\r\n") + 4 : undefined), "the head of the answer");
    return this.cut(end).toString("latin1");
  }

  cut(count) {
    const taken = this.bytes.subarray(0, count);
    this.bytes = this.bytes.subarray(count);
    return taken;
  }

  keyBytes() {
    return KEY_BYTES;
  }

  /** Reads the digest; fails unless it is the right one for these numbers. */
  async digest(numbers = KEYS.numbers) {
    await this.until((bytes) => (bytes.length >= 16 ? true : undefined), "the digest");
    const words = Buffer.alloc(8);
    numbers.forEach((number, at) => words.writeUInt32BE(number, at * 4));
    const expected = createHash("md5").update(words).update(KEY_BYTES).digest();
    const given = this.cut(16);
    if (!given.equals(expected)) throw new Error(`wrong digest: ${given.toString("hex")}`);
  }

  /** Opens a connection of draft 76. */
  static async open76(url, more) {
    const link = await Hixie.dial(url);
    link.ask(link.headers76(more), KEY_BYTES);
    await link.head();
    await link.digest();
    return link;
  }

  static async dial(url) {
    return Object.setPrototypeOf(await Raw.connect(url), Hixie.prototype);
  }

  static async open75(url, more) {
    const link = await Hixie.dial(url);
    link.ask(link.headers75(more));
    await link.head();
    return link;
  }

  say(text) {
    this.write(Buffer.concat([Buffer.of(0), Buffer.from(text), Buffer.of(0xff)]));
  }

  /** The next message; undefined for the close frame. */
  async next() {
    const end = await this.until((bytes) => {
      if (bytes[0] === 0xff && bytes.length >= 2) return 2;
      const at = bytes.indexOf(0xff);
      return bytes[0] === 0 && at > 0 ? at + 1 : undefined;
    }, "a frame");
    const frame = this.cut(end);
    if (frame[0] === 0xff) {
      if (frame[1] !== 0) throw new Error("a frame of type FF with a length");
      return undefined;
    }
    return frame.subarray(1, -1).toString();
  }

  /** The next protocol message of one of these types. */
  async message(...types) {
    for (;;) {
      const text = await this.next();
      if (text === undefined) throw new Error(`closed before ${types}`);
      const message = JSON.parse(text);
      if (types.includes(message.type)) return message;
      if (message.type === "ping") this.say('{"type":"pong"}');
    }
  }
}
