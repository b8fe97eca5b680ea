// Probes against a whole realm: every version of HTTP and of WebSocket, bounds, clients that leave, a realm that stops.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";

import WebSocket from "ws";

import { Hixie } from "./lib/hixie.mjs";
import { answered, ask, connected, handshake, open, websocket } from "./lib/http2.mjs";
import { Raw } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

const PROBE = "/throughline/v1/probe/";
const PLENTY = "per_minute_max = 1000000";

let realm;
let session;
before(async () => {
  realm = await Realm.start({ config: `[tls]\nself_signed = true\n[probes]\n${PLENTY}\n` });
  session = await open(plain());
});
after(async () => {
  session.destroy();
  await realm.end();
});

const plain = (of = realm) => of.url.replace(/^https/, "http");
const port = (of = realm) => Number(new URL(of.url).port);

/** Sends a request by hand and gives everything up to the end of the connection. */
async function everything(text, of = realm) {
  const raw = await Raw.connect(plain(of));
  raw.write(text.replaceAll("|", "\r\n"));
  await raw.closed;
  return raw.bytes.toString();
}

/** Waits until a line of /metrics satisfies. */
async function metric(name, satisfies, of = realm) {
  for (;;) {
    const text = await (await fetch(`${plain(of)}/metrics`)).text();
    const value = Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.slice(name.length));
    if (satisfies(value)) return value;
  }
}

test("inspect shows HTTP/1.0, 1.1 and 2, with TLS and without", async () => {
  const old = await everything(`GET ${PROBE}inspect?a=b HTTP/1.0|X-Mixed-CASE: 1||`);
  assert.match(old, /"target":"\/throughline\/v1\/probe\/inspect\?a=b".*"http":"1.0","raw":true,"headers":\[\["X-Mixed-CASE","1"\]\]/);
  const seen = await (await fetch(`${plain()}${PROBE}inspect`, { headers: { authorization: "Basic eA==" } })).json();
  assert.deepEqual([seen.http, seen.tls, seen.secure, seen.address], ["1.1", null, false, "127.0.0.1"]);
  assert.ok(seen.headers.some(([name, value]) => name.toLowerCase() === "authorization" && value === "..."));
  const { status, text } = await ask(session, { ":path": `${PROBE}inspect?h2`, "x-b": "2", cookie: "secret=1" });
  assert.equal(status, 200);
  const second = JSON.parse(text);
  assert.deepEqual([second.http, second.raw, second.target, second.method], ["2", false, `${PROBE}inspect?h2`, "GET"]);
  assert.ok(second.headers.some(([name, value]) => name === "host" && value === new URL(realm.url).host));
  assert.ok(!text.includes("secret"));
  const tls = connectTls({ port: port(), host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"], maxVersion: "TLSv1.2" });
  let answer = "";
  tls.on("data", (data) => (answer += data));
  tls.write(`GET ${PROBE}inspect HTTP/1.1\r\nHost: realm\r\nConnection: close\r\n\r\n`);
  await once(tls, "end");
  assert.match(answer, /"tls":\{"version":"1.2","alpn":"http\/1.1"\},"secure":true/);
});

test("a body is counted and hashed, also one in chunks and over HTTP/2", async () => {
  const body = Buffer.alloc(1 << 20, "throughline");
  const sent = await (await fetch(`${plain()}${PROBE}post`, { method: "POST", body })).json();
  assert.equal(sent.bytes, body.length);
  const over2 = JSON.parse((await ask(session, { ":method": "POST", ":path": `${PROBE}post` }, body)).text);
  assert.deepEqual(over2, sent);
  const chunked = new ReadableStream({ start: (out) => (out.enqueue(body.subarray(0, 7)), out.enqueue(body.subarray(7)), out.close()) });
  const inChunks = await fetch(`${plain()}${PROBE}post`, { method: "POST", body: chunked, duplex: "half" });
  assert.deepEqual(await inChunks.json(), sent);
});

/** Messages of a stream, parsed. */
async function stream(parts, parse) {
  const seen = [];
  let text = "";
  for await (const part of parts) {
    text += part;
    const whole = text.split("\n");
    text = whole.pop();
    for (const line of whole.map(parse)) if (line) seen.push(JSON.parse(line));
  }
  return seen;
}

const line = (text) => text.trim();
const event = (text) => text.match(/^data: (.*)$/)?.[1];
const script = (text) => JSON.parse(text.match(/m\((".*")\)<\/script>$/)?.[1] ?? '""');

test("streams of each type count to their end, over HTTP/1.1 and 2", async () => {
  for (const [query, parse] of [["", line], ["&type=sse", event], [`&type=iframe&origin=${plain()}`, script]]) {
    const path = `${PROBE}stream?n=5&gap=20&size=200${query}`;
    const check = (messages) => {
      assert.deepEqual(messages.map(({ type, n, of }) => [type, n, of]), [1, 2, 3, 4, 5].map((n) => ["probe", n, 5]));
      messages.forEach((message, at) => assert.ok(at === 0 || message.at - messages[at - 1].at >= 20, JSON.stringify(messages)));
      for (const message of messages) assert.equal(JSON.stringify(message).length, 200);
    };
    const headers = { "sec-fetch-site": "same-origin" };
    const answer = await new Promise((resolve, reject) => request(`${plain()}${path}`, { headers }, resolve).on("error", reject).end());
    assert.equal(answer.headers["transfer-encoding"], "chunked");
    check(await stream(answer, parse));
    const over2 = session.request({ ":path": path, ...headers });
    over2.end();
    check(await stream(over2, parse));
  }
});

test("each message is a chunk of its own, and over HTTP/2 a frame, whatever the gap", async () => {
  const text = await everything(`GET ${PROBE}stream?n=50&gap=0 HTTP/1.1|Host: realm||`);
  assert.equal(text.match(/\r\n41\r\n\{/g).length, 50);
  assert.ok(text.endsWith('"}\n\r\n0\r\n\r\n'));
  const over2 = session.request({ ":path": `${PROBE}stream?n=20&gap=20` });
  over2.end();
  const parts = [];
  // Reading in a loop would put together what has come by then.
  over2.on("data", (part) => parts.push(part.toString()));
  await once(over2, "end");
  assert.deepEqual(parts.slice(1).map((part) => part.split("\n").length - 1), Array(20).fill(1));
});

const HELLOS = {
  13: async (url) => first(new WebSocket(url, { headers: { "X-Case": "Kept" }, perMessageDeflate: true })),
  8: async (url) => first(new WebSocket(url, { protocolVersion: 8, perMessageDeflate: false, headers: { "X-Case": "Kept" } })),
  7: async (url) => handmade(await Raw.connect(url), { "Sec-WebSocket-Version": "7" }),
  "hixie-76": async (url) => text(await Hixie.open76(url, { "X-Case": "Kept" })),
  "hixie-75": async (url) => text(await Hixie.open75(url, { "X-Case": "Kept" })),
};

async function first(socket) {
  const [message] = await once(socket, "message");
  socket.send("again");
  assert.equal((await once(socket, "message"))[0].toString(), "again");
  socket.terminate();
  return message.toString();
}

async function handmade(raw, more) {
  raw.write([`GET ${raw.url.pathname}${raw.url.search} HTTP/1.1`, ...Object.entries(raw.handshake({ "X-Case": "Kept", ...more })).map((pair) => pair.join(": ")), "", ""].join("\r\n"));
  assert.equal((await raw.answer()).status, 101);
  const { payload } = await raw.frame();
  raw.end();
  return payload.toString();
}

async function text(link) {
  const take = async () => {
    const end = await link.until((bytes) => (bytes.includes(0xff) ? bytes.indexOf(0xff) : undefined), "a message");
    return link.cut(end + 1).subarray(1, end).toString();
  };
  const hello = await take();
  link.say("again");
  assert.equal(await take(), "again");
  link.end();
  return hello;
}

for (const [version, hello] of Object.entries(HELLOS)) {
  test(`WebSocket ${version} says hello when asked, then echoes`, async () => {
    const seen = JSON.parse(await hello(`${plain().replace(/^http/, "ws")}${PROBE}websocket?hello=1&u=2`));
    assert.deepEqual([seen.type, seen.version, seen.http, seen.raw, seen.secure], ["hello", version, "1.1", true, false]);
    assert.equal(seen.target, `${PROBE}websocket?hello=1&u=2`);
    assert.ok(seen.headers.some(([name, value]) => name === "X-Case" && value === "Kept"), JSON.stringify(seen.headers));
    assert.equal(seen.protocol, version === "hixie-76" ? "throughline.v1" : null);
    assert.equal(seen.extensions !== null, version === "13");
  });
}

test("WebSocket within HTTP/2 says hello; without it, nothing comes before the echo", async () => {
  const { stream } = await connected(session, handshake(`${PROBE}websocket?hello=1`));
  let bytes = Buffer.alloc(0);
  for await (const part of stream) {
    bytes = Buffer.concat([bytes, part]);
    if (bytes.length > 4 && bytes.length >= 4 + bytes.readUInt16BE(2)) break;
  }
  const seen = JSON.parse(bytes.subarray(4, 4 + bytes.readUInt16BE(2)).toString());
  assert.deepEqual([seen.type, seen.http, seen.method, seen.version], ["hello", "2", "CONNECT", "13"]);
  for (const query of ["", "?hello=0"]) {
    const socket = new WebSocket(`${plain().replace(/^http/, "ws")}${PROBE}websocket${query}`);
    await once(socket, "open");
    socket.send("first");
    assert.equal((await once(socket, "message"))[0].toString(), "first");
    socket.terminate();
  }
  const refused = await answered(session.request(handshake(`${PROBE}websocket?hello=yes`)));
  assert.equal(refused.status, 400);
  assert.match(refused.text, /expected 0 or 1/);
});

test("the rate counts hello and requests, but no plain echo; the refusal is kept for /diagnose", async () => {
  const small = await Realm.start({ config: "[probes]\nper_minute_max = 2\n" });
  try {
    const echo = (query) => new WebSocket(`${small.websocket.replace(/websocket$/, "probe/websocket")}?${query}`);
    for (let n = 0; n < 20; n += 1) {
      const socket = echo("u=1");
      await once(socket, "open");
      socket.terminate();
    }
    await small.http("GET", "probe/inspect");
    const greeted = echo("hello=1");
    await once(greeted, "message");
    greeted.terminate();
    const [, answer] = await once(echo("hello=1&id=late"), "unexpected-response");
    assert.equal(answer.statusCode, 429);
    assert.ok(Number(answer.headers["retry-after"]) >= 1);
    answer.destroy();
    const told = await small.http("GET", "diagnose?id=late");
    assert.deepEqual([told.outcome, told.code], ["refused", "too_many_probes"]);
    await small.http("GET", "probe/poll?hold=0", { status: 429 });
    await metric("throughline_probes_refused_total", (n) => n >= 2, small);
  } finally {
    await small.end();
  }
});

test("streams and polls under way end whole when the realm stops", async () => {
  const own = await Realm.start({ config: "" });
  const begun = (path) => new Promise((resolve, reject) => request(own.address(`probe/${path}`), resolve).on("error", reject).end());
  const streaming = await begun("stream?n=3&gap=60000");
  const poll = begun("poll?hold=60");
  const second = await open(own.url);
  const over2 = second.request({ ":path": `${PROBE}stream?n=3&gap=60000` });
  over2.end();
  await once(over2, "response");
  await metric('throughline_probes_total{kind="poll"}', (n) => n === 1, own);
  const ends = [stream(streaming, line), stream(over2, line)];
  await metric('throughline_probes_total{kind="stream"}', (n) => n === 2, own);
  await own.stop();
  for (const messages of await Promise.all(ends)) assert.deepEqual(messages.map(({ n }) => n), [1]);
  const answer = await poll;
  assert.equal(answer.statusCode, 200);
  answer.resume();
  second.destroy();
  await own.end();
});

test("thousands of clients that leave in the middle leave nothing behind", async () => {
  const held = await Realm.start({ config: `[probes]\nheld_max = 250\n${PLENTY}\n` });
  try {
    const paths = ["stream?n=1000&gap=100&size=16384", "stream?n=1000&gap=0&size=16384", "poll?hold=60", "stream?type=sse&n=2&gap=60000"];
    for (let round = 0; round < 10; round += 1) {
      const sockets = await Promise.all(Array.from({ length: 200 }, (_, at) => leaver(paths[at % paths.length], held)));
      sockets.forEach((socket, at) => (at % 2 === 0 ? socket.destroy() : socket.resetAndDestroy()));
      // Were one of them still held after its client, no later round would find room.
      await roomFor(250, held);
    }
    assert.equal((await held.http("GET", "probe/post", { status: 405 })).error.code, "method_not_allowed");
    await metric('throughline_probes_total{kind="stream"}', (n) => n >= 1500, held);
  } finally {
    await held.end();
  }
});

/** A client that has asked, and takes nothing of the answer. */
async function leaver(path, of) {
  const socket = connect(port(of), "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.pause();
  await new Promise((resolve) => socket.write(`GET ${PROBE}${path} HTTP/1.1\r\nHost: realm\r\n\r\n`, resolve));
  return socket;
}

/** Waits until so many streams fit at once. */
async function roomFor(count, of) {
  for (;;) {
    const opened = await Promise.all(
      Array.from({ length: count }, async () => {
        const raw = await Raw.connect(of.url);
        const { status } = await raw.request("GET", { Host: "realm" }, `${PROBE}stream?n=2&gap=60000`);
        return { raw, status };
      }),
    );
    for (const { raw } of opened) raw.end();
    if (opened.every(({ status }) => status === 200)) return;
  }
}
