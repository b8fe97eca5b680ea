// WebKitGTK's small browser under a screen of its own, driven by WebDriver over HTTP.

import { existsSync } from "node:fs";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Program } from "./processes.mjs";

const SCRIPT_MS_MAX = 300_000;
const BROWSERS = ["/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser", "/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser"];

function program(paths, packageName) {
  const found = paths.filter(Boolean).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`missing: ${paths.filter(Boolean).join(" or ")} (Debian package ${packageName})`);
  return found;
}

/** A port that was free a moment ago: the driver takes no 0. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** A screen; gives its name once it is there. */
async function screen() {
  const server = new Program("Xvfb", ["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]);
  const number = await server.until((lines) => lines.find((line) => /^\d+$/.test(line)));
  return { server, display: `:${number}` };
}

/** Asks until the driver listens. */
async function listening(driver, url) {
  while (driver.exit === undefined) {
    const answer = await fetch(`${url}/status`).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`the driver ended with ${driver.exit}\n${driver.stderr}`);
}

export class WebKit {
  static async launch() {
    const browser = new WebKit();
    const { server, display } = await screen();
    browser.screen = server;
    browser.home = mkdtempSync(join(tmpdir(), "throughline-webkit-"));
    const env = {
      DISPLAY: display,
      HOME: browser.home,
      XDG_RUNTIME_DIR: browser.home,
      LIBGL_ALWAYS_SOFTWARE: "1",
      WEBKIT_DISABLE_COMPOSITING_MODE: "1",
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
      NO_AT_BRIDGE: "1",
    };
    const port = await freePort();
    browser.driver = new Program(program([process.env.WEBKIT_DRIVER, "/usr/bin/WebKitWebDriver"], "webkit2gtk-driver"), [`--port=${port}`], { env });
    browser.url = `http://127.0.0.1:${port}`;
    await listening(browser.driver, browser.url);
    const options = { binary: program([process.env.MINI_BROWSER, ...BROWSERS], "webkit2gtk-driver"), args: ["--automation"] };
    const { sessionId } = await browser.command("POST", "/session", {
      capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options, timeouts: { script: SCRIPT_MS_MAX } } },
    });
    browser.session = `/session/${sessionId}`;
    return browser;
  }

  async command(method, path, body) {
    const answer = await fetch(this.url + path, { method, body: body && JSON.stringify(body) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  }

  /** A page is the browser's one window. */
  async newPage() {
    return new WebKitPage(this);
  }

  async close() {
    await this.command("DELETE", this.session).catch(() => {});
    await this.driver.kill("SIGTERM");
    await this.screen.kill("SIGTERM");
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** What of a page the tests need, named as puppeteer names it. */
class WebKitPage {
  constructor(browser) {
    this.browser = browser;
  }

  goto(url) {
    return this.browser.command("POST", `${this.browser.session}/url`, { url });
  }

  /** Calls a function within the page; its result, or the promise it returns, comes back as JSON. */
  async evaluate(call, ...args) {
    const script = `
      const done = arguments[arguments.length - 1];
      const args = Array.prototype.slice.call(arguments, 0, -1);
      Promise.resolve().then(() => (${call})(...args)).then(
        (value) => done({ value: value === undefined ? null : value }),
        (error) => done({ error: String(error && error.stack || error) }),
      );`;
    const { value, error } = await this.browser.command("POST", `${this.browser.session}/execute/async`, { script, args });
    if (error !== undefined) throw new Error(error);
    return value;
  }

  async close() {
    await this.goto("about:blank");
  }
}
