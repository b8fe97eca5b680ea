// Kills a realm again and again under a persistent publish load, and holds its history against what it promised.
//
//   node tests/crash.mjs [--cycles N] [--kind kill|torn|full] [--seed N]
//
// kill: SIGKILL at a random moment. torn: garbage is written behind the journal too, as a torn write leaves it.
// full: the disk fills up and is emptied again around the kill (a small tmpfs: needs root).

import { parseArgs } from "node:util";

import { Ledger } from "./lib/ledger.mjs";
import { Publisher, Subscriber } from "./lib/load.mjs";
import { Disk, tear } from "./lib/disk.mjs";
import { Realm } from "./lib/realm.mjs";

const CHANNEL = "crash/load";
const PUBLISHERS = 4;

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "30" },
    kind: { type: "string", default: "kill" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});

/** Numbers that follow from the seed alone (mulberry32). */
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

class Run {
  constructor(kind, seed) {
    this.kind = kind;
    this.random = generator(seed);
    this.ledger = new Ledger();
    this.answers = { stored: 0, repeated: 0, refused: 0 };
    this.waiting = [];
    const onanswer = (message) => this.count(message);
    const names = Array.from({ length: PUBLISHERS }, (_, index) => `p${index}`);
    this.publishers = names.map((name) => new Publisher(name, CHANNEL, this.ledger, { onanswer }));
    this.subscriber = new Subscriber(CHANNEL, this.ledger);
  }

  count(message) {
    if (message.error) this.answers.refused += 1;
    else if (message.duplicate) this.answers.repeated += 1;
    else this.answers.stored += 1;
    const codes = ["store_full", "store_failed"];
    if (message.error && !(this.kind === "full" && codes.includes(message.error.code))) {
      throw new Error(`publish refused: ${message.error.code}: ${message.error.message}`);
    }
    this.waiting = this.waiting.filter((waiter) => !waiter());
  }

  /** Resolves when so many more answers of a kind have come. */
  more(kind, number) {
    const wanted = this.answers[kind] + number;
    return new Promise((resolve) => {
      this.waiting.push(() => this.answers[kind] >= wanted && (resolve(), true));
    });
  }

  async start() {
    this.disk = this.kind === "full" ? new Disk(256) : undefined;
    const config = this.disk ? "[store]\nfree_bytes_min = 1048576\n" : "";
    this.realm = await Realm.start({ config, data: this.disk && `${this.disk.folder}/data` });
    await this.realm.createChannel(CHANNEL, { type: "persistent", capacity: null, bytes: null });
  }

  clients() {
    return [...this.publishers, this.subscriber];
  }

  connect() {
    return Promise.all(this.clients().map((client) => client.connect(this.realm.websocket)));
  }

  /** Reads what is new in the history and holds it against every promise. */
  async verify() {
    const from = this.ledger.lastEid + 1n;
    this.ledger.extend(await this.realm.replay(CHANNEL, from.toString()));
  }

  async kill() {
    await this.realm.kill();
    await Promise.all(this.clients().map((client) => client.link.closed));
  }

  /** Load, a kill at a random moment, a restart; the history is checked before anybody adds to it. */
  async cycle() {
    await this.connect();
    await this.more("stored", 1 + this.random(1500));
    if (this.disk) await this.fill();
    await this.kill();
    if (this.kind === "torn") tear(this.realm.data, this.random);
    this.disk?.empty();
    await this.realm.up();
    await this.verify();
  }

  /** Fills the disk: publishers are refused, everyone else goes on. Half of the times the realm recovers alive. */
  async fill() {
    const refused = this.more("refused", 1 + this.random(200));
    this.disk.fill();
    await refused;
    this.subscriber.link.send({ type: "ping" });
    await this.subscriber.link.until((message) => message.type === "pong");
    await this.realm.http("GET", `channels/${CHANNEL}/events?limit=10`);
    if (this.random(2) === 0) return;
    this.disk.empty();
    await this.more("stored", 1 + this.random(500));
  }

  /** The last word: everything answered, everything delivered, everything stored. */
  async finish() {
    await this.connect();
    await Promise.all(this.publishers.map((publisher) => publisher.rest()));
    await this.verify();
    await this.subscriber.reach(this.ledger.lastEid);
    this.ledger.complete();
    this.ledger.compare(await this.realm.replay(CHANNEL));
    await this.realm.stop();
  }

  async end() {
    await this.realm?.end();
    this.disk?.end();
  }
}

const cycles = Number(values.cycles);
const run = new Run(values.kind, Number(values.seed));
process.stdout.write(`${values.kind}: ${cycles} cycles, seed ${values.seed}\n`);
let cycle = 0;
try {
  await run.start();
  for (; cycle < cycles; cycle++) await run.cycle();
  await run.finish();
} catch (error) {
  error.message = `cycle ${cycle} of ${cycles}, --kind ${values.kind} --seed ${values.seed}: ${error.message}`;
  throw error;
} finally {
  await run.end();
}
const { stored, repeated, refused } = run.answers;
process.stdout.write(`${stored} events stored, ${repeated} repetitions recognised, ${refused} refused: every promise held\n`);
