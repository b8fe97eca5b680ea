// HTTP/2 on the realm's port: every transport over one connection, WebSocket within it, and clients that misbehave.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";

import { WAYS, carry } from "./lib/http-link.mjs";
import { answered, ask, connected, handshake, open, websocket } from "./lib/http2.mjs";
import { Link } from "./lib/link.mjs";
import { frame } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";
import { carriesLargeEvents, resumes } from "./lib/ways.mjs";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

let realm;
let session;
before(async () => {
  // The connection is there for all tests, also for those that follow on long ones without it.
  realm = await Realm.start({ config: 'timeouts.head_ms = 600000\n[origins]\nallowed = ["https://app.example"]\n' });
  session = await open(realm.url);
  carry(new URL(realm.url).origin, session);
});
after(async () => {
  session.destroy();
  await realm.end();
});

const closed = (emitter) => new Promise((resolve) => emitter.once("close", resolve));
const events = (channel) => `/throughline/v1/channels/${channel}/events`;

for (const [name, way] of Object.entries(WAYS)) {
  test(`${name}: subscribes, publishes, and resumes a session on another link`, () => resumes(way, realm.url, `way/${name}`));
  test(`${name}: events of 1 MiB go both ways`, () => carriesLargeEvents(way, realm.url, `large/${name}`));
}

test("WebSocket: subscribes, publishes, and resumes a session on another link", async () => {
  const first = await Link.open(undefined, { socket: await websocket(session) });
  const { epoch } = await first.request({ type: "subscribe", id: 1, channel: "socket", from: "new" });
  const base64 = randomBytes(1 << 20).toString("base64");
  const { eid } = await first.request({ type: "publish", id: 2, channel: "socket", base64 });
  const event = await first.until((m) => m.type === "event");
  assert.ok(event.bytes.equals(Buffer.from(base64, "base64")), "the data are the same");
  first.socket.terminate();
  const second = await Link.open(undefined, { socket: await websocket(session), session: first.welcome.session });
  await second.request({ type: "publish", id: 3, channel: "socket", data: "more" });
  await second.request({ type: "subscribe", id: 4, channel: "socket", after: eid, epoch });
  assert.equal((await second.until((m) => m.type === "event")).data, "more");
  assert.equal((await second.close()).code, 1000);
});

test("a handshake is answered with what was agreed, and refused with a reason", async () => {
  const extended = { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" };
  const { stream, head } = await connected(session, handshake(undefined, extended));
  assert.equal(head[":status"], 200);
  assert.equal(head["sec-websocket-protocol"], "throughline.v1");
  assert.match(head["sec-websocket-extensions"], /^permessage-deflate/);
  assert.deepEqual([head.upgrade, head.connection, head["sec-websocket-accept"]], [undefined, undefined, undefined]);
  stream.close();
  const refused = [
    [handshake(undefined, { "sec-websocket-version": "12" }), 426, "version_not_supported"],
    [handshake(undefined, { origin: "https://evil.example" }), 403, "bad_origin"],
    [handshake(undefined, { ":protocol": "connect-udp" }), 501, "bad_request"],
    [handshake("/nowhere"), 404, "not_found"],
    [{ ":path": "/throughline/v1/websocket" }, 426, "upgrade_required"],
  ];
  for (const [headers, status, code] of refused) {
    const answer = await answered(session.request(headers));
    assert.equal(answer.status, status, answer.text);
    assert.equal(JSON.parse(answer.text).error.code, code);
  }
  const allowed = await connected(session, handshake(undefined, { origin: "https://app.example" }));
  assert.equal(allowed.head[":status"], 200);
  allowed.stream.close();
});

test("a broken frame ends the link with its code, and no other stream", async () => {
  const other = await Link.open(undefined, { socket: await websocket(session) });
  const { stream } = await connected(session, handshake("/throughline/v1/probe/websocket"));
  let bytes = Buffer.alloc(0);
  stream.on("data", (data) => (bytes = Buffer.concat([bytes, data])));
  stream.write(frame(1, "echo"));
  stream.write(frame(3, "no such frame"));
  await new Promise((resolve) => stream.once("end", resolve));
  stream.end();
  await closed(stream);
  assert.equal(bytes.subarray(2, 6).toString(), "echo");
  assert.deepEqual([bytes[6], bytes.readUInt16BE(8)], [0x88, 1002]);
  await other.request({ type: "publish", id: 1, channel: "calm", data: "still here" });
  await other.close();
});

test("hundreds of requests and links share a connection", async () => {
  const links = await Promise.all(Array.from({ length: 100 }, async () => Link.open(undefined, { socket: await websocket(session) })));
  await Promise.all(links.map((link) => link.request({ type: "subscribe", id: 1, channel: "crowd", from: "new" })));
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, n) => ask(session, { ":method": "POST", ":path": events("crowd") }, `event ${n}`)),
  );
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  for (const link of links) {
    await link.until(() => link.received.filter((m) => m.type === "event").length === 100);
    const eids = link.received.filter((m) => m.type === "event").map((m) => m.eid);
    assert.deepEqual(eids, eids.toSorted((a, b) => a - b));
  }
  await Promise.all(links.map((link) => link.close()));
});

test("a page of events larger than any window arrives whole", async () => {
  const data = randomBytes(60_000).toString("base64");
  for (let n = 0; n < 12; n++) await ask(session, { ":method": "POST", ":path": events("pages") }, data);
  const { status, text } = await ask(session, { ":path": `${events("pages")}?from=all&limit=1000` });
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(text).events.map((event) => event.data === data), Array(12).fill(true));
});

test("TLS agrees on HTTP/2, unless the client or the configuration does not want it", async () => {
  const agreed = (of, protocols) =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ port: Number(new URL(of.url).port), ALPNProtocols: protocols, rejectUnauthorized: false }, () => {
        resolve(socket.alpnProtocol);
        socket.destroy();
      });
      socket.on("error", reject);
    });
  const both = await Realm.start({ config: "[tls]\nself_signed = true\n" });
  assert.equal(await agreed(both, ["h2", "http/1.1"]), "h2");
  assert.equal(await agreed(both, ["http/1.1"]), "http/1.1");
  assert.equal(await agreed(both, []), false);
  const secure = await open(both.url, { rejectUnauthorized: false });
  assert.equal(secure.remoteSettings.enableConnectProtocol, true);
  const link = await Link.open(undefined, { socket: await websocket(secure) });
  await link.request({ type: "publish", id: 1, channel: "secure", data: "x" });
  await link.close();
  secure.destroy();
  await both.end();
  const without = await Realm.start({ config: "[http2]\nenabled = false\n[tls]\nself_signed = true\n" });
  assert.equal(await agreed(without, ["h2", "http/1.1"]), "http/1.1");
  await without.end();
  const plain = await Realm.start({ config: "[http2]\nwebsocket = false\n" });
  const other = await open(plain.url);
  assert.equal(other.remoteSettings.enableConnectProtocol, false);
  assert.equal((await ask(other, { ":path": "/healthz" })).status, 200);
  other.destroy();
  await plain.end();
});

test("a connection with nothing to do is closed, one with a link is not", async () => {
  const short = await Realm.start({ config: "[timeouts]\nhead_ms = 300\n" });
  const busy = await open(short.url);
  const link = await Link.open(undefined, { socket: await websocket(busy) });
  const quiet = await open(short.url);
  assert.equal((await ask(quiet, { ":path": "/healthz" })).status, 200);
  await closed(quiet);
  await link.request({ type: "publish", id: 1, channel: "x", data: "alive" });
  await link.close();
  await closed(busy);
  await short.end();
});

test("an answer of which a client takes nothing is reset, and its connection lives on", async () => {
  const short = await Realm.start({ config: "[timeouts]\nbody_ms = 300\n" });
  await short.http("POST", "channels/big/events", { body: "x".repeat(1_000_000), status: 201 });
  const session = await open(short.url);
  const link = await Link.open(undefined, { socket: await websocket(session) });
  await link.request({ type: "subscribe", id: 1, channel: "calm", from: "new" });
  const stream = session.request({ ":path": `${events("big")}?from=all` });
  stream.on("error", () => {});
  // It is not read, so that its window stays closed.
  while (!stream.closed) assert.equal((await ask(session, { ":path": "/healthz" })).status, 200);
  assert.equal(stream.rstCode, 8, "CANCEL");
  await ask(session, { ":method": "POST", ":path": events("calm") }, "still here");
  assert.equal((await link.until((m) => m.type === "event")).data, "still here");
  await link.close();
  session.destroy();
  await short.end();
});

test("a reader that stops reading is told what it missed, and costs no memory", async () => {
  await realm.createChannel("flood", { type: "reliable", capacity: 100 });
  const own = await open(realm.url);
  const socket = await websocket(own);
  const link = await Link.open(undefined, { socket });
  await link.request({ type: "subscribe", id: 1, channel: "flood", from: "new" });
  socket.pause();
  const body = "x".repeat(10_000);
  for (let n = 0; n < 500; n++) await ask(session, { ":method": "POST", ":path": events("flood") }, body);
  socket.resume();
  const gap = await link.until((m) => m.type === "gap");
  const after = await link.until((m) => m.type === "event" && BigInt(m.eid) >= BigInt(gap.to));
  assert.equal(BigInt(after.eid), BigInt(gap.to) + 1n);
  await link.until((m) => m.eid === "500");
  await link.close();
  own.destroy();
});

test("rubbish behind the preface ends that connection alone", async () => {
  const { hostname, port } = new URL(realm.url);
  for (let round = 0; round < 20; round++) {
    const socket = connect(Number(port), hostname, () => socket.write(Buffer.concat([Buffer.from(PREFACE), randomBytes(3000)])));
    socket.on("error", () => {}).resume();
    await closed(socket);
  }
  assert.equal((await ask(session, { ":path": "/healthz" })).status, 200);
});

test("a preface is taken byte by byte", async () => {
  const { hostname, port } = new URL(realm.url);
  const socket = connect(Number(port), hostname).setNoDelay(true);
  const bytes = Buffer.concat([Buffer.from(PREFACE), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
  for (const byte of bytes) await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
  const [first] = await new Promise((resolve) => socket.once("data", (...data) => resolve(data)));
  assert.equal(first[3], 4, "the realm's settings come first");
  socket.destroy();
});

test("a realm that stops drains the links of a connection, and ends with 0", async () => {
  const short = await Realm.start();
  const own = await open(short.url);
  carry(new URL(short.url).origin, own);
  const link = await Link.open(undefined, { socket: await websocket(own) });
  const stream = await WAYS["http-stream"](short.url);
  const stopped = short.stop();
  assert.equal((await link.closed).code, 4000);
  assert.equal((await stream.until((m) => m.type === "close")).code, 4000);
  await closed(own);
  await stopped;
  await short.end();
});
