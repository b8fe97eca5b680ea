// Holds many sessions of one transport, as their clients would: a program of its own, so that its files and its time are
// not the server's.
//
//   node tests/lib/holder.mjs KIND URL SESSIONS CHANNELS
//
// Says `ready` once every session is welcomed and subscribed, and on each line of its input how many sessions live and
// how many events all of them have been given.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { createInterface } from "node:readline";

import { frame } from "./raw.mjs";

const [kind, address, sessions, channels] = process.argv.slice(2);
const url = new URL(address);
/** Sessions that are being opened at a time. */
const OPENING_MAX = 100;
const HEARTBEAT_MS = 25_000;
const HOLD_MS = 25_000;

const state = { opened: 0, ready: 0, lost: 0, events: 0, failure: undefined };

function fail(text) {
  state.failure ??= text;
  state.lost += 1;
}

function request(method, path, body = "") {
  const lines = [`${method} /throughline/v1/${path} HTTP/1.1`, `Host: ${url.host}`, "Sec-Fetch-Site: same-origin"];
  if (method === "POST") lines.push("Content-Type: text/plain;charset=UTF-8", `Content-Length: ${Buffer.byteLength(body)}`);
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

/** A connection to the server that hands out its bytes. */
function dial(onbytes, onend) {
  const socket = connect(Number(url.port), url.hostname);
  socket.setNoDelay(true);
  socket.on("data", onbytes);
  socket.on("error", () => {});
  socket.on("close", onend);
  return socket;
}

/** One answer with a length after the other, from the bytes of a kept connection. */
class Answers {
  constructor(onanswer) {
    this.onanswer = onanswer;
    this.bytes = Buffer.alloc(0);
  }

  take(bytes) {
    this.bytes = this.bytes.length === 0 ? bytes : Buffer.concat([this.bytes, bytes]);
    for (;;) {
      const end = this.bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = this.bytes.toString("latin1", 0, end);
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      if (this.bytes.length < end + 4 + length) return;
      const body = this.bytes.toString("utf8", end + 4, end + 4 + length);
      this.bytes = this.bytes.subarray(end + 4 + length);
      this.onanswer(Number(head.slice(9, 12)), body);
    }
  }
}

/**
 * A few kept connections that carry everybody's uplink. The server ends one that is idle for long, as it may: the next
 * piece opens another, and a piece under way is sent again, as browsers do (its number keeps it from counting twice).
 */
class Uplinks {
  constructor(size) {
    this.free = size;
    this.idle = [];
    this.waiting = [];
  }

  open() {
    this.free -= 1;
    const line = {};
    const answers = new Answers((status, body) => {
      if (status !== 200) fail(`uplink: ${status} ${body}`);
      line.piece = undefined;
      this.idle.push(line);
      this.carry();
    });
    line.socket = dial((bytes) => answers.take(bytes), () => this.ended(line));
    return line;
  }

  ended(line) {
    this.free += 1;
    this.idle = this.idle.filter((other) => other !== line);
    if (line.piece !== undefined) this.send(line.piece);
  }

  carry() {
    while (this.waiting.length > 0) {
      const line = this.idle.pop() ?? (this.free > 0 ? this.open() : undefined);
      if (line === undefined) return;
      line.piece = this.waiting.shift();
      line.socket.write(line.piece);
    }
  }

  send(text) {
    this.waiting.push(text);
    this.carry();
  }
}

class Held {
  constructor(number, next) {
    this.next = next;
    this.link = randomBytes(16).toString("hex");
    this.first = [
      { type: "connect", versions: [1], heartbeat: HEARTBEAT_MS, client: "hold" },
      { type: "subscribe", id: 1, channel: `hold/${number % Number(channels)}`, from: "new" },
    ];
  }

  get lines() {
    return this.first.map((message) => `${JSON.stringify(message)}\n`).join("");
  }

  message(message) {
    if (message.type === "event") state.events += 1;
    else if (message.type === "ping") this.say({ type: "pong" });
    else if (message.type === "close") fail(`closed: ${message.code} ${message.reason}`);
    else if (message.type === "reply") {
      if (message.error) fail(message.error.message);
      state.ready += 1;
      this.next();
    }
  }

  ended(what) {
    fail(`${what} ended`);
    this.next();
  }

  /** Takes lines, some of which hold a message; what is not yet a line waits. */
  text(bytes) {
    const lines = ((this.rest ?? "") + bytes.toString("latin1")).split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (kind === "iframe-stream") {
      const [, call] = /^<script>m\((".*")\)<\/script>/.exec(line) ?? [];
      if (call !== undefined) this.message(JSON.parse(JSON.parse(call)));
    } else {
      const at = line.indexOf("{");
      if (at >= 0) this.message(JSON.parse(line.slice(at)));
    }
  }
}

class WebSocketHeld extends Held {
  open() {
    this.socket = dial((bytes) => this.take(bytes), () => this.ended("a WebSocket"));
    const key = randomBytes(16).toString("base64");
    const head = `Host: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13`;
    this.socket.write(`GET /throughline/v1/websocket HTTP/1.1\r\n${head}\r\n\r\n`);
    for (const message of this.first) this.say(message);
  }

  say(message) {
    this.socket.write(frame(1, JSON.stringify(message)));
  }

  take(bytes) {
    this.bytes = this.bytes === undefined ? bytes : Buffer.concat([this.bytes, bytes]);
    if (!this.upgraded) {
      const end = this.bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.upgraded = true;
      this.bytes = this.bytes.subarray(end + 4);
    }
    this.frames();
  }

  /** Whole frames; those of this load are all shorter than 64 KiB. */
  frames() {
    for (;;) {
      const short = this.bytes[1];
      const begin = short === 126 ? 4 : 2;
      if (this.bytes.length < begin) break;
      const end = begin + (short === 126 ? this.bytes.readUInt16BE(2) : short);
      if (this.bytes.length < end) break;
      const opcode = this.bytes[0] & 15;
      const payload = this.bytes.subarray(begin, end);
      if (opcode === 1) this.message(JSON.parse(payload.toString()));
      else if (opcode === 9) this.socket.write(frame(10, payload));
      this.bytes = this.bytes.subarray(end);
    }
    if (this.bytes.length === 0) this.bytes = undefined;
  }
}

/** How each kind of stream asks for its messages. */
const STREAMS = { "http-stream": "lines", "event-source": "event-stream", "iframe-stream": "script" };

class StreamHeld extends Held {
  open() {
    this.socket = dial((bytes) => this.text(bytes), () => this.ended("a stream"));
    const path = `stream?link=${this.link}&n=1&as=${STREAMS[kind]}`;
    const piece = `m=${encodeURIComponent(this.lines)}`;
    if (kind === "http-stream") this.socket.write(request("POST", path, this.lines));
    else this.socket.write(request("GET", kind === "iframe-stream" ? `${path}&origin=${url.origin}&${piece}` : `${path}&${piece}`));
    this.n = 1;
  }

  say(message) {
    this.n += 1;
    uplinks.send(request("POST", `uplink?link=${this.link}&n=${this.n}`, `${JSON.stringify(message)}\n`));
  }
}

class PollHeld extends Held {
  open() {
    this.answers = new Answers((status, body) => this.answer(status, body));
    this.socket = dial((bytes) => this.answers.take(bytes), () => this.ended("a poll's connection"));
    this.ack = 0;
    this.n = 0;
    this.unsaid = this.lines;
    this.poll();
  }

  poll() {
    const scripted = kind === "jsonp-poll";
    const path = `poll?link=${this.link}&ack=${this.ack}&hold=${HOLD_MS}${scripted ? "&callback=take" : ""}`;
    if (this.unsaid === "") return void this.socket.write(request("GET", path));
    this.n += 1;
    if (scripted) this.socket.write(request("GET", `${path}&n=${this.n}&m=${encodeURIComponent(this.unsaid)}`));
    else this.socket.write(request("POST", `${path}&n=${this.n}`, this.unsaid));
    this.unsaid = "";
  }

  say(message) {
    this.unsaid += `${JSON.stringify(message)}\n`;
  }

  answer(status, body) {
    if (status !== 200) return fail(`poll: ${status} ${body}`);
    const text = kind === "jsonp-poll" ? JSON.parse(body.slice("/**/take(".length, -");".length)) : body;
    const [first, ...messages] = text.split("\n").filter(Boolean);
    const answer = JSON.parse(first);
    if (answer.type !== "answer") return fail(`poll: ${text}`);
    this.ack = answer.number;
    for (const message of messages) this.message(JSON.parse(message));
    this.poll();
  }
}

const KINDS = {
  websocket: WebSocketHeld,
  "http-stream": StreamHeld,
  "event-source": StreamHeld,
  "iframe-stream": StreamHeld,
  "long-poll": PollHeld,
  "jsonp-poll": PollHeld,
};
const Kind = KINDS[kind];
if (Kind === undefined) throw new Error(`no kind is called ${kind}; there are ${Object.keys(KINDS).join(", ")}`);
const uplinks = Kind === StreamHeld ? new Uplinks(50) : undefined;

let opening = 0;
function fill() {
  while (opening < OPENING_MAX && state.opened < Number(sessions)) {
    opening += 1;
    let first = true;
    const held = new Kind(state.opened++, () => {
      if (!first) return;
      first = false;
      opening -= 1;
      fill();
    });
    held.open();
  }
  if (state.ready + state.lost >= Number(sessions)) process.stdout.write("ready\n");
}
fill();
createInterface({ input: process.stdin }).on("line", () => process.stdout.write(`state ${JSON.stringify(state)}\n`));
