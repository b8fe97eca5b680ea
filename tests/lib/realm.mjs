// A realm of its own for a test: free port, data in a directory that vanishes.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Program, binary, run } from "./processes.mjs";

export class Realm {
  /**
   * Starts a realm. `config` is the text of a configuration file; `data` a directory that the caller owns; `listen` an address
   * other than a free port; `within` a command that runs commands elsewhere, as in another network namespace.
   */
  static async start({ config = "", data, listen = "127.0.0.1:0", within = [] } = {}) {
    const realm = new Realm();
    realm.folder = mkdtempSync(join(tmpdir(), "throughline-"));
    process.on("exit", () => rmSync(realm.folder, { recursive: true, force: true }));
    realm.data = data ?? join(realm.folder, "data");
    realm.config = join(realm.folder, "throughline.toml");
    writeFileSync(realm.config, config);
    Object.assign(realm, { listen, within });
    await realm.up();
    return realm;
  }

  /** Starts the server, again on the same port when it ran before. */
  async up() {
    this.spawn();
    await this.ready();
  }

  /** Starts the server without waiting until it listens. */
  spawn() {
    const args = ["serve", "--listen", this.listen, "--data", this.data, "--config", this.config];
    this.server = new Program(...this.command(args));
  }

  /** Waits until the server listens. */
  async ready() {
    const url = await this.server.until((lines) => lines.map((line) => /^listening on (https?:\S+)$/.exec(line)?.[1]).find(Boolean));
    this.url = url.replace(/\/$/, "");
    this.listen = new URL(this.url).host;
  }

  /** Ends the server as a crash does. */
  async kill() {
    await this.server.kill("SIGKILL");
  }

  /** Asks the server to stop; it must drain and end with 0. */
  async stop() {
    const status = await this.server.kill("SIGTERM");
    if (status !== 0) throw new Error(`the server ended with ${status} after SIGTERM\n${this.server.stderr}`);
  }

  /** Ends everything and removes the data. */
  async end() {
    await this.server.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  address(path) {
    return `${this.url}/throughline/v1/${path}`;
  }

  get websocket() {
    return this.address("websocket").replace(/^http/, "ws");
  }

  /** The program under test with arguments, where this realm is. */
  command(args) {
    const [file, ...rest] = [...this.within, binary(), ...args];
    return [file, rest];
  }

  /** Runs the command line against this realm. */
  cli(args, options = {}) {
    return run(...this.command(["--url", this.url, ...args]), options);
  }

  /** Starts the command line against this realm. */
  start(args, options = {}) {
    return new Program(...this.command(["--url", this.url, ...args]), options);
  }

  /** An HTTP request that must be answered with the status wanted; gives the JSON, if there is any. */
  async http(method, path, { body, status = 200, headers } = {}) {
    const response = await fetch(this.address(path), { method, body, headers });
    const text = await response.text();
    if (response.status !== status) throw new Error(`${method} ${path}: ${response.status}, not ${status}: ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  createChannel(name, attributes) {
    return this.http("PUT", `channels/${name}`, { body: JSON.stringify(attributes), status: 201 });
  }

  /** Every event of a channel from an EID on, by the HTTP replay. */
  async replay(channel, from = "all") {
    const events = [];
    for (let next = from; ; ) {
      const page = await this.http("GET", `channels/${channel}/events?from=${next}&limit=1000`);
      if (page.gap) throw new Error(`replay of ${channel} reports a gap: ${JSON.stringify(page.gap)}`);
      events.push(...page.events);
      if (!page.more) return events;
      next = page.next;
    }
  }
}
