// The fault matrix: real browsers, the real server, and a middlebox between them that breaks the path in one way per row.
//
//   node tests/matrix.mjs [--rows a,b] [--browsers chromium,firefox] [--seconds N] [--parallel N] [--out FILE] [--lenient]
//
// While 50 events a second flow in both directions the fault is on, off, on and off again. Fails when anything is lost,
// doubled or reordered, when the client keeps trying too often, or, unless --lenient, when something took too long.

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";

import { launch } from "./lib/browsers.mjs";
import { newFault } from "./lib/faults.mjs";
import { document, line } from "./lib/matrix-document.mjs";
import { Middlebox } from "./lib/middlebox.mjs";
import { Peer } from "./lib/peer.mjs";
import { Realm } from "./lib/realm.mjs";
import { ROWS, findings } from "./lib/rows.mjs";

const RATE = 50;
/** Parts of the time at which the fault is switched; it is on at first. */
const SWITCHES = [0.625, 0.75, 0.875];
const SETTLED_SECONDS = 15;
const DONE_MS_MAX = 60_000;
const BACK_MS_MAX = 75_000;
const STAGGER_MS = 2_000;

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: ROWS.map(({ name }) => name).join() },
    browsers: { type: "string", default: "chromium,firefox" },
    seconds: { type: "string", default: "120" },
    parallel: { type: "string", default: "5" },
    out: { type: "string" },
    lenient: { type: "boolean", default: false },
  },
});

const files = fileURLToPath(new URL("harness", import.meta.url));
const moment = (at) => new Promise((resolve) => setTimeout(resolve, Math.max(0, at - Date.now())));

/** Asks until the answer is true; false when that takes too long. */
async function eventually(ask, ms) {
  for (const late = Date.now() + ms; ; await moment(Date.now() + 100)) {
    if (await ask()) return true;
    if (Date.now() >= late) return false;
  }
}

class Run {
  constructor(browser, realm, row, prefix) {
    Object.assign(this, { browser, realm, row });
    this.name = `${prefix}/${row.name}`;
    // Room for a whole settled minute, if there is time for one.
    this.seconds = Math.max(Number(values.seconds) + (Number(values.seconds) < 120 ? 0 : (row.settledSeconds ?? 0)), row.seconds ?? 0);
    this.load = { rate: RATE, pattern: row.quiet ?? null };
  }

  fault(on) {
    this.box.apply(on && this.row.name !== "healthy" ? newFault(this.row.name) : undefined);
  }

  async start() {
    for (const way of ["down", "up"]) await this.realm.createChannel(`${this.name}/${way}`, { type: "reliable", capacity: 1_000_000, bytes: null });
    this.box = await Middlebox.start(this.realm.url, { files, now: Date.now });
    this.peer = await Peer.start(this.realm, this.name, this.load);
    this.page = await this.browser.newPage();
    await this.page.goto(`${this.box.url}/harness/load.html`);
    await this.page.waitForFunction(() => globalThis.startLoad !== undefined);
    this.fault(true);
    this.startedAt = Date.now();
    await this.page.evaluate((options) => globalThis.startLoad(options), { realm: this.box.url, name: this.name, ...this.load });
  }

  /** Switches the fault while events flow. */
  async flow() {
    for (const [at, part] of SWITCHES.entries()) {
      await moment(this.startedAt + this.seconds * part * 1000);
      this.fault(at % 2 === 1);
      this.liftedAt = Date.now();
    }
    await moment(this.startedAt + this.seconds * 1000);
    this.down = this.peer.rest();
    this.up = await this.page.evaluate(() => globalThis.restLoad());
    const done = (down) => globalThis.loadIsDone(down);
    await eventually(async () => this.peer.received.length >= this.up && (await this.page.evaluate(done, this.down)), DONE_MS_MAX);
  }

  /** How long after the last fault the session was on WebSocket, and stayed there. */
  async back() {
    const ask = async () => (await this.report()).diary.at(-1)?.transport === "websocket";
    if (!(await eventually(ask, values.lenient ? 0 : BACK_MS_MAX))) return undefined;
    return Math.max(0, (await this.report()).diary.at(-1).at - this.liftedAt);
  }

  report() {
    return this.page.evaluate(() => globalThis.reportLoad());
  }

  /** Transports by the part of the first faulty time, once settled, that they carried. */
  carriers(diary, from, to) {
    const parts = {};
    diary.forEach(({ at, transport }, index) => {
      const ms = Math.min(to, diary[index + 1]?.at ?? Infinity) - Math.max(from, at);
      if (ms > 0) parts[transport] = (parts[transport] ?? 0) + ms / (to - from);
    });
    return parts;
  }

  /** When the client has had its time to find a way; on a slow machine that begins with the first event. */
  settledAt({ startedAt, firstEventMs = 0 }) {
    const part = Math.min(this.row.settledSeconds ?? SETTLED_SECONDS, this.seconds * (this.row.settledSeconds ? 0.5 : 0.25)) * 1000;
    return Math.max(startedAt + part, startedAt + firstEventMs + part / 2);
  }

  async result() {
    const backMs = await this.back();
    const report = await this.report();
    const brokenUntil = this.startedAt + this.seconds * SWITCHES[0] * 1000;
    const settledAt = Math.min(brokenUntil - 1000, this.settledAt(report));
    const openings = this.box.openings.filter(({ at }) => at >= settledAt && at < brokenUntil);
    const events = { down: await this.page.evaluate((down) => globalThis.judgeLoad(down), this.down), up: this.peer.judge(this.up) };
    return {
      firstEventMs: report.firstEventMs,
      events,
      faults: report.faults,
      gaps: report.gaps,
      repeated: report.duplicates,
      attempts: openings.map(({ at }) => at),
      windowSeconds: Math.round((brokenUntil - settledAt) / 100) / 10,
      carriers: this.carriers(report.diary, settledAt, brokenUntil),
      backMs,
      requests: this.box.requests.map(({ kind }) => kind),
      told: [...new Set(report.failures.filter(([at]) => at < brokenUntil).map(([, ...words]) => words.join(" ")))],
      diary: report.diary.map(({ at, transport }) => [at - this.startedAt, transport]),
      openings: this.box.openings.map(({ at, transport }) => [at - this.startedAt, transport]),
      path: report.path,
    };
  }

  async end() {
    await this.page?.evaluate(() => globalThis.endLoad()).catch(() => {});
    await this.page?.close().catch(() => {});
    await this.peer?.end();
    await this.box?.close();
  }
}

async function runRow(browser, realm, row, prefix) {
  const run = new Run(browser, realm, row, prefix);
  try {
    await run.start();
    await run.flow();
    const result = await run.result();
    return { row, ...result, findings: findings(row, result, { timing: !values.lenient }) };
  } finally {
    await run.end();
  }
}

/** All rows in one browser, several at a time, one started after the other so that none disturbs another's start. */
async function runBrowser(name, rows) {
  const realm = await Realm.start();
  const browser = await launch(name);
  const results = [];
  try {
    const version = await browser.version();
    const waiting = [...rows];
    const worker = async (index) => {
      await moment(Date.now() + index * STAGGER_MS);
      for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
        const result = await runRow(browser, realm, row, name);
        process.stdout.write(line(name, result));
        results.push(result);
      }
    };
    await Promise.all(Array.from({ length: Number(values.parallel) }, (_, index) => worker(index)));
    results.sort((a, b) => rows.indexOf(a.row) - rows.indexOf(b.row));
    return { name, version, results };
  } finally {
    await browser.close();
    await realm.end();
  }
}

const wanted = values.rows.split(",");
const unknown = wanted.filter((name) => !ROWS.some((row) => row.name === name));
if (unknown.length > 0) throw new Error(`no row is called ${unknown.join(", ")}; there are ${ROWS.map(({ name }) => name).join(", ")}`);
const rows = ROWS.filter(({ name }) => wanted.includes(name));
// What takes longest starts first.
rows.sort((a, b) => (b.seconds ?? 0) - (a.seconds ?? 0));
const browsers = [];
for (const name of values.browsers.split(",")) browsers.push(await runBrowser(name, rows));
if (values.out) writeFileSync(values.out, document(browsers, { rate: RATE, seconds: Number(values.seconds), switches: SWITCHES }));
const bad = browsers.flatMap(({ name, results }) => results.flatMap(({ row, findings }) => findings.map((text) => `${name}, ${row.name}: ${text}`)));
process.stdout.write(bad.length === 0 ? "every row held what it must\n" : `${bad.join("\n")}\n`);
process.exitCode = bad.length === 0 ? 0 : 1;
