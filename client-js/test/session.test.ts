import { describe, expect, test } from "vitest";
import type { Session } from "../src/client.js";
import { compareEids, integer } from "../src/index.js";
import type { Subscription } from "../src/subscription.js";
import { code, start } from "./start.js";
import type { World } from "./world.js";

test("connects, subscribes, publishes, and receives what it published", async () => {
  const { world, realm, session } = start({ client: "test/1" });
  const states: string[] = [];
  session.on("state", ({ state }) => states.push(state));
  expect(session.state).toBe("connecting");
  const got: unknown[] = [];
  const sub = session.subscribe("prices", (event) => got.push([event.eid, event.text(), event.tag, event.properties["n"]]));
  const published = session.publish("prices", "hello", { tag: "t", properties: { n: integer(5) }, ttl: 9 });
  await world.run(20);
  await sub.ready;
  expect(await published).toEqual({ eid: "1", duplicate: false });
  expect(got).toEqual([["1", "hello", "t", integer(5)]]);
  expect(states).toEqual(["open"]);
  expect(realm.log.map((m) => m["type"])).toEqual(["connect", "subscribe", "ping", "publish"]);
  expect(realm.log[0]).toMatchObject({ versions: [1], client: "test/1" });
  expect(realm.log[3]).toMatchObject({ id: 2, data: "hello", tag: "t", properties: { n: { integer: 5 } }, ttl: 9 });
  expect(sub.cursor).toBe("1");
  expect(session.path).toMatchObject({ transport: "websocket", url: "ws://realm.test/throughline/v1/websocket", links: 1, rtt: 2 });
});

test("bytes stay bytes, and the caller may reuse its buffer", async () => {
  const { world, session } = start();
  const got: unknown[] = [];
  session.subscribe("b", (event) => got.push(event.data));
  const buffer = new Uint8Array([1, 2, 3]);
  void session.publish("b", buffer);
  buffer.fill(0);
  void session.publish("b", new Uint8Array([9]).buffer);
  await world.run(20);
  expect(got).toEqual([new Uint8Array([1, 2, 3]), new Uint8Array([9])]);
});

test("resumes at the cursor, with the same session, and repeats unanswered publishes first", async () => {
  const { world, realm, session } = start();
  const got: string[] = [];
  session.subscribe("c", (event) => got.push(event.text()), { from: "all" });
  await world.run(10);
  realm.publish("c", "1");
  await world.run(10);
  const first = session.publish("c", "2");
  // The server stores it; its answer is lost with the link.
  await world.run(1);
  world.peer.cut();
  expect(session.state).toBe("waiting");
  realm.publish("c", "3");
  const second = session.publish("c", "4");
  const before = realm.log.length;
  expect(session.path).toMatchObject({ links: 1, attempts: 1 });
  await world.run(40_000);
  expect(await first).toEqual({ eid: "2", duplicate: true });
  expect(await second).toEqual({ eid: "4", duplicate: false });
  expect(got).toEqual(["1", "2", "3", "4"]);
  const after = realm.log.slice(before, before + 6).filter((m) => m["type"] !== "report");
  expect(after.map((m) => m["type"])).toEqual(["connect", "subscribe", "ping", "publish", "publish"]);
  expect(after[0]).toMatchObject({ session: session.id });
  expect(after[1]).toMatchObject({ after: "1", epoch: "00000000000000aa" });
});

test("before the first welcome no publish is sent, for it could not be recognised when repeated", async () => {
  const { world, realm, session } = start();
  void session.publish("c", "once");
  await world.run(1);
  world.peer.cut();
  await world.run(40_000);
  expect(realm.log.filter((m) => m["type"] === "publish")).toHaveLength(1);
  expect(realm.channel("c").events).toHaveLength(1);
});

test("no more than publishes_max are unanswered, and all are answered in order", async () => {
  const { world, realm, session } = start();
  realm.hold = true;
  const eids: string[] = [];
  for (let i = 0; i < 20; i += 1) void session.publish("c", String(i)).then(({ eid }) => eids.push(eid));
  await world.run(20);
  expect(realm.mostUnanswered).toBe(8);
  expect(session.unanswered).toBe(20);
  for (let i = 0; i < 3; i += 1) {
    realm.answer();
    await world.run(20);
  }
  expect(eids).toEqual(Array.from({ length: 20 }, (_, i) => String(i + 1)));
});

test("the queue is bounded, by events and by bytes, and says which limit it was", async () => {
  const { world, session } = start({ queueEventsMax: 2, queueBytesMax: 10 });
  void session.publish("c", "12345678");
  await expect(session.publish("c", "123")).rejects.toMatchObject({ code: "queue_full", limit: 10 });
  void session.publish("c", "1");
  await expect(session.publish("c", "1")).rejects.toMatchObject({ code: "queue_full", limit: 2 });
  await world.run(20);
  expect(await code(session.publish("c", "x".repeat(1001)))).toBe("event_too_large");
});

test("an event that is too large is refused alone, also when it was given before the limits were known", async () => {
  const { world, realm, session } = start();
  const verdicts = ["a", "x".repeat(1001), "b"].map((data) => code(session.publish("c", data)));
  await world.run(20);
  expect(await Promise.all(verdicts)).toEqual(["resolved", "event_too_large", "resolved"]);
  expect(realm.log.filter((m) => m["type"] === "publish").map((m) => m["data"])).toEqual(["a", "b"]);
  expect([session.state, session.unanswered]).toEqual(["open", 0]);
});

test("a drain's delay has a bound, and holds for the link that it was said on only", async () => {
  const { world, realm, session } = start();
  await world.run(10);
  realm.broadcast({ type: "drain", after: 1e9 });
  await world.run(10);
  world.peer.close(4000);
  await world.run(301_000);
  expect(session.state).toBe("open");
  realm.broadcast({ type: "drain", after: 200_000 });
  await world.run(10);
  world.hint("hide");
  world.hint("wake");
  await world.run(20_000);
  expect(session.state).toBe("open");
  world.peer.cut();
  await world.run(1_000);
  expect(session.state).toBe("open");
});

test("an event at or below the cursor, or of a subscription that was left, is dropped", async () => {
  const { world, realm, session } = start();
  const got: string[] = [];
  const sub = session.subscribe("c", (event) => got.push(event.eid), { from: "all" });
  realm.publish("c", "1");
  await world.run(10);
  realm.broadcast({ type: "event", channel: 1, eid: "1", time: 1, data: "again" });
  realm.broadcast({ type: "event", channel: 7, eid: "9", time: 1, data: "of nobody" });
  realm.broadcast({ type: "event", channel: 1, eid: "3", time: 1, data: "3" });
  realm.broadcast({ type: "event", channel: 1, eid: "2", time: 1, data: "late" });
  await world.run(10);
  sub.close();
  realm.broadcast({ type: "event", channel: 1, eid: "4", time: 1, data: "4" });
  await world.run(10);
  expect(got).toEqual(["1", "3"]);
});

test("a gap below the cursor changes nothing", async () => {
  const { world, realm, session } = start();
  const gaps: string[] = [];
  session.on("gap", (gap) => gaps.push(gap.from));
  const sub = session.subscribe("c", () => undefined, { from: "all" });
  for (const data of ["1", "2", "3"]) realm.publish("c", data);
  await world.run(10);
  realm.broadcast({ type: "gap", channel: 1, from: "1", to: "2", epoch: "00000000000000aa", reason: "capacity" });
  await world.run(10);
  expect(gaps).toEqual([]);
  expect(sub.cursor).toBe("3");
});

test("what a draining realm refuses is repeated on the next link, and nobody is told of a failure", async () => {
  const { world, realm, session } = start();
  const errors: unknown[] = [];
  session.on("error", (error) => errors.push(error));
  world.accept = (peer) => {
    realm.accept(peer);
    const answer = peer.onFrame;
    peer.onFrame = (data) => {
      const { type, id } = JSON.parse(String(data)) as { type: string; id: number };
      if (type === "connect") return answer(data);
      peer.send(JSON.stringify({ type: "reply", id, error: { code: "draining", message: "the realm is stopping" } }));
    };
  };
  const got: string[] = [];
  session.subscribe("c", (event) => got.push(event.text()));
  const published = session.publish("c", "kept");
  await world.run(20);
  world.accept = realm.accept;
  world.peer.close(4000);
  await world.run(40_000);
  expect(await published).toEqual({ eid: "1", duplicate: false });
  expect(got).toEqual(["kept"]);
  expect(errors).toEqual([]);
});

test("after the first refusal of a draining realm nothing more is published on that link", async () => {
  const { world, realm, session } = start();
  const refused: string[] = [];
  world.accept = (peer) => {
    realm.accept(peer);
    const answer = peer.onFrame;
    peer.onFrame = (data) => {
      const { type, id, data: text } = JSON.parse(String(data)) as { type: string; id: number; data: string };
      if (type !== "publish") return answer(data);
      refused.push(text);
      peer.send(JSON.stringify({ type: "reply", id, error: { code: "draining", message: "the realm is stopping" } }));
    };
  };
  const eids = [session.publish("c", "1")];
  await world.run(20);
  eids.push(session.publish("c", "2"), session.publish("c", "3"));
  await world.run(20);
  expect(refused).toEqual(["1"]);
  world.accept = realm.accept;
  world.peer.close(4000);
  await world.run(40_000);
  expect((await Promise.all(eids)).map(({ eid }) => eid)).toEqual(["1", "2", "3"]);
  expect(realm.channel("c").events.map(({ header }) => header["data"])).toEqual(["1", "2", "3"]);
});

test("ids increase over all links in the order of sending, and a repeated publish keeps its own", async () => {
  const { world, realm, session } = start();
  void session.publish("c", "queued before the first link");
  session.subscribe("a");
  session.subscribe("b");
  await world.run(20);
  realm.hold = true;
  const repeated = session.publish("c", "its answer is lost");
  await world.run(2);
  world.peer.cut();
  realm.hold = false;
  void session.publish("c", "queued between links");
  await world.run(40_000);
  const ids = realm.log.filter((m) => m["id"] !== undefined).map((m) => [m["type"], m["id"]]);
  expect(ids).toEqual([
    ["subscribe", 1], ["subscribe", 2], ["publish", 3], ["publish", 4],
    ["subscribe", 5], ["subscribe", 6], ["publish", 4], ["publish", 7],
  ]);
  expect(await repeated).toEqual({ eid: "2", duplicate: true });
});

test("gaps are told in order, and the cursor passes them", async () => {
  const { world, realm, session } = start();
  realm.capacity = 2;
  for (let i = 1; i <= 5; i += 1) realm.publish("c", String(i));
  const got: string[] = [];
  const sub = session.subscribe("c", (event) => got.push(event.eid), { from: "2" });
  sub.on("gap", (gap) => got.push(`${gap.from}..${gap.to} ${gap.reason}`));
  await world.run(20);
  expect(got).toEqual(["2..3 capacity", "4", "5"]);
});

test("another epoch is a gap, and begins anew", async () => {
  const { world, realm, session } = start();
  const got: string[] = [];
  const sub = session.subscribe("c", (event) => got.push(event.text()), { from: "all" });
  sub.on("gap", (gap) => got.push(`${gap.from}..${gap.to} ${gap.reason}`));
  realm.publish("c", "a");
  realm.publish("c", "b");
  await world.run(20);
  world.peer.cut();
  realm.forget("c");
  realm.publish("c", "c");
  await world.run(40_000);
  expect(got).toEqual(["a", "b", "3..0 epoch", "c"]);
  expect(sub.position).toEqual({ after: "1", epoch: "00000000000000ab" });
});

test("an epoch gap is not lost when the link breaks between the reply and the gap", async () => {
  const { world, realm, session } = start();
  const gaps: string[] = [];
  session.on("gap", (gap) => gaps.push(gap.reason));
  session.subscribe("c", () => undefined, { from: "all" });
  realm.publish("c", "a");
  await world.run(20);
  realm.forget("c");
  world.peer.cut();
  world.accept = (peer) => {
    peer.onFrame = (data) => {
      const { type, id } = JSON.parse(String(data)) as { type: string; id: number };
      const limits = { event_bytes: 1, publishes_max: 1, subscriptions_max: 1 };
      if (type === "connect") peer.send(JSON.stringify({ type: "welcome", version: 1, session: session.id, heartbeat: 1000, limits }));
      else peer.send(JSON.stringify({ type: "reply", id, number: 1, epoch: realm.channel("c").epoch, eid: "0" }));
    };
  };
  while (world.peers.length < 2 || !world.peer.alive) await world.run(10);
  await world.run(10);
  world.accept = realm.accept;
  world.peer.cut();
  await world.run(40_000);
  expect(gaps).toEqual(["epoch"]);
});

test("a gap never begins before what was given", async () => {
  const { world, realm, session } = start();
  const gaps: string[] = [];
  session.on("gap", (gap) => gaps.push(`${gap.from}..${gap.to} ${gap.reason}`));
  session.subscribe("c", () => undefined, { from: "all" });
  realm.publish("c", "a");
  await world.run(20);
  world.accept = (peer) => {
    peer.onFrame = (data) => {
      const { type, id } = JSON.parse(String(data)) as { type: string; id: number };
      const limits = { event_bytes: 1, publishes_max: 1, subscriptions_max: 1 };
      const epoch = "00000000000000ff";
      if (type === "connect") peer.send(JSON.stringify({ type: "welcome", version: 1, session: session.id, heartbeat: 1000, limits }));
      if (type === "ping") peer.send(JSON.stringify({ type: "pong" }));
      if (type !== "subscribe") return;
      peer.send(JSON.stringify({ type: "reply", id, number: 1, epoch, eid: "0" }));
      peer.send(JSON.stringify({ type: "gap", channel: 1, from: "1", to: "0", epoch, reason: "epoch" }));
    };
  };
  world.peer.cut();
  await world.run(2_000);
  expect(gaps).toEqual(["2..0 epoch"]);
});

describe("the async iterator", () => {
  test("gives events in order, and stops the flow at the realm instead of growing", async () => {
    const { world, realm, session } = start();
    for (let i = 1; i <= 500; i += 1) realm.publish("c", String(i));
    const sub = session.subscribe("c", { from: "all", bufferEventsMax: 10 });
    await world.run(100);
    expect(sub.buffered).toBe(10);
    expect(realm.log.at(-1)).toMatchObject({ type: "unsubscribe" });
    const got: string[] = [];
    const reading = (async () => {
      for await (const event of sub) {
        got.push(event.text());
        expect(sub.cursor).toBe(event.eid);
        expect(sub.buffered).toBeLessThanOrEqual(10);
        if (got.length === 500) break;
      }
    })();
    await world.run(2_000);
    await reading;
    expect(got).toEqual(Array.from({ length: 500 }, (_, i) => String(i + 1)));
    expect(sub.open).toBe(false);
    expect(await sub[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
  });

  test("bytes bound the buffer too", async () => {
    const { world, realm, session } = start();
    for (let i = 1; i <= 50; i += 1) realm.publish("c", "x".repeat(100));
    const sub = session.subscribe("c", { from: "all", bufferBytesMax: 1_000 });
    await world.run(100);
    expect(sub.buffered).toBe(10);
  });

  test("ends by itself when the session is closed, and fails when the channel is deleted", async () => {
    const { world, realm, session } = start();
    const ended = session.subscribe("a")[Symbol.asyncIterator]().next();
    const failed = session.subscribe("b")[Symbol.asyncIterator]().next();
    const verdict = code(failed);
    await world.run(20);
    realm.broadcast({ type: "end", channel: 2, reason: "deleted" });
    await world.run(20);
    expect(await verdict).toBe("channel_deleted");
    await session.close();
    expect(await ended).toEqual({ done: true, value: undefined });
  });
});

test("what a callback returns is a promise if it has a `then`", async () => {
  const { world, realm, session } = start();
  const log: string[] = [];
  const later = { then: (done: () => void) => void world.at(world.time + 20, () => (log.push("done"), done())) };
  session.subscribe("c", (event) => (log.push(event.text()), later));
  await world.run(10);
  for (const text of ["1", "2"]) realm.publish("c", text);
  await world.run(100);
  expect(log).toEqual(["1", "done", "2", "done"]);
});

test("a callback that returns a promise is given one event at a time, and loses none", async () => {
  const { world, realm, session } = start();
  const got: string[] = [];
  let inside = 0;
  let most = 0;
  session.subscribe("c", async (event) => {
    inside += 1;
    most = Math.max(most, inside);
    await new Promise<void>((resolve) => world.at(world.time + 5, resolve));
    inside -= 1;
    got.push(event.eid);
  }, { from: "all", bufferEventsMax: 4 });
  for (let i = 0; i < 60; i += 1) realm.publish("c", "x");
  await world.run(1_000);
  expect(most).toBe(1);
  expect(got).toEqual(Array.from({ length: 60 }, (_, i) => String(i + 1)));
});

describe("a callback that is busy when its channel is deleted", () => {
  /** Three events and the end have come; the callback is at the first. */
  async function busy(): Promise<{ world: World; session: Session; sub: Subscription; got: string[] }> {
    const { world, realm, session } = start();
    const got: string[] = [];
    const sub = session.subscribe("c", async (event) => {
      await new Promise<void>((resolve) => world.at(world.time + 50, resolve));
      got.push(event.eid);
    });
    sub.on("error", (error) => got.push(error.code));
    session.on("error", () => undefined);
    await world.run(10);
    for (let i = 0; i < 3; i += 1) realm.publish("c", "x");
    realm.broadcast({ type: "end", channel: 1, reason: "deleted" });
    await world.run(10);
    expect([sub.open, sub.buffered, got]).toEqual([false, 2, []]);
    return { world, session, sub, got };
  }

  test("is given what was buffered, then the fault", async () => {
    const { world, got } = await busy();
    await world.run(200);
    expect(got).toEqual(["1", "2", "3", "channel_deleted"]);
  });

  test("is given nothing more once the subscription is closed", async () => {
    const { world, sub, got } = await busy();
    sub.close();
    await world.run(200);
    expect(got).toEqual(["1"]);
  });
});

test("what the caller gives is checked before it is sent", async () => {
  const { world, session } = start();
  await world.run(10);
  expect(await code(session.publish("a//b", ""))).toBe("bad_channel_name");
  expect(await code(session.publish("c", "\ud800"))).toBe("bad_event");
  expect(await code(session.publish("c", "", { tag: "x".repeat(256) }))).toBe("bad_event");
  expect(await code(session.publish("c", "", { ttl: 0 }))).toBe("bad_event");
  expect(() => session.subscribe("c", { from: "-1" })).toThrow(/expected "new"/);
  session.subscribe("c");
  expect(() => session.subscribe("c")).toThrow(/already/);
});

test("a refused subscription rejects `ready` and tells the session", async () => {
  const { world, realm, session } = start();
  const codes: string[] = [];
  session.on("error", (error) => codes.push(error.code));
  world.accept = (peer) => {
    realm.accept(peer);
    const answer = peer.onFrame;
    peer.onFrame = (data) => {
      const { type, id } = JSON.parse(String(data)) as { type: string; id: number };
      if (type !== "subscribe") return answer(data);
      peer.send(JSON.stringify({ type: "reply", id, error: { code: "unknown_channel", message: "create it" } }));
    };
  };
  const sub = session.subscribe("c");
  const verdict = code(sub.ready);
  await world.run(20);
  expect(await verdict).toBe("unknown_channel");
  expect(codes).toEqual(["unknown_channel"]);
  expect(sub.open).toBe(false);
});

test("close waits for answers, then ends everything and leaves no timer", async () => {
  const { world, realm, session } = start();
  await world.run(10);
  realm.hold = true;
  const publishing = session.publish("c", "x");
  const closing = session.close();
  expect(await code(session.publish("c", "y"))).toBe("closed");
  await world.run(100);
  expect(session.state).toBe("open");
  realm.answer();
  await world.run(10);
  await closing;
  expect(await publishing).toMatchObject({ eid: "1" });
  expect(session.state).toBe("closed");
  expect(world.peer.closed).toMatchObject({ code: 1000 });
  expect(world.timers).toBe(0);
});

test("close without a link gives up after its time, and says so to the publisher", async () => {
  const { world, session } = start();
  world.door = "refuse";
  const verdict = code(session.publish("c", "x"));
  const closing = session.close({ flushMs: 50 });
  await world.run(0);
  world.peer.cut();
  await world.run(60);
  await closing;
  expect(await verdict).toBe("closed");
  expect(world.timers).toBe(0);
});

test("EIDs are ordered as 64-bit numbers", () => {
  expect(compareEids("9", "10")).toBeLessThan(0);
  expect(compareEids("18446744073709551615", "18446744073709551614")).toBeGreaterThan(0);
  expect(compareEids("7", "7")).toBe(0);
});
