// Every proxy that this machine can have, in front of a realm or on the way to it: a browser and the command line connect
// through it, 1,000 events go each way, nothing is said for 90 seconds, and the proxy is stopped and comes back.
//
//   node tests/proxies.mjs [--rows a,b] [--silence SECONDS] [--out FILE]
//
// Fails when an event is lost, doubled or out of order, or the first one comes late. With --out the table is written into
// a document between its marks.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { launch } from "./lib/browsers.mjs";
import { certificate } from "./lib/fronts.mjs";
import { Program, binary } from "./lib/processes.mjs";
import { Proxied, ROWS } from "./lib/proxied.mjs";
import { Realm } from "./lib/realm.mjs";

const EVENTS = 1_000;
/** Milliseconds after which a step is given up. */
const STEP_MS_MAX = 60_000;
/** Milliseconds until the first event, through a proxy that passes WebSocket on and through any. */
const FIRST_MS = { upgrades: 1_000, any: 3_000 };
const MARKS = ["<!-- measured: begin -->", "<!-- measured: end -->"];

const { values } = parseArgs({
  options: { rows: { type: "string" }, silence: { type: "string", default: "90" }, out: { type: "string" } },
});

const moment = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const texts = (what, count = EVENTS) => Array.from({ length: count }, (_, at) => `${what} ${at}`);

/** One row's clients. */
class Path {
  constructor(proxied, realm, certificates) {
    Object.assign(this, { proxied, realm, certificates, name: proxied.row.name, findings: [] });
    const channel = this.name.toLowerCase().replace(/\W+/g, "-").replace(/-$/, "");
    this.channels = { down: `${channel}/down`, up: `${channel}/up`, native: `${channel}/native` };
  }

  /** Arguments that lead the command line through the proxy. */
  get way() {
    const { url, proxy, row } = this.proxied;
    return ["--url", url, "--proxy", proxy ?? "none", ...(row.tls ? ["--ca", this.certificates.cert] : [])];
  }

  async open(browser) {
    const { proxy, url } = this.proxied;
    await this.realm.cli(["publish", this.channels.down, "first", "--proxy", "none"]);
    this.context = await browser.createBrowserContext(proxy ? { proxyServer: proxy, proxyBypassList: ["<-loopback>"] } : {});
    this.page = await this.context.newPage();
    await this.page.goto(`${url}/healthz`);
    this.first = await this.page.evaluate(async (address, channels) => {
      const { Session } = await import(`${address}/throughline/v1/client.js`);
      globalThis.heard = [];
      globalThis.gaps = 0;
      const began = performance.now();
      globalThis.session = new Session(address);
      session.on("gap", () => (globalThis.gaps += 1));
      await new Promise((resolve) => {
        const take = (event) => {
          heard.push(event.data);
          resolve();
        };
        session.subscribe(channels.down, take, { from: "all" });
      });
      return performance.now() - began;
    }, url, this.channels);
    const args = ["subscribe", this.channels.up, "--from", "all", ...this.way];
    this.native = new Program(binary(), args);
  }

  /** What a browser's page was given, once it was given so many. */
  async heard(count) {
    await this.page.waitForFunction((wanted) => heard.length >= wanted, { timeout: 120_000, polling: 100 }, count);
    return this.page.evaluate(() => heard);
  }

  nativeHeard(count) {
    return this.native.until((lines) => (lines.length >= count ? lines.slice() : undefined));
  }

  expect(what, got, wanted) {
    const at = wanted.findIndex((text, index) => got[index] !== text);
    if (got.length !== wanted.length || at >= 0) {
      this.findings.push(`${what}: ${got.length} of ${wanted.length}; at ${at}: ${got[at]} for ${wanted[at]}`);
    }
  }

  /** From the command line to the browser, and from the browser to the command line. */
  async exchange() {
    const publisher = new Program(binary(), ["publish", this.channels.down, "--lines", ...this.way], { input: true });
    publisher.child.stdin.end(`${texts("down").join("\n")}\n`);
    const status = await publisher.ended;
    if (status !== 0) this.findings.push(`publish --lines ended with ${status}: ${publisher.stderr}`);
    await this.page.evaluate(async (channel, all) => {
      await Promise.all(all.map((text) => session.publish(channel, text)));
    }, this.channels.up, texts("up"));
    this.down = ["first", ...texts("down")];
    this.up = texts("up");
    await this.compare("1,000 events");
  }

  /** One more each way. */
  async again(what) {
    await this.page.evaluate((channel, text) => session.publish(channel, text), this.channels.up, what);
    await this.realm.cli(["publish", this.channels.down, what, "--proxy", "none"]);
    this.down.push(what);
    this.up.push(what);
    await this.compare(what);
  }

  async compare(what) {
    this.expect(`${what}, browser`, await this.heard(this.down.length), this.down);
    this.expect(`${what}, command line`, await this.nativeHeard(this.up.length), this.up);
  }

  /** What carries the browser's session. */
  async look() {
    this.transport = await this.page.evaluate(() => session.path.transport);
    this.links = await this.page.evaluate(() => session.path.links);
  }

  async finish() {
    if ((await this.page.evaluate(() => gaps)) > 0) this.findings.push("a gap was told");
    const limit = this.proxied.row.upgrades ? FIRST_MS.upgrades : FIRST_MS.any;
    if (this.first > limit) this.findings.push(`the first event came after ${Math.round(this.first)} ms, not ${limit}`);
    if (this.proxied.row.upgrades && this.transport !== "websocket") this.findings.push(`${this.transport} carries it, not websocket`);
  }

  async end() {
    await this.native?.kill("SIGKILL");
    await this.page?.close();
    await this.context?.close();
    await this.proxied.end();
  }
}

/** The outcome of `promise`, or an error after `STEP_MS_MAX`: a step that hangs is a finding too. */
function limited(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end within ${STEP_MS_MAX / 1000} s`)), STEP_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Does a step for each path at once; a step that fails is a finding of its path. */
async function each(paths, step, act) {
  await Promise.all(
    paths.filter((path) => !path.broken).map(async (path) => {
      try {
        await limited(act(path), step);
      } catch (error) {
        process.stderr.write(`${path.name}: ${step}: ${error.message ?? error}\n`);
        path.broken = true;
        path.findings.push(`${step}: ${String(error.message ?? error).slice(0, 600)}`);
      }
    }),
  );
}

function table(paths) {
  const rows = paths.map(({ name, transport, first, findings }) => [
    name,
    transport ?? "none",
    first === undefined ? "-" : (first / 1000).toFixed(2),
    findings.length === 0 ? "all delivered, in order" : findings.join("; "),
  ]);
  return [
    "| Proxy | Carried by | First event, s | 1,000 events each way, silence, restart of the proxy |",
    "|---|---|---|---|",
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ].join("\n");
}

const wanted = values.rows?.split(",");
const rows = ROWS.filter(({ name }) => wanted === undefined || wanted.includes(name));
const folder = mkdtempSync(join(tmpdir(), "throughline-proxies-"));
const certificates = certificate(folder);
const realm = await Realm.start();
const browser = await launch("chromium", "light", { acceptInsecureCerts: true });
const paths = rows.map((row) => new Path(new Proxied(row, new URL(realm.url).host, certificates), realm, certificates));
try {
  // One after the other: the time to the first event is measured.
  for (const path of paths) {
    await each([path], "the proxy", () => path.proxied.start());
    await each([path], "the first event", () => path.open(browser));
  }
  await each(paths, "1,000 events each way", (path) => path.exchange());
  await moment(Number(values.silence) * 1000);
  await each(paths, "after silence", (path) => path.again("after silence"));
  await each(paths, "the transport", (path) => path.look());
  await each(paths, "a restart of the proxy", async (path) => {
    await path.proxied.restart();
    await path.again("after a restart");
  });
  await each(paths, "the end", (path) => path.finish());
} finally {
  await Promise.allSettled(paths.map((path) => limited(path.end(), `the end of ${path.name}`)));
  await browser.close();
  await realm.end();
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
