// The fault matrix in virtual time: what stands between client and realm, how soon an event comes nevertheless, how often
// the client tries, and that nothing is lost, doubled or reordered while faults come and go.

import { describe, expect, test } from "vitest";
import { Session } from "../src/client.js";
import { RANKS } from "../src/ladder.js";
import type { TransportName } from "../src/transports/transport.js";
import { Realm } from "./realm.js";
import { type Fault, World } from "./world.js";

const STREAMS: readonly TransportName[] = ["http-stream", "event-source", "iframe-stream"];

/** Ends the attempt after so long, as if nothing had opened. */
const refuse = (afterMs: number): Fault => (wire) => {
  wire.deaf = true;
  wire.world.at(wire.at + afterMs, () => wire.cut());
};
const blackHole: Fault = (wire) => void (wire.deaf = true);
const swallow: Fault = (wire) => void (wire.mute = true);
const cutBefore: Fault = (wire) => {
  wire.mute = true;
  wire.world.at(wire.at + 200, () => wire.cut());
};
/** Frames pass, and then it is cut. */
const cutAt = (ms: number): Fault => (wire) => void wire.world.at(wire.at + ms, () => wire.cut(ms > 10_000 ? "rotated" : undefined));
const muteAt = (ms: number): Fault => (wire) => void wire.world.at(wire.at + ms, () => void (wire.mute = true));

interface Case {
  readonly name: string;
  readonly faults: readonly (readonly [readonly TransportName[], Fault])[];
  /** When the first event must have come at the latest. */
  readonly firstMs: number;
  readonly settlesOn: TransportName;
  /** How long it takes until the first permits are used up; default two minutes. */
  readonly settleMs?: number;
}

const ws: readonly TransportName[] = ["websocket"];
const cases: readonly Case[] = [
  { name: "refused", faults: [[ws, refuse(40)]], firstMs: 1_000, settlesOn: "http-stream" },
  { name: "reset", faults: [[ws, refuse(5)]], firstMs: 1_000, settlesOn: "http-stream" },
  { name: "black hole", faults: [[ws, blackHole]], firstMs: 2_000, settlesOn: "http-stream" },
  { name: "cut at 200 ms before any frame", faults: [[ws, cutBefore]], firstMs: 1_000, settlesOn: "http-stream" },
  { name: "swallowed", faults: [[ws, swallow]], firstMs: 2_000, settlesOn: "http-stream" },
  { name: "first frames, then cut", faults: [[ws, cutAt(300)]], firstMs: 1_000, settlesOn: "http-stream" },
  { name: "WebSocket refused, streams buffered", faults: [[ws, refuse(40)], [STREAMS, swallow]], firstMs: 2_000, settlesOn: "long-poll" },
  { name: "WebSocket swallowed, streams buffered", faults: [[ws, swallow], [STREAMS, swallow]], firstMs: 2_000, settlesOn: "long-poll" },
  { name: "WebSocket refused, streams cut at 15 s", faults: [[ws, refuse(40)], [STREAMS, cutAt(15_000)]], firstMs: 1_000, settlesOn: "http-stream", settleMs: 600_000 },
  { name: "all but script tags refused", faults: [[RANKS.slice(0, 5), refuse(40)]], firstMs: 1_000, settlesOn: "jsonp-poll" },
];

/** A session that publishes and one that receives, behind the same faults. */
class Scene {
  readonly world: World;
  readonly realm = new Realm();
  readonly session: Session;
  readonly got: string[] = [];
  readonly answers: string[] = [];
  sent = 0;
  firstAt: number | undefined;

  constructor({ faults }: Pick<Case, "faults">, seed = 1) {
    this.world = new World(seed, { transports: RANKS });
    this.world.latency = () => 10;
    this.world.accept = this.realm.accept;
    this.fault(faults);
    this.session = new Session("http://realm.test", {}, this.world.environment);
    this.session.subscribe("c", (event) => {
      this.firstAt ??= this.world.time;
      this.got.push(event.text());
    }, { from: "all" });
  }

  fault(faults: Case["faults"]): void {
    this.world.faults.clear();
    for (const [names, fault] of faults) for (const name of names) this.world.faults.set(name, fault);
  }

  /** Events go both ways for so long: from elsewhere, and from the session itself. */
  async flow(ms: number, everyMs = 250): Promise<void> {
    for (const end = this.world.time + ms; this.world.time < end; ) {
      this.sent += 2;
      this.realm.publish("c", `elsewhere ${this.sent}`);
      void this.session.publish("c", `own ${this.sent}`).then(({ eid }) => this.answers.push(eid));
      await this.world.run(everyMs);
    }
  }

  check(): void {
    const stored = this.realm.channel("c").events.map(({ header }) => header["data"]);
    expect(stored).toHaveLength(this.sent);
    expect(this.got).toEqual(stored);
    expect(this.answers).toHaveLength(this.sent / 2);
    expect(this.answers.map(Number)).toEqual([...this.answers].map(Number).sort((a, b) => a - b));
  }
}

test("a healthy path uses WebSocket alone: no attempt and no request beside it", async () => {
  const scene = new Scene({ faults: [] });
  await scene.flow(120_000);
  scene.check();
  expect(scene.firstAt).toBeLessThan(100);
  expect(scene.world.peers.map(({ transport }) => transport)).toEqual(["websocket"]);
  expect(scene.world.fetched).toEqual([]);
  expect(scene.session.path).toMatchObject({ transport: "websocket", links: 1, failures: [] });
});

describe.each(cases)("$name", (scenario) => {
  test("an event comes soon, attempts are few, nothing is lost, and WebSocket is back within a minute of the cure", async () => {
    const scene = new Scene(scenario);
    const { world, session } = scene;
    const moves: string[] = [];
    session.on("path", (path) => moves.push(`${world.time} ${session.state} ${path.transport}`));
    await scene.flow(120_000);
    expect(scene.firstAt).toBeLessThan(scenario.firstMs);
    if (scenario.settleMs !== undefined) await scene.flow(scenario.settleMs, 5_000);
    expect(session.path.transport, moves.join()).toBe(scenario.settlesOn);
    const settledAt = world.time;
    const minutes = scenario.settleMs === undefined ? 2 : 10;
    await scene.flow(minutes * 60_000, scenario.settleMs === undefined ? 250 : 5_000);
    expect(session.path.transport, moves.join()).toBe(scenario.settlesOn);
    const attempts = world.peers.filter(({ at }) => at >= settledAt).map(({ at, transport }) => `${at} ${transport}`);
    expect(attempts.length, attempts.join()).toBeLessThanOrEqual(6 * minutes);
    scene.fault([]);
    await scene.flow(60_000);
    expect(session.path.transport, moves.join()).toBe("websocket");
    scene.fault(scenario.faults);
    world.peers.filter(({ alive }) => alive).forEach((wire) => world.faults.get(wire.transport)?.(wire));
    await scene.flow(60_000);
    scene.fault([]);
    await scene.flow(60_000);
    await world.run(5_000);
    scene.check();
  }, 60_000);
});

test("a path that forgets idle connections costs no event, and its heartbeat is learned", async () => {
  const scene = new Scene({ faults: [[ws, muteAt(25_000)]] });
  const { world, session } = scene;
  await scene.flow(1_000);
  await world.run(120_000);
  await scene.flow(30_000);
  await world.run(30_000);
  scene.check();
  expect(session.path.failures.map(({ failure }) => failure)).toContain("idle");
});

test("what flows is found out within seconds when it stops, and goes on over another link", async () => {
  const scene = new Scene({ faults: [] });
  const { world, session } = scene;
  await scene.flow(20_000);
  world.peer.mute = true;
  scene.fault([[ws, swallow]]);
  const before = scene.got.length;
  await scene.flow(8_000);
  expect(scene.got.length).toBeGreaterThan(before);
  expect(session.path.transport).toBe("http-stream");
  expect(session.state).toBe("open");
  scene.fault([]);
  await scene.flow(70_000);
  await world.run(2_000);
  scene.check();
});

test("a slow answer calls the doubt off", async () => {
  const scene = new Scene({ faults: [] });
  const { world, realm, session } = scene;
  await world.run(1_000);
  scene.fault([[ws, blackHole], [STREAMS, blackHole], [["long-poll", "jsonp-poll"], blackHole]]);
  const [link] = world.peers;
  realm.hold = true;
  if (link !== undefined) link.mute = true;
  void session.publish("c", "slow").catch(() => undefined);
  await world.run(4_600);
  expect(world.peers.length).toBeGreaterThan(1);
  realm.hold = false;
  if (link !== undefined) link.mute = false;
  realm.publish("c", "it speaks");
  await world.run(1_000);
  expect(world.peers.slice(1).every(({ closed }) => closed?.reason === "not needed")).toBe(true);
  expect(session.path).toMatchObject({ transport: "websocket", links: 1 });
});

test("what won is remembered for the network for an hour, and starts soon beside WebSocket", async () => {
  const faults: Case["faults"] = [[RANKS.slice(0, 4), blackHole]];
  const first = new Scene({ faults });
  await first.flow(5_000);
  expect(first.session.path.transport).toBe("long-poll");
  for (const [age, transport] of [[0, "long-poll"], [3_600_000, undefined]] as const) {
    const { world, environment } = { world: first.world, environment: first.world.environment };
    world.time += age;
    const session = new Session("http://realm.test", {}, environment);
    await world.run(400);
    expect(session.path.transport).toBe(transport);
    await session.close();
  }
  for (const text of ["{", "5", '[{"network":1}]', '[{"network":"","at":1e99,"transport":"long-poll"}]', '[{"network":"","at":0,"transport":"magic"}]']) {
    first.world.stored.set("throughline:http://realm.test/", text);
    const session = new Session("http://realm.test", {}, first.world.environment);
    await first.world.run(400);
    expect(session.path.transport).toBeUndefined();
    await session.close();
  }
});

test("failures are told, explained by the realm where HTTP passes, and reported once a link is there", async () => {
  const scene = new Scene({ faults: [[ws, refuse(40)]] });
  const { world, realm, session } = scene;
  world.answer = () => Promise.resolve('{"seen":true,"outcome":"refused","code":"bad_origin","message":"not allowed","http":"1.1","via":"1.1 squid","upgrade":true}');
  const failures: unknown[] = [];
  session.on("failure", (failure) => failures.push(failure));
  await world.run(1_000);
  expect(failures).toEqual([{ transport: "websocket", failure: "origin", after: 40, detail: "the realm refused it by HTTP/1.1 via 1.1 squid: not allowed" }]);
  expect(world.fetched).toEqual([expect.stringMatching(/^http:\/\/realm\.test\/throughline\/v1\/diagnose\?id=[\w-]{1,64}&u=\d+$/)]);
  expect(session.path.failures).toEqual(failures);
  expect(realm.log.filter((m) => m["type"] === "report")).toMatchObject([{ transport: "websocket", failure: "origin", after: 40 }]);
});

test("when nothing passes, the session says so and keeps trying, ever less often", async () => {
  const scene = new Scene({ faults: [[RANKS, refuse(40)]] });
  const { world, session } = scene;
  await world.run(600_000);
  expect(session.state === "waiting" || session.state === "connecting").toBe(true);
  expect(session.path.failures.map(({ failure }) => failure)).toContain("unreachable");
  expect(session.path.failure).toMatch(/^nothing gets through to http:\/\/realm\.test\/: /);
  expect(world.attempts(world.time - 300_000)).toBeLessThanOrEqual(31);
  scene.fault([]);
  await world.run(61_000);
  expect(session.path.transport).toBe("websocket");
});

test("a proxy that passes polls alone goes away and comes back: polls go on within seconds", async () => {
  const faults: Case["faults"] = [[ws, refuse(40)], [STREAMS, swallow]];
  for (const awayMs of [200, 1_000, 3_000]) {
    for (let seed = 1; seed <= 10; seed += 1) {
      const scene = new Scene({ faults }, seed);
      const { world, session } = scene;
      await scene.flow(90_000, 1_000);
      expect(session.path.transport).toBe("long-poll");
      scene.fault([[RANKS, refuse(1)]]);
      world.peers.filter(({ alive }) => alive).forEach((wire) => wire.cut());
      await world.run(awayMs);
      scene.fault(faults);
      const { time } = world;
      while (session.state !== "open") await world.run(10);
      expect(session.path.transport).toBe("long-poll");
      expect(world.time - time, `away for ${awayMs} ms, seed ${seed}`).toBeLessThan(10_000);
      await scene.flow(1_000);
      await world.run(1_000);
      scene.check();
    }
  }
});

test("a realm that answers at a wrong path is not called unreachable", async () => {
  const nothingHere: Fault = (wire) => {
    wire.deaf = true;
    wire.close(1006, "the realm answered, but nothing is at this path");
  };
  const { world, session } = new Scene({ faults: [[RANKS, refuse(40)], [["long-poll"], nothingHere]] });
  const told = new Set<string | undefined>();
  session.on("state", ({ state }) => state === "waiting" && told.add(session.path.failure));
  await world.run(60_000);
  expect([...told]).toEqual(["the realm answered, but nothing is at this path"]);
  expect(session.path.failures.map(({ failure }) => failure)).not.toContain("unreachable");
});

test("an application may restrict the transports, and is told when none of them exists", async () => {
  const world = new World(1, { transports: RANKS });
  const realm = new Realm();
  world.accept = realm.accept;
  const session = new Session("http://realm.test", { transports: ["long-poll", "event-source"] }, world.environment);
  await world.run(60_000);
  expect(new Set(world.peers.map(({ transport }) => transport))).toEqual(new Set(["event-source"]));
  expect(session.path.transport).toBe("event-source");
  expect(() => new Session("http://realm.test", { transports: [] }, world.environment)).toThrow(/no wanted transport/);
});

test("text-only transports carry bytes as base64, and a stream that has brought enough is replaced in time", async () => {
  const world = new World(1, { transports: ["iframe-stream"] });
  const realm = new Realm();
  world.accept = realm.accept;
  const session = new Session("http://realm.test", {}, world.environment);
  const got: string[] = [];
  session.subscribe("c", (event) => got.push(event.text()));
  void session.publish("c", new Uint8Array([97, 98]));
  await world.run(50);
  expect(realm.log.find((m) => m["type"] === "publish")).toMatchObject({ base64: "YWI=" });
  for (let i = 0; i < 30; i += 1) {
    realm.publish("c", "x".repeat(900));
    await world.run(1_000);
  }
  expect(world.peers.length).toBeGreaterThan(1);
  expect(world.peers.length).toBeLessThan(5);
  expect(session.path.failures).toEqual([]);
  expect(got).toHaveLength(31);
});
