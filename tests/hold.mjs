// Holds ten thousand sessions of each transport kind on one realm, and looks whether it grows.
//
//   node tests/hold.mjs [--kinds a,b] [--sessions N] [--minutes N] [--out FILE]
//
// Each session subscribes; one event a second goes to one channel after the other. Memory and time of the server are read
// from /proc. Fails when a session ends, an event is not given to all, or memory grows by more than 3 % and 2 MiB.

import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";

import { Link } from "./lib/link.mjs";
import { Program } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

const HOLDER = fileURLToPath(new URL("lib/holder.mjs", import.meta.url));
const CHANNELS = 100;
const EVENTS_PER_SECOND = 1;
const SAMPLE_MS = 5_000;
/** Heartbeats and polls have all come round once by then. */
const SETTLE_MS = 30_000;
const TICKS_PER_SECOND = 100;

const { values } = parseArgs({
  options: {
    kinds: { type: "string", default: "websocket,http-stream,event-source,iframe-stream,long-poll,jsonp-poll" },
    sessions: { type: "string", default: "10000" },
    minutes: { type: "string", default: "10" },
    out: { type: "string" },
  },
});

const sessions = Number(values.sessions);
const holdMs = Number(values.minutes) * 60_000;
const moment = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resident bytes, and seconds of processor time, of a process. */
function usage(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1].split(" ");
  const bytes = Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
  return { bytes, seconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND };
}

class Hold {
  constructor(kind) {
    this.kind = kind;
    this.published = 0;
    this.samples = [];
  }

  async start() {
    this.realm = await Realm.start({ config: "[limits]\nconnections_max = 30000\n" });
    this.pid = this.realm.server.child.pid;
    this.empty = usage(this.pid).bytes;
    this.publisher = await Link.open(this.realm.websocket, { keep: false });
    this.holder = new Program(process.execPath, [HOLDER, this.kind, this.realm.url, String(sessions), String(CHANNELS)], { input: true });
    await this.holder.until((lines) => (lines.includes("ready") ? true : undefined));
  }

  /** What the holder says of itself now. */
  async ask() {
    const before = this.holder.lines.length;
    this.holder.child.stdin.write("\n");
    const line = await this.holder.until((lines) => lines.slice(before).find((text) => text.startsWith("state ")));
    return JSON.parse(line.slice(6));
  }

  async publish() {
    const id = ++this.published;
    const reply = await this.publisher.request({ type: "publish", id, channel: `hold/${id % CHANNELS}`, data: `event ${id}` });
    if (reply.error) throw new Error(reply.error.message);
  }

  /** Events that the sessions must have been given: each channel has its share of the sessions. */
  due() {
    const shares = Array.from({ length: CHANNELS }, (_, channel) => Math.ceil((sessions - channel) / CHANNELS));
    return Array.from({ length: this.published }, (_, at) => shares[(at + 1) % CHANNELS]).reduce((sum, share) => sum + share, 0);
  }

  async run() {
    const timer = setInterval(() => this.publish(), 1000 / EVENTS_PER_SECOND);
    try {
      await moment(Math.min(SETTLE_MS, holdMs / 2));
      const began = performance.now();
      const first = usage(this.pid);
      this.samples.push(first.bytes);
      while (performance.now() - began < holdMs) {
        await moment(Math.min(SAMPLE_MS, holdMs / 10));
        this.samples.push(usage(this.pid).bytes);
      }
      const last = usage(this.pid);
      this.cpu = (last.seconds - first.seconds) / ((performance.now() - began) / 1000);
    } finally {
      clearInterval(timer);
    }
  }

  /** Waits until everything due has come; the state after that. */
  async finish() {
    for (let state = await this.ask(); ; state = await this.ask()) {
      if (state.events >= this.due() || state.lost > 0) return state;
      await moment(100);
    }
  }

  async result() {
    const state = await this.finish();
    const part = Math.max(1, Math.floor(this.samples.length / 10));
    const mean = (list) => list.reduce((sum, bytes) => sum + bytes, 0) / list.length;
    const [begin, end] = [mean(this.samples.slice(0, part)), mean(this.samples.slice(-part))];
    const findings = [];
    if (state.lost > 0) findings.push(`${state.lost} sessions were lost: ${state.failure}`);
    if (state.events !== this.due()) findings.push(`${state.events} events came of ${this.due()}`);
    if (end - begin > Math.max(0.03 * begin, 2 << 20)) findings.push(`memory grew from ${begin} to ${end} bytes`);
    return { kind: this.kind, empty: this.empty, begin, end, peak: Math.max(...this.samples), cpu: this.cpu, events: state.events, findings };
  }

  async end() {
    await this.holder?.kill();
    await this.realm?.end();
  }
}

const mebibytes = (bytes) => (bytes / (1 << 20)).toFixed(1);

function table(results) {
  const rows = results.map(({ kind, empty, begin, end, peak, cpu, events }) => [
    kind,
    sessions,
    mebibytes(empty),
    mebibytes(begin),
    mebibytes(end),
    mebibytes(peak),
    ((begin - empty) / sessions / 1024).toFixed(1),
    `${(cpu * 100).toFixed(1)} %`,
    events,
  ]);
  return [
    "| Kind | Sessions | Empty, MiB | At first, MiB | At last, MiB | Peak, MiB | Per session, KiB | Of one core | Events given |",
    "|---|---|---|---|---|---|---|---|---|",
    ...rows.map((row) => `| ${row.join(" | ")} |`),
    "",
  ].join("\n");
}

const results = [];
for (const kind of values.kinds.split(",")) {
  const hold = new Hold(kind);
  try {
    await hold.start();
    await hold.run();
    results.push(await hold.result());
  } finally {
    await hold.end();
  }
  process.stdout.write(`${kind}: ${JSON.stringify(results.at(-1))}\n`);
}
process.stdout.write(table(results));
if (values.out) writeFileSync(values.out, table(results));
if (results.some(({ findings }) => findings.length > 0)) process.exitCode = 1;
