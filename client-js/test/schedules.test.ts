// Random schedules of publishing, cuts, refusals, drains, stalls and new histories, against the model server. Each seed is
// one schedule; a failing one is named and repeats itself: SEED=n npm test.

import { expect, test } from "vitest";
import { Session } from "../src/client.js";
import type { Subscription } from "../src/subscription.js";
import { Realm } from "./realm.js";
import { World, seeded } from "./world.js";

/** More are run by SEEDS=n npm test. */
const SEEDS = Number(process.env["SEEDS"] ?? 100);
const STEPS = 60;

/** What one subscriber was given: data of events, and gaps as ranges. */
interface Account {
  readonly channel: string;
  readonly got: { readonly epoch: string; readonly eid: number; readonly data: string }[];
  readonly gaps: { readonly from: number; readonly to: number; readonly reason: string }[];
  readonly sub: Subscription;
  /** The cursor with which it was accepted: "all" is what is kept then. */
  start: number;
}

class Schedule {
  readonly world: World;
  readonly realm = new Realm();
  readonly random: () => number;
  readonly sessions: Session[];
  readonly accounts: Account[] = [];
  readonly answers = new Map<string, string[]>();
  published = 0;
  /** Whether channels drop events for want of room in this schedule. */
  readonly lossy: boolean;

  constructor(seed: number) {
    this.random = seeded(seed * 7919);
    this.world = new World(seed, { solo: seed % 4 === 0 });
    this.world.latency = () => Math.floor(this.random() * 40);
    this.world.accept = this.realm.accept;
    this.realm.publishesMax = 1 + this.pick(6);
    this.lossy = seed % 3 === 0;
    if (this.lossy) this.realm.capacity = 3 + this.pick(20);
    this.sessions = [0, 1].map(() => new Session("http://realm.test", {}, this.world.environment));
    for (const [i, session] of this.sessions.entries()) {
      for (const channel of ["a", "b"]) this.subscribe(session, channel, i === 1);
    }
  }

  pick(n: number): number {
    return Math.floor(this.random() * n);
  }

  subscribe(session: Session, channel: string, slow: boolean): void {
    const got: Account["got"] = [];
    const gaps: Account["gaps"] = [];
    const options = { from: "all", bufferEventsMax: 4 } as const;
    const sub = session.subscribe(channel, (event) => {
      got.push({ epoch: sub.position?.epoch ?? "", eid: Number(event.eid), data: event.text() });
      return slow ? new Promise<void>((resolve) => this.world.at(this.world.time + 15, resolve)) : undefined;
    }, options);
    sub.on("gap", (gap) => gaps.push({ from: Number(gap.from), to: Number(gap.to), reason: gap.reason }));
    const account: Account = { channel, got, gaps, sub, start: 0 };
    void sub.ready.then(() => (account.start = Number(sub.cursor)));
    this.accounts.push(account);
  }

  publish(): void {
    this.published += 1;
    const text = `event ${this.published}`;
    const session = this.sessions[this.pick(2)];
    if (this.random() < 0.3 || session === undefined) {
      this.realm.publish(this.pick(2) === 0 ? "a" : "b", text);
      return;
    }
    const answers: string[] = [];
    this.answers.set(text, answers);
    session.publish(this.pick(2) === 0 ? "a" : "b", text).then(({ eid }) => answers.push(eid), (error) => answers.push(String(error)));
  }

  /** One random deed. */
  async step(): Promise<void> {
    const live = this.world.peers.filter((peer) => peer.alive);
    const peer = live[this.pick(live.length)];
    const deed = this.pick(20);
    if (deed < 11) for (let n = this.pick(8); n >= 0; n -= 1) this.publish();
    else if (deed < 15) peer?.cut();
    else if (deed === 15) peer?.close([1001, 4000, 4001, 4100, 4102, 1011][this.pick(6)] ?? 1001);
    else if (deed === 16) this.world.door = this.world.door === "accept" ? "refuse" : "accept";
    else if (deed === 17 && peer !== undefined) peer.onFrame = () => undefined;
    else if (deed === 18) this.world.hint();
    else this.realm.broadcast({ type: "drain", after: this.pick(500) });
    await this.world.run(this.pick(120));
  }

  async play(): Promise<void> {
    for (let i = 0; i < STEPS; i += 1) await this.step();
    // Faults stop: whatever is silent is found out by heartbeats, and all must come together.
    this.world.door = "accept";
    await this.world.run(120_000);
  }
}

function check(schedule: Schedule, seed: string): void {
  const { realm, lossy } = schedule;
  for (const [text, answers] of schedule.answers) {
    expect(answers, `${seed}: answers to ${text}`).toHaveLength(1);
    expect(answers[0], `${seed}: answer to ${text}`).toMatch(/^\d+$/);
  }
  for (const name of ["a", "b"]) {
    const { events, last } = realm.channel(name);
    if (!lossy) {
      const stored = events.map((event) => event.header["data"]);
      expect(new Set(stored).size, `${seed}: ${name} holds an event twice`).toBe(stored.length);
    }
    for (const { channel, got, gaps, sub, start } of schedule.accounts) {
      if (channel !== name) continue;
      const eids = got.map(({ eid }) => eid);
      expect(eids, `${seed}: order in ${name}`).toEqual([...new Set(eids)].sort((x, y) => x - y));
      const seen = new Set(eids);
      const missed = (eid: number): boolean => gaps.some(({ from, to }) => from <= eid && eid <= to);
      for (let eid = start + 1; eid <= last; eid += 1) {
        expect(seen.has(eid) !== missed(eid), `${seed}: EID ${eid} of ${name} came, or was told as missed`).toBe(true);
      }
      if (!lossy) expect(gaps, `${seed}: gaps of ${name}`).toEqual([]);
      expect(sub.buffered, `${seed}: everything was handed out`).toBe(0);
    }
  }
}

const chosen = process.env["SEED"];
const seeds = chosen === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(chosen)];

test("nothing is lost, nothing comes twice, order holds, whatever happens to the links", async () => {
  let links = 0;
  let events = 0;
  for (const seed of seeds) {
    const schedule = new Schedule(seed);
    await schedule.play();
    check(schedule, `SEED=${seed}`);
    links += schedule.world.peers.length;
    events += schedule.accounts.reduce((sum, { got }) => sum + got.length, 0);
  }
  // The schedules must be rough, or they prove nothing.
  expect(links).toBeGreaterThan(seeds.length * 6);
  expect(events).toBeGreaterThan(seeds.length * 50);
}, 120_000);
