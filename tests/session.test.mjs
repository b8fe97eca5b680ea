// The protocol as an outsider speaks it: bad messages, bad values, a slow reader, a server that stops.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Link } from "./lib/link.mjs";
import { Realm } from "./lib/realm.mjs";

let realm;
before(async () => (realm = await Realm.start()));
after(() => realm.end());

/** Opens a WebSocket, sends these messages, and gives the code it is closed with. */
async function closedAfter(...messages) {
  const socket = new WebSocket(realm.websocket, "throughline.v1");
  socket.on("open", () => messages.forEach((message) => socket.send(message)));
  return new Promise((resolve) => socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })));
}

const connect = JSON.stringify({ type: "connect", versions: [1] });

test("a message that breaks the protocol ends the link and is named", async () => {
  const cases = [
    [4202, '{"type":"ping"}'],
    [4202, connect, connect],
    [4201, '{"type":"connect","versions":[2,3]}'],
    [4200, "not json"],
    [4200, "[]"],
    [4200, connect, '{"type":"shout"}'],
    [4200, connect, '{"type":"publish","id":"1","channel":"a","data":"x"}'],
    [4200, connect, '{"type":"subscribe","channel":"a","from":"new"}'],
    [4200, connect, Buffer.from([0, 0, 255, 255, 1])],
    [4200, connect, Buffer.from([1])],
  ];
  for (const [code, ...messages] of cases) {
    const closed = await closedAfter(...messages);
    assert.equal(closed.code, code, `${messages.at(-1)}: ${closed.reason}`);
    assert.ok(closed.reason.length > 0, `${messages.at(-1)}: no reason`);
  }
});

test("a value out of range is answered by an error, and the link goes on", async () => {
  const link = await Link.open(realm.websocket);
  const long = "x".repeat(129);
  const cases = [
    ["bad_channel_name", { type: "publish", channel: "", data: "x" }],
    ["bad_channel_name", { type: "publish", channel: long, data: "x" }],
    ["bad_channel_name", { type: "subscribe", channel: "a//b", from: "new" }],
    ["bad_channel_name", { type: "subscribe", channel: "sp ace", from: "new" }],
    ["bad_position", { type: "subscribe", channel: "a", from: "tomorrow" }],
    ["bad_position", { type: "subscribe", channel: "a" }],
    ["not_subscribed", { type: "unsubscribe", channel: "a" }],
    ["bad_event", { type: "publish", channel: "a", data: "x", tag: "t".repeat(256) }],
    ["bad_event", { type: "publish", channel: "a", data: "x", ttl: 0 }],
    ["bad_event", { type: "publish", channel: "a", base64: "%%%" }],
    ["bad_event", { type: "publish", channel: "a", data: "x", properties: { a: null } }],
    ["event_too_large", { type: "publish", channel: "a", data: "x".repeat(link.welcome.limits.event_bytes + 1) }],
  ];
  let id = 0;
  for (const [code, request] of cases) {
    const reply = await link.request({ ...request, id: ++id });
    assert.equal(reply.error?.code, code, JSON.stringify(request).slice(0, 200));
    assert.ok(reply.error.message.length > 10);
  }
  const reply = await link.request({ type: "publish", id: ++id, channel: "a", data: "x" });
  assert.equal(reply.error, undefined);
  await link.close();
});

test("properties keep their types", async () => {
  const properties = {
    text: "ä\u0000€",
    truth: true,
    double: 0.1,
    long: { long: "-9223372036854775808" },
    integer: { integer: -5 },
    float: { float: 0.5 },
    byte: { byte: 127 },
    char: { char: "😀" },
    nan: { double: "NaN" },
    list: ["a", { long: "1" }, [true]],
    nested: { dictionary: { inner: { dictionary: { deep: 1 } } } },
  };
  const link = await Link.open(realm.websocket);
  await link.request({ type: "subscribe", id: 1, channel: "typed", from: "new" });
  await link.request({ type: "publish", id: 2, channel: "typed", base64: "AP8=", tag: "t", properties });
  const event = await link.until((message) => message.type === "event");
  assert.deepEqual(event.properties, properties);
  assert.equal(event.tag, "t");
  assert.deepEqual([...event.bytes], [0, 255]);
  await link.close();
});

test("a reader that stops reading is told what it missed", async () => {
  await realm.createChannel("slow", { type: "reliable", capacity: 500 });
  const slow = await Link.open(realm.websocket);
  await slow.request({ type: "subscribe", id: 1, channel: "slow", from: "new" });
  slow.socket.pause();
  const publisher = await Link.open(realm.websocket);
  // Noise, so that compression does not make it small.
  const data = randomBytes(7500).toString("base64");
  const last = 5000;
  for (let id = 1; id <= last; id++) {
    publisher.send({ type: "publish", id, channel: "slow", data });
    if (id % 100 === 0) await publisher.until((reply) => reply.type === "reply" && reply.id === id);
  }
  const { eid: head } = await publisher.until((reply) => reply.type === "reply" && reply.id === last);
  slow.socket.resume();
  await slow.until((message) => message.type === "event" && message.eid === head);
  const heard = slow.received.filter((message) => message.type === "event" || message.type === "gap");
  assert.ok(heard.some((message) => message.type === "gap" && message.reason === "capacity"), "no gap was reported");
  const ranges = heard.map(({ type, eid, from, to }) => (type === "gap" ? [BigInt(from), BigInt(to)] : [BigInt(eid), BigInt(eid)]));
  ranges.reduce((cursor, [from, to]) => (assert.ok(from > cursor, `${from} came after ${cursor}`), to), 0n);
  const eids = publisher.received.filter((message) => message.eid).map((message) => BigInt(message.eid));
  assert.equal(eids.length, last);
  const silent = eids.filter((eid) => !ranges.some(([from, to]) => from <= eid && eid <= to));
  assert.deepEqual(silent, [], "events were lost in silence");
  await Promise.all([slow.close(), publisher.close()]);
});

test("a server that stops drains, and ends with 0", async () => {
  const other = await Realm.start();
  try {
    const link = await Link.open(other.websocket);
    await other.stop();
    const closed = await link.closed;
    assert.ok(link.received.some((message) => message.type === "drain"), "no drain came");
    assert.equal(closed.code, 4000);
  } finally {
    await other.end();
  }
});

test("an unknown key of the configuration is refused with a suggestion", async () => {
  await assert.rejects(Realm.start({ config: 'lisen = "127.0.0.1:0"\n' }), /lisen[^]*listen/);
});
