// Whether a link lives, and what follows its end.

import { describe, expect, test } from "vitest";
import { Session } from "../src/client.js";
import { reconnectAfter, reconnectDelay } from "../src/close.js";
import { Realm } from "./realm.js";
import { start } from "./start.js";
import { World } from "./world.js";

describe("heartbeats", () => {
  test("a quiet link is asked, and lives when it answers", async () => {
    const { world, realm, session } = start();
    await world.run(60_000);
    expect(session.state).toBe("open");
    expect(world.peers).toHaveLength(1);
    expect(realm.log.filter((m) => m["type"] === "ping").length).toBeGreaterThanOrEqual(5);
    expect(session.path.rtt).toBe(2);
  });

  test("a silent link is closed with 4001 after three intervals, and the next one is opened", async () => {
    const { world, session } = start();
    await world.run(10);
    world.peer.onFrame = () => undefined;
    const silent = world.peer;
    world.door = "refuse";
    await world.run(29_000);
    expect(silent.closed).toBeUndefined();
    await world.run(3_000);
    expect(silent.closed).toMatchObject({ code: 4001 });
    world.door = "accept";
    await world.run(40_000);
    expect(session.state).toBe("open");
    expect(session.path.failures.map(({ failure }) => failure)).toContain("idle");
  });

  test("a ping of the server is answered", async () => {
    const { world, realm } = start();
    await world.run(10);
    realm.broadcast({ type: "ping" });
    await world.run(10);
    expect(realm.log.at(-1)).toEqual({ type: "pong" });
  });

  test("after a hint a link that does not answer within 5 s is left", async () => {
    const { world } = start();
    await world.run(10);
    const old = world.peer;
    old.onFrame = () => undefined;
    world.door = "refuse";
    world.hint();
    await world.run(5_010);
    expect(old.closed).toMatchObject({ code: 4001 });
  });
});

describe("after a sleep of the page", () => {
  /** Time passes, and nothing of the page runs. */
  function sleep(world: World): void {
    world.time += 300_000;
  }

  test("a link that was quiet is asked, and stays when it answers", async () => {
    const { world, realm, session } = start();
    await world.run(10);
    sleep(world);
    await world.run(100);
    expect(realm.log.at(-1)).toMatchObject({ type: "ping" });
    expect(session.state).toBe("open");
    await world.run(60_000);
    expect(world.peers).toHaveLength(1);
  });

  test.each(["a timer", "a hint"])("a link that was asked before is asked again (%s wakes the page)", async (waker) => {
    const { world, realm, session } = start();
    await world.run(10);
    const { onFrame } = world.peer;
    world.peer.onFrame = () => undefined;
    await world.run(11_000);
    world.peer.onFrame = onFrame;
    sleep(world);
    if (waker === "a hint") world.hint();
    await world.run(60_000);
    expect(realm.log.map((m) => m["type"])).toContain("ping");
    expect(session.state).toBe("open");
    expect(world.peers).toHaveLength(1);
  });

  test("a dead link is given up two intervals later, or at once after another sleep", async () => {
    const { world, session } = start();
    await world.run(10);
    for (const again of [false, true]) {
      const dead = world.peer;
      dead.onFrame = () => undefined;
      world.door = "refuse";
      await world.run(15_000);
      sleep(world);
      await world.run(19_000);
      expect(dead.closed).toBeUndefined();
      if (again) sleep(world);
      await world.run(again ? 1 : 1_001);
      expect(dead.closed).toMatchObject({ code: 4001 });
      world.door = "accept";
      world.hint();
      await world.run(2_000);
      expect(session.state).toBe("open");
    }
  });
});

test.each([true, false])("a page that is put away closes its link, and goes on where it was when it comes back (solo: %s)", async (solo) => {
  const { world, realm, session } = start({}, { solo });
  const got: string[] = [];
  session.subscribe("c", (event) => got.push(event.text()), { from: "all" });
  await world.run(10);
  world.hint("hide");
  expect(world.peer.closed).toMatchObject({ code: 1000 });
  realm.publish("c", "meanwhile");
  void session.publish("c", "own");
  await world.run(600_000);
  expect([session.state, world.peers.length, got, session.path.failures]).toEqual(["waiting", 1, [], []]);
  world.hint("wake");
  await world.run(10);
  expect([session.state, world.peers.length, got]).toEqual(["open", 2, ["meanwhile", "own"]]);
});

describe("what follows a close", () => {
  test.each([
    [1000, "now"], [1001, "now"], [1002, "never"], [1003, "never"], [1007, "never"], [1009, "never"], [1006, "now"],
    [4000, "now"], [4001, "now"], [4099, "now"], [4100, "later"], [4101, "later"], [4102, "later"], [4199, "later"],
    [4200, "never"], [4201, "never"], [4202, "never"], [4299, "never"], [4300, "later"], [1011, "later"],
  ] as const)("%i means %s", async (number, expected) => {
    expect(reconnectAfter(number)).toBe(expected);
    const { world, session } = start();
    const errors: string[] = [];
    session.on("error", (error) => errors.push(error.message));
    await world.run(10);
    world.peer.close(number, "because");
    await world.run(2);
    expect(session.state).toBe(expected === "never" ? "closed" : "waiting");
    expect(errors).toHaveLength(expected === "never" ? 1 : 0);
    await world.run(40_000);
    expect(session.state).toBe(expected === "never" ? "closed" : "open");
  });

  test("delays grow from 0.25 s to 30 s", () => {
    expect([0, 1, 3, 6, 7, 50].map((n) => reconnectDelay(n, 1))).toEqual([250, 500, 2_000, 16_000, 30_000, 30_000]);
    expect(reconnectDelay(9, 0)).toBe(0);
  });

  test.each(["cut", "refuse", "swallow"] as const)("%s: a link that ends without a close code is opened again after 0.25 s, 0.5 s, ...", async (how) => {
    const world = new World();
    const realm = new Realm();
    world.accept = realm.accept;
    const session = new Session("http://realm.test", {}, { ...world.environment, random: () => 1 });
    if (how !== "cut") world.door = how;
    const waits: number[] = [];
    let since = 0;
    session.on("state", ({ state }) => {
      if (state === "waiting") since = world.time;
      if (state === "connecting") waits.push(world.time - since);
      if (state === "open") world.peer.cut();
    });
    await world.run(35_000);
    expect(waits.slice(0, 3)).toEqual([250, 500, 1_000]);
  });

  test("a realm that refuses for a minute is asked a few times, and found when it is back", async () => {
    const { world, session } = start();
    world.door = "refuse";
    await world.run(10);
    world.peer.cut();
    await world.run(60_000);
    expect(world.peers.length).toBeGreaterThan(3);
    expect(world.peers.length).toBeLessThan(30);
    expect(session.path.failure).toContain("could not be opened");
    world.door = "accept";
    world.hint();
    await world.run(20);
    expect(session.state).toBe("open");
  });

  test("a link that is swallowed is given up after 8 s", async () => {
    const world = new World();
    world.door = "swallow";
    const session = new Session("http://realm.test", {}, world.environment);
    await world.run(8_001);
    expect(world.peer.closed).toMatchObject({ code: 4001 });
    expect(session.path.failure).toContain("did not answer");
  });

  test("drain spreads the return over its delay", async () => {
    const { world, realm, session } = start();
    const drains: number[] = [];
    session.on("drain", (after) => drains.push(after));
    await world.run(10);
    realm.broadcast({ type: "drain", after: 20_000 });
    await world.run(10);
    world.peer.close(4000);
    await world.run(1_000);
    expect(session.state).toBe("waiting");
    await world.run(20_000);
    expect(session.state).toBe("open");
    expect(drains).toEqual([20_000]);
  });
});

describe("what the server must not send", () => {
  test.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["an unknown type", '{"type":"noise"}'],
    ["a number for text", '{"type":"event","channel":1,"eid":5,"time":1,"data":""}'],
    ["data twice", '{"type":"event","channel":1,"eid":"5","time":1,"data":"","base64":""}'],
    ["a second welcome", '{"type":"welcome","version":1,"session":"00000000000000000000000000000001","heartbeat":1,"limits":{"event_bytes":1,"publishes_max":1,"subscriptions_max":1}}'],
  ])("%s ends the link with 4200", async (_name, text) => {
    const { world, session } = start();
    await world.run(10);
    const bad = world.peer;
    bad.send(text);
    await world.run(2);
    expect(bad.closed).toMatchObject({ code: 4200 });
    await world.run(40_000);
    expect(session.state).toBe("open");
  });

  test("another session than the one presented ends the link, and the own one goes on", async () => {
    const { world, realm, session } = start();
    await world.run(10);
    const { id } = session;
    realm.hold = true;
    const published = session.publish("c", "once");
    await world.run(2);
    realm.hold = false;
    world.accept = (peer) => {
      realm.accept(peer);
      const answer = peer.onFrame;
      peer.onFrame = (data) => answer(String(data).replace(String(id), "f".repeat(32)));
    };
    const before = world.peer;
    before.cut();
    while (world.peer === before) await world.run(1);
    await world.run(3);
    expect(world.peer.closed).toMatchObject({ code: 4200 });
    expect(session.id).toBe(id);
    world.accept = realm.accept;
    await world.run(40_000);
    expect(await published).toEqual({ eid: "1", duplicate: true });
  });

  test("another protocol version ends the session", async () => {
    const { world, session } = start();
    const errors: string[] = [];
    session.on("error", (error) => errors.push(error.code));
    world.accept = (peer) => {
      peer.send('{"type":"welcome","version":2,"session":"00000000000000000000000000000001","heartbeat":1,"limits":{"event_bytes":1,"publishes_max":1,"subscriptions_max":1}}');
    };
    await world.run(10);
    expect(session.state).toBe("closed");
    expect(world.peer.closed).toMatchObject({ code: 4201 });
    expect(errors).toEqual(["version_not_supported"]);
  });
});
