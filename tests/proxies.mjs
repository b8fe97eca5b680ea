// Every proxy that this machine can have, in front of a realm or on the way to it: a browser and the command line connect
// through it, 1,000 events go each way, nothing is said for 90 seconds, and the proxy is stopped and comes back.
//
//   node tests/proxies.mjs [--rows 'a;b'] [--silence SECONDS] [--untimed] [--out FILE]
//
// Fails when an event is lost, doubled or out of order, or the first one comes late twice; --untimed does not judge the
// latter. With --out the table is written into
// a document between its marks.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Authority, trust } from "./lib/authority.mjs";
import { launch } from "./lib/browsers.mjs";
import { OUTSIDE } from "./lib/gate.mjs";
import { INSPECTOR, Path } from "./lib/proxy-path.mjs";
import { NAME } from "./lib/proxy-configs.mjs";
import { ROWS } from "./lib/proxy-rows.mjs";
import { Realm } from "./lib/realm.mjs";

/** So many rows exchange their thousands of events at once. */
const BUSY_MAX = 12;
const MARKS = ["<!-- measured: begin -->", "<!-- measured: end -->"];

const { values } = parseArgs({
  options: {
    rows: { type: "string" },
    silence: { type: "string", default: "90" },
    untimed: { type: "boolean", default: false },
    out: { type: "string" },
  },
});

/** Milliseconds after which a step is given up: it hangs. Where others use the machine nothing is judged by its time. */
const STEP_MS_MAX = values.untimed ? 240_000 : 60_000;

const moment = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The outcome of `promise`, or an error after `STEP_MS_MAX`: a step that hangs is a finding too. */
function limited(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end within ${STEP_MS_MAX / 1000} s`)), STEP_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Does a step for some paths; a step that fails is a finding of its path. */
async function each(paths, step, act, atOnce = paths.length) {
  const began = performance.now();
  const waiting = paths.filter((path) => !path.broken);
  const work = async () => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      try {
        await limited(act(path), step);
      } catch (error) {
        process.stderr.write(`${path.name}: ${step}: ${error.message ?? error}\n`);
        path.broken = true;
        path.findings.push(`${step}: ${String(error.message ?? error).slice(0, 600)}`);
        const state = await path.state().catch((unknown) => `no state: ${unknown.message}`);
        process.stderr.write(`${path.name}: ${state}\n`);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  process.stderr.write(`${step}: ${paths.length} in ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
}

function outcome({ findings, refusal }) {
  if (findings.length > 0) return findings.join("; ").replace(/\s*\n\s*/g, " ");
  return refusal ? `nothing can pass, and is told why: ${refusal}` : "all delivered, in order";
}

function table(paths) {
  const rows = paths.map((path) => [
    path.name,
    path.transport ?? "none",
    path.first === undefined ? "-" : (path.first / 1000).toFixed(2),
    outcome(path),
  ]);
  return [
    "| Proxy | Carried by | First event, s | 1,000 events each way, silence, restart of the proxy |",
    "|---|---|---|---|",
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ].join("\n");
}

const wanted = values.rows?.split(";");
const rows = ROWS.filter(({ name }) => wanted === undefined || wanted.includes(name));
const folder = mkdtempSync(join(tmpdir(), "throughline-proxies-"));
const authority = new Authority(folder, "Throughline tests");
const inspection = new Authority(folder, INSPECTOR);
const authorities = [authority, inspection];
// Of the loopback network, so that nobody else has its port 443.
const address = ["127", 1 + (process.pid >> 14), 1 + ((process.pid >> 7) & 127), 1 + (process.pid & 127)].join(".");
const issued = authority.issue("localhost", [NAME], ["127.0.0.1", address, OUTSIDE]);
const tls = `[tls]\ncertificates = ["${issued.cert}"]\nkeys = ["${issued.key}"]\n`;
const realms = { open: await Realm.start({ config: 'proxies.proxy_protocol_from = ["127.0.0.9"]\n' }) };
if (rows.some(({ secure, intercepts }) => secure && !intercepts)) realms.secure = await Realm.start({ config: tls, listen: `${address}:443` });
const home = join(folder, "home");
trust(join(home, ".pki", "nssdb"), authorities);
const environment = { ...process.env, HOME: home };
const browser = await launch("chromium", "light", { env: environment });
const scene = { folder, realms, browser, environment, issued, inspection, authorities, tls };
const paths = rows.map((row) => new Path(row, scene));
const passing = paths.filter(({ row }) => !row.refuses);
try {
  // One after the other: the time to the first event is measured.
  for (const path of paths) {
    await each([path], "the proxy", () => path.start());
    if (path.row.refuses) await each([path], "the refusal", () => path.refused());
    else await each([path], "the first event", () => path.open());
    if (!path.row.refuses && !values.untimed) await each([path], "the first event, again", () => path.openAgain());
  }
  await each(passing, "1,000 events each way", (path) => path.exchange(), BUSY_MAX);
  await moment(Number(values.silence) * 1000);
  await each(passing, "after silence", (path) => path.again("after silence"));
  await each(passing, "the transport", (path) => path.look());
  await each(passing, "a restart of the proxy", async (path) => {
    await path.proxied.restart();
    await path.again("after a restart");
  });
  await each(passing, "the end", (path) => path.finish(!values.untimed));
} finally {
  await Promise.allSettled(paths.map((path) => limited(path.end(), `the end of ${path.name}`)));
  await browser.close();
  await Promise.allSettled(Object.values(realms).map((realm) => realm.end()));
  rmSync(folder, { recursive: true, force: true });
}
const text = table(paths);
process.stdout.write(`${text}\n`);
if (values.out) {
  const document = readFileSync(values.out, "utf8");
  const [before, rest] = document.split(MARKS[0]);
  const after = rest.split(MARKS[1])[1];
  writeFileSync(values.out, `${before}${MARKS[0]}\n\n${text}\n\n${MARKS[1]}${after}`);
}
if (paths.some(({ findings }) => findings.length > 0)) process.exitCode = 1;
