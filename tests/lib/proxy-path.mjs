// One row of tests/proxies.mjs: a browser and the command line that reach a realm through a proxy.

import { Program, binary, run } from "./processes.mjs";
import { Proxied } from "./proxied.mjs";
import { USER } from "./proxy-configs.mjs";

const EVENTS = 1_000;
/** Milliseconds until the first event, through a proxy that passes WebSocket on and through any. */
const FIRST_MS = { upgrades: 1_000, any: 3_000 };

const texts = (what, count = EVENTS) => Array.from({ length: count }, (_, at) => `${what} ${at}`);

/** Host and port, the port also where the scheme has a usual one. */
const authorityOf = (url) => {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
};

/** One row's clients. */
export class Path {
  constructor(row, realm, issued) {
    const proxied = new Proxied(row, authorityOf(realm.url), issued);
    Object.assign(this, { row, proxied, realm, name: row.name, findings: [], roots: row.tls || row.secure ? [issued.root] : [] });
    const channel = this.name.toLowerCase().replace(/\W+/g, "-").replace(/-$/, "");
    this.channels = { down: `${channel}/down`, up: `${channel}/up`, native: `${channel}/native` };
  }

  /** Arguments that lead the command line through the proxy. */
  get way() {
    const { url, asked } = this.proxied;
    return ["--url", url, "--proxy", asked, ...this.roots.flatMap((root) => ["--ca", root])];
  }

  /** Publishes past the proxy. */
  direct(text) {
    return this.realm.cli(["publish", this.channels.down, text, "--proxy", "none", ...this.roots.flatMap((root) => ["--ca", root])]);
  }

  async open(browser) {
    const { proxy, url } = this.proxied;
    await this.direct("first");
    this.context = await browser.createBrowserContext(proxy ? { proxyServer: proxy, proxyBypassList: ["<-loopback>"] } : {});
    this.page = await this.context.newPage();
    if (this.row.asks) await this.page.authenticate(USER);
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

  /** Nothing can pass: the command line says why. */
  async refused() {
    const { stderr } = await run(binary(), ["publish", this.channels.up, "text", ...this.way], { status: 1 });
    this.refusal = this.row.refuses.exec(stderr)?.[0];
    if (this.refusal === undefined) this.findings.push(`the command line says: ${stderr}`);
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
    await this.direct(what);
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

  /** How far the clients have come, for a step that failed. */
  async state() {
    const browser = await this.page.evaluate(() => ({ state: session.state, heard: heard.length, journal: session.path.links?.slice(-5) }));
    return `browser: ${JSON.stringify(browser)}; command line: ${this.native.lines.length} events, ${this.native.stderr.slice(-600)}`;
  }

  async finish() {
    if ((await this.page.evaluate(() => gaps)) > 0) this.findings.push("a gap was told");
    const limit = this.row.upgrades ? FIRST_MS.upgrades : FIRST_MS.any;
    if (this.first > limit) this.findings.push(`the first event came after ${Math.round(this.first)} ms, not ${limit}`);
    if (this.row.upgrades && this.transport !== "websocket") this.findings.push(`${this.transport} carries it, not websocket`);
  }

  async end() {
    await this.native?.kill("SIGKILL");
    await this.page?.close();
    await this.context?.close();
    await this.proxied.end();
  }
}
