// One row of tests/proxies.mjs: a browser and the command line that reach a realm through a proxy.

import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { trust } from "./authority.mjs";
import { chromium, launch } from "./browsers.mjs";
import { Gate, OUTSIDE } from "./gate.mjs";
import { Program, binary, negotiating, run } from "./processes.mjs";
import { Proxied } from "./proxied.mjs";
import { INTERCEPT } from "./proxy-configs.mjs";
import { Realm } from "./realm.mjs";

/** What certificates of a proxy that inspects TLS say about who made them. */
export const INSPECTOR = "Inspector of the tests";
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
  /** `scene`: realms, the browser, certificates and authorities that rows have in common. */
  constructor(row, scene) {
    Object.assign(this, { row, scene, name: row.name, findings: [] });
    const { issued, inspection } = scene;
    // Of those that inspect TLS the command line knows only the inspector's root: nothing passes that they leave alone.
    this.roots = row.inspects ? [inspection.root] : row.tls || row.secure || row.scheme === "https" ? [issued.root] : [];
    const channel = this.name.toLowerCase().replace(/\W+/g, "-").replace(/-$/, "");
    this.channels = { down: `${channel}/down`, up: `${channel}/up`, native: `${channel}/native` };
  }

  /** Starts the proxy, and what this row has for itself alone. */
  async start() {
    const { row, scene } = this;
    if (row.intercepts || row.forgets) {
      this.gate = new Gate();
      if (row.intercepts) this.gate.take(row.intercepts, INTERCEPT);
      const config = row.secure ? scene.tls : "";
      this.realm = await Realm.start({ config, listen: `${OUTSIDE}:${row.intercepts ?? 9000}`, within: this.gate.at("gate") });
    } else {
      this.realm = row.secure ? scene.realms.secure : scene.realms.open;
    }
    this.proxied = new Proxied(row, authorityOf(this.realm.url), { ...scene.issued, inspection: scene.inspection }, this.gate);
    await this.proxied.start();
    if (row.browser || row.kerberos || this.gate) this.own = await this.launch();
  }

  /** A browser of this row's own: inside a namespace, or with the proxy in its settings. */
  launch() {
    const { row, scene, proxied } = this;
    const { folder } = proxied;
    if (row.browser === "webkit") return launch("webkit");
    if (row.kerberos) {
      proxied.kerberos.signIn();
      const args = [`--proxy-server=${proxied.proxy}`, "--proxy-bypass-list=<-loopback>", "--auth-server-allowlist=localhost"];
      return launch("chromium", "light", { args, env: { ...scene.environment, ...proxied.kerberos.env } });
    }
    if (this.gate) {
      const inside = join(scene.folder, `chromium-${this.gate.inside}`);
      writeFileSync(inside, `#!/bin/sh\nexec ${this.gate.at("inside").join(" ")} ${chromium()} "$@"\n`);
      chmodSync(inside, 0o755);
      // Its debugging port would be inside as well.
      return launch("chromium", "light", { executablePath: inside, pipe: true, env: scene.environment });
    }
    const userDataDir = join(folder, "profile");
    trust(userDataDir, scene.authorities);
    const { hostname, port } = new URL(proxied.proxy ?? "http://none:1");
    const settings = {};
    for (const kind of ["http", "ssl"]) {
      settings[`network.proxy.${kind}`] = hostname;
      settings[`network.proxy.${kind}_port`] = Number(port);
    }
    const forward = { "network.proxy.type": 1, "network.proxy.allow_hijacking_localhost": true, ...settings };
    return launch("firefox", "light", { userDataDir, extraPrefsFirefox: proxied.proxy ? forward : {} });
  }

  /** Arguments that lead the command line through the proxy. */
  get way() {
    const { url, asked } = this.proxied;
    return ["--url", url, "--proxy", asked, ...this.roots.flatMap((root) => ["--ca", root])];
  }

  /** The program under test where this row's clients are, and how it is started. */
  command(args) {
    const { domain, kerberos } = this.row;
    const program = domain || kerberos ? negotiating() : binary();
    const [file, ...rest] = [...(this.gate?.at("inside") ?? []), program, ...args];
    return [file, rest];
  }

  /** Publishes past the proxy. */
  direct(text) {
    return this.realm.cli(["publish", this.channels.down, text, "--proxy", "none", "--ca", this.scene.issued.root]);
  }

  async open() {
    await this.direct("first");
    this.first = await this.connect();
    const args = ["subscribe", this.channels.up, "--from", "all", ...this.way];
    this.native = new Program(...this.command(args), { env: this.proxied.kerberos?.env });
  }

  /** Once more, alone and from nothing, where the first event was late: the machine may have had something else to do. */
  async openAgain() {
    if (this.first <= this.firstMax || this.own) return;
    await this.page.evaluate(() => session.close());
    await this.context.close();
    this.first = await this.connect();
  }

  /** Opens a page with a session; milliseconds from the session's start until the first event. */
  async connect() {
    const { proxy, url } = this.proxied;
    if (this.own === undefined) {
      const through = proxy ? { proxyServer: proxy, proxyBypassList: ["<-loopback>"] } : {};
      this.context = await this.scene.browser.createBrowserContext(through);
    }
    this.page = await (this.context ?? this.own).newPage();
    if (this.row.asks && !this.row.kerberos) await this.page.authenticate(this.proxied.user);
    const answer = await this.page.goto(`${url}/healthz`);
    // The driver of WebKit cannot tell.
    if (answer && !answer.ok()) throw new Error(`${url}/healthz is answered ${answer.status()}`);
    // The driver of Firefox cannot tell.
    const issuer = this.row.browser || !this.row.inspects ? INSPECTOR : answer.securityDetails()?.issuer();
    if (issuer !== INSPECTOR) this.findings.push(`TLS was not inspected: ${issuer}`);
    return this.page.evaluate(async (address, channels) => {
      const { Session } = await import(`${address}/throughline/v1/client.js`);
      globalThis.heard = [];
      globalThis.gaps = 0;
      const began = performance.now();
      globalThis.session = new Session(address);
      session.on("gap", () => (globalThis.gaps += 1));
      await new Promise((resolve) => {
        const take = (event) => {
          heard.push(event.data);
          globalThis.more?.();
          resolve();
        };
        session.subscribe(channels.down, take, { from: "all" });
      });
      return performance.now() - began;
    }, url, this.channels);
  }

  /** Nothing can pass: the command line says why. */
  async refused() {
    const { stderr } = await run(...this.command(["publish", this.channels.up, "text", ...this.way]), { status: 1 });
    this.refusal = this.row.refuses.exec(stderr)?.[0];
    if (this.refusal === undefined) this.findings.push(`the command line says: ${stderr}`);
  }

  /** What a browser's page was given, once it was given so many. */
  async heard(count) {
    return this.page.evaluate(async (wanted) => {
      while (heard.length < wanted) await new Promise((resolve) => (globalThis.more = resolve));
      return heard;
    }, count);
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
    const publisher = new Program(...this.command(["publish", this.channels.down, "--lines", ...this.way]), { input: true, env: this.proxied.kerberos?.env });
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
    await this.page.evaluate((channel, text) => session.publish(channel, text).then(() => undefined), this.channels.up, what);
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
  }

  /** How far the clients have come, for a step that failed. */
  async state() {
    const native = `command line: ${this.native?.lines.length} events, ${this.native?.stderr.slice(-600)}`;
    const told = this.page?.evaluate(() => ({ state: session.state, heard: heard.length, path: session.path }));
    const browser = await Promise.resolve(told).catch((error) => error.message);
    return `browser: ${JSON.stringify(browser)}; ${native}`;
  }

  get firstMax() {
    return this.row.upgrades ? FIRST_MS.upgrades : FIRST_MS.any;
  }

  /** `timed`: how long the first event took is judged as well. */
  async finish(timed) {
    if ((await this.page.evaluate(() => gaps)) > 0) this.findings.push("a gap was told");
    const limit = this.firstMax;
    if (timed && this.first > limit) this.findings.push(`the first event came after ${Math.round(this.first)} ms, not ${limit}`);
    if (this.row.upgrades && this.transport !== "websocket") this.findings.push(`${this.transport} carries it, not websocket`);
  }

  async end() {
    await this.native?.kill("SIGKILL");
    if (this.own) await this.own.close();
    else await this.context?.close();
    await this.proxied?.end();
    if (this.gate) await this.realm?.end();
    this.gate?.end();
  }
}
