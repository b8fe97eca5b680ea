// The middleboxes of the fault matrix, by hand over sockets: each does what its name says, and nothing else.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { after, afterEach, before, test } from "node:test";

import { faultNames, newFault } from "./lib/faults.mjs";
import { FrameCounter } from "./lib/frames.mjs";
import { Middlebox } from "./lib/middlebox.mjs";
import { Raw, frame } from "./lib/raw.mjs";

const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** What stands for the realm: it says what it saw, and does what the test tells it. */
class Upstream extends EventEmitter {
  static async start() {
    const upstream = new Upstream();
    upstream.server = createServer((request, response) => upstream.take(request, response));
    upstream.server.on("upgrade", (request, socket) => upstream.upgrade(request, socket));
    upstream.server.listen(0, "127.0.0.1");
    await once(upstream.server, "listening");
    upstream.url = `http://127.0.0.1:${upstream.server.address().port}`;
    return upstream;
  }

  async take(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    this.emit("request", { request, response, body: Buffer.concat(parts).toString() });
  }

  upgrade(request, socket) {
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + MAGIC).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    this.emit("upgrade", socket);
  }

  /** The next request; `give(upstream)` must not have been called before this. */
  async next() {
    const [exchange] = await once(this, "request");
    return exchange;
  }

  async close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

let upstream;
let box;
let clock = 0;
const raws = [];
before(async () => {
  upstream = await Upstream.start();
  box = await Middlebox.start(upstream.url, { now: () => clock });
});
afterEach(() => {
  box.apply(undefined);
  for (const raw of raws.splice(0)) raw.end();
  box.openings = [];
});
after(async () => {
  await box.close();
  await upstream.close();
});

const STREAM = "/throughline/v1/stream?link=a&as=lines";
const SOCKET = "/throughline/v1/websocket";
const serverFrame = (text) => frame(1, text, { mask: false });

async function raw(path = SOCKET) {
  const client = await Raw.connect(box.url + path);
  raws.push(client);
  return client;
}

/** A WebSocket through the box, and its end at the realm. */
async function webSocket() {
  const client = await raw();
  const [[server]] = await Promise.all([once(upstream, "upgrade"), client.upgrade()]);
  server.on("data", (bytes) => server.emit("heard", bytes));
  return { client, server };
}

/** Sends a request; gives the client and the exchange as the realm sees it. */
async function exchange(path = STREAM, text = `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`) {
  const client = await raw(path);
  const seen = upstream.next();
  client.write(text);
  return { client, ...(await seen) };
}

/** The answer's bytes once they hold this text. */
const holds = (client, text) => client.until((bytes) => (bytes.includes(text) ? bytes.toString() : undefined), text);

test("without a fault a WebSocket passes both ways and its end passes too", async () => {
  const { client, server } = await webSocket();
  server.write(serverFrame("down"));
  assert.equal((await client.frame()).payload.toString(), "down");
  const heard = once(server, "heard");
  client.write(frame(1, "up"));
  assert.equal((await heard)[0].length, frame(1, "up").length);
  const ended = once(server, "close");
  client.end();
  await ended;
  assert.deepEqual(box.openings.map(({ transport }) => transport), ["websocket"]);
});

test("without a fault each piece of an answer passes at once", async () => {
  const { client, response } = await exchange();
  response.write("first");
  await holds(client, "first");
  response.end("last");
  const text = await holds(client, "0\r\n\r\n");
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(text, /first[^]*last/);
});

test("a browser that leaves is seen by the realm", async () => {
  const { client, response } = await exchange();
  response.write("first");
  await holds(client, "first");
  const closed = once(response, "close");
  client.end();
  await closed;
});

test("openings are counted by transport, further polls are not", async () => {
  const paths = [STREAM, "/stream?link=b&as=event-stream", "/stream?link=c&as=script", "/poll?link=d&ack=0", "/poll?link=d&ack=1", "/poll?link=e&ack=0&callback=f", "/uplink?link=d&n=1"];
  for (const path of paths) {
    const { client, response } = await exchange(path.startsWith("/throughline") ? path : `/throughline/v1${path}`);
    response.end("x");
    await holds(client, "x");
  }
  const transports = box.openings.map(({ transport }) => transport);
  assert.deepEqual(transports, ["http-stream", "event-source", "iframe-stream", "long-poll", "jsonp-poll"]);
});

for (const name of ["refuse", "buffer-end", "buffer-16k", "stream-cut", "small-only", "idle-drop-http"]) {
  test(`${name}: a handshake is answered with 403, without the realm's mark, and a live WebSocket is reset`, async () => {
    const { client: live } = await webSocket();
    box.apply(newFault(name));
    await live.closed;
    const client = await raw();
    const answer = await client.request("GET", client.handshake());
    assert.equal(answer.status, 403);
    assert.equal(answer.headers.get("throughline"), undefined);
    assert.equal(answer.headers.get("via"), "1.1 middlebox");
  });
}

test("refuse: ordinary requests pass", async () => {
  box.apply(newFault("refuse"));
  const { client, response } = await exchange();
  response.end("through");
  await holds(client, "through");
});

test("reset: a handshake is reset", async () => {
  box.apply(newFault("reset"));
  const client = await raw();
  await assert.rejects(client.request("GET", client.handshake()), /closed before the head/);
});

test("black-hole: a handshake is not answered, and the realm sees nothing", async () => {
  let seen = 0;
  const count = () => seen++;
  upstream.on("upgrade", count);
  box.apply(newFault("black-hole"));
  const silent = await raw();
  silent.request("GET", silent.handshake()).catch(() => {});
  const { client, response } = await exchange();
  response.end("meanwhile");
  await holds(client, "meanwhile");
  assert.deepEqual([seen, silent.bytes.length, silent.over], [0, 0, undefined]);
  upstream.off("upgrade", count);
});

test("cut: the 101 passes, no frame does, and the end comes soon", async () => {
  box.apply(newFault("cut"));
  const { client, server } = await webSocket();
  server.write(serverFrame("never"));
  await client.closed;
  assert.equal(client.bytes.length, 0);
});

test("swallow: the 101 passes, no frame does, and nothing ends", async () => {
  box.apply(newFault("swallow"));
  const { client, server } = await webSocket();
  let heard = 0;
  server.on("heard", () => heard++);
  server.write(serverFrame("never"));
  client.write(frame(1, "never"));
  const other = await exchange();
  other.response.end("meanwhile");
  await holds(other.client, "meanwhile");
  assert.deepEqual([client.bytes.length, heard, client.over], [0, 0, undefined]);
});

test("swallow: a WebSocket that lived goes silent, and stays so when the fault is lifted", async () => {
  const { client, server } = await webSocket();
  server.write(serverFrame("before"));
  assert.equal((await client.frame()).payload.toString(), "before");
  box.apply(newFault("swallow"));
  box.apply(undefined);
  server.write(serverFrame("after"));
  const next = await webSocket();
  next.server.write(serverFrame("healthy"));
  assert.equal((await next.client.frame()).payload.toString(), "healthy");
  assert.equal(client.bytes.length, 0);
});

test("frames-then-cut: three frames pass whole, then a reset", async () => {
  box.apply(newFault("frames-then-cut"));
  const { client, server } = await webSocket();
  server.write(Buffer.concat(["one", "two", "3".repeat(300), "four"].map(serverFrame)));
  await client.closed;
  const sizes = [(await client.frame()).payload.length, (await client.frame()).payload.length, (await client.frame()).payload.length];
  assert.deepEqual(sizes, [3, 3, 300]);
  assert.equal(client.bytes.length, 0);
});

test("a counter of frames finds their ends wherever the bytes are cut", () => {
  const frames = [0, 1, 125, 126, 65_535, 65_536].map((size) => frame64("x".repeat(size)));
  const all = Buffer.concat(frames);
  for (const step of [1, 2, 3, 7, 126, 65_540]) {
    const counter = new FrameCounter();
    const ends = [];
    let passed = 0;
    for (let at = 0; at < all.length; at += step) {
      for (const part of counter.split(all.subarray(at, at + step))) {
        passed += part.length;
        if (counter.whole) ends.push(passed);
      }
    }
    let end = 0;
    assert.deepEqual(ends, frames.map((bytes) => (end += bytes.length)), `step ${step}`);
  }
});

/** An unmasked frame of any length. */
function frame64(text) {
  if (text.length < 65_536) return serverFrame(text);
  const size = Buffer.alloc(10);
  size.writeUInt16BE(0x817f);
  size.writeBigUInt64BE(BigInt(text.length), 2);
  return Buffer.concat([size, Buffer.from(text)]);
}

test("buffer-end: nothing of an answer comes before its end", async () => {
  box.apply(newFault("buffer-end"));
  const held = await exchange();
  held.response.write("x".repeat(100_000));
  const other = await exchange();
  other.response.end("meanwhile");
  await holds(other.client, "meanwhile");
  assert.equal(held.client.bytes.length, 0);
  held.response.end("last");
  assert.match(await holds(held.client, "last"), /^HTTP\/1\.1 200/);
});

test("buffer-end: an answer that was under way is held from now on", async () => {
  const held = await exchange();
  held.response.write("before");
  await holds(held.client, "before");
  box.apply(newFault("buffer-end"));
  held.response.write("held");
  const other = await exchange();
  other.response.end("meanwhile");
  await holds(other.client, "meanwhile");
  assert.ok(!held.client.bytes.includes("held"));
});

test("buffer-16k: an answer comes in whole blocks", async () => {
  box.apply(newFault("buffer-16k"));
  const { client, response } = await exchange();
  response.write("x".repeat(16_383));
  const other = await exchange();
  other.response.end("meanwhile");
  await holds(other.client, "meanwhile");
  assert.equal(client.bytes.length, 0);
  response.write("yz");
  const text = await holds(client, "y");
  assert.ok(!text.includes("z"));
  response.end();
  await holds(client, "z");
});

test("stream-cut: an answer is cut at its age; one that has not begun is answered 504", async () => {
  box.apply(newFault("stream-cut", { cutMs: 50 }));
  const { client, response } = await exchange();
  response.write("begun");
  await holds(client, "begun");
  await client.closed;
  const { client: other } = await exchange();
  await holds(other, "504 Gateway Timeout");
});

test("idle-drop: a flow that was idle for too long passes nothing more, and nobody is told", async () => {
  box.apply(newFault("idle-drop"));
  const { client, server } = await webSocket();
  clock += 20_000;
  server.write(serverFrame("in time"));
  assert.equal((await client.frame()).payload.toString(), "in time");
  clock += 20_001;
  server.write(serverFrame("too late"));
  const next = await webSocket();
  next.server.write(serverFrame("a new flow"));
  assert.equal((await next.client.frame()).payload.toString(), "a new flow");
  assert.deepEqual([client.bytes.length, client.over], [0, undefined]);
});

test("idle-drop: a kept-alive connection that was idle swallows the next request", async () => {
  box.apply(newFault("idle-drop"));
  const { client, response } = await exchange();
  response.end("first");
  await holds(client, "first");
  clock += 20_001;
  let seen = 0;
  const count = () => seen++;
  upstream.on("request", count);
  client.bytes = Buffer.alloc(0);
  client.write(`GET ${STREAM} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const next = await exchange();
  next.response.end("a new flow");
  await holds(next.client, "a new flow");
  assert.deepEqual([seen, client.bytes.length, client.over], [1, 0, undefined]);
  upstream.off("request", count);
});

test("http10: the realm sees HTTP/1.0 without Upgrade, and the answer ends with the connection", async () => {
  box.apply(newFault("http10"));
  const { client, request, response, body } = await exchange(STREAM, `POST ${STREAM} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`);
  assert.deepEqual([request.httpVersion, request.headers.connection, request.headers.via, body], ["1.0", "close", "1.0 middlebox", "body"]);
  response.write("live");
  await holds(client, "live");
  response.end("last");
  await client.closed;
  assert.match(client.bytes.toString(), /^HTTP\/1\.0 200 OK\r\n[^]*\r\n\r\nlivelast$/);
});

for (const [name, version] of [["http10", "1.0"], ["strip", "1.1"]]) {
  test(`${name}: a handshake arrives without Upgrade, and the realm's own answer comes back`, async () => {
    box.apply(newFault(name));
    const client = await raw();
    const seen = upstream.next();
    const answered = client.request("GET", client.handshake());
    const { request, response } = await seen;
    assert.equal(request.httpVersion, version);
    assert.equal(request.headers.upgrade, undefined);
    assert.ok(request.headers["sec-websocket-key"]);
    response.writeHead(426, { Throughline: "1" }).end();
    const answer = await answered;
    assert.deepEqual([answer.status, answer.headers.get("throughline")], [426, "1"]);
  });
}

test("small-only: what is small passes; other methods, large bodies, streams and long addresses do not", async () => {
  box.apply(newFault("small-only"));
  const small = await exchange();
  small.response.end("small");
  await holds(small.client, "small");
  const refused = {
    405: `PUT ${STREAM} HTTP/1.1\r\nHost: a\r\n\r\n`,
    413: `POST ${STREAM} HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n${"x".repeat(16_385)}`,
    414: `GET ${STREAM}&x=${"y".repeat(2048)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  };
  for (const [status, text] of Object.entries(refused)) {
    const client = await raw();
    client.write(text);
    await holds(client, `HTTP/1.1 ${status} `);
  }
  const stream = await exchange();
  stream.response.write("an answer whose length is not said");
  await holds(stream.client, "HTTP/1.1 502 ");
});

test("deaf: the realm hears, and is not heard, until everything is cut", async () => {
  const { client, server } = await webSocket();
  box.apply(newFault("deaf"));
  const heard = once(server, "heard");
  client.write(frame(1, "up"));
  await heard;
  server.write(serverFrame("never"));
  const { client: asking, response } = await exchange();
  response.end("never");
  await once(response, "finish");
  box.cut();
  await Promise.all([client.closed, asking.closed]);
  assert.deepEqual([client.bytes.length, asking.bytes.length], [0, 0]);
});

test("down: connections are reset, and come back when it is lifted", async () => {
  const { client, response } = await exchange();
  response.write("live");
  await holds(client, "live");
  box.apply(newFault("down"));
  await client.closed;
  const refused = await Raw.connect(box.url).catch(() => undefined);
  await refused?.closed;
  box.apply(undefined);
  await webSocket();
});

test("every fault has a test", () => {
  const tested = ["refuse", "reset", "black-hole", "cut", "swallow", "frames-then-cut", "buffer-end", "buffer-16k", "stream-cut", "idle-drop", "idle-drop-http", "http10", "strip", "small-only", "deaf", "down"];
  assert.deepEqual(faultNames, tested);
});
