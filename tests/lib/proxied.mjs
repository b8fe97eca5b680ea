// Proxies with the configurations that `throughline proxy-config` prints, and with those that distributions ship.

import { chmodSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort, listening } from "./fronts.mjs";
import { Kerberos } from "./kerberos.mjs";
import { Program, binary, run } from "./processes.mjs";
import { ADDED, CONFIGS, INTERCEPT, NAME, USER } from "./proxy-configs.mjs";

/** What tests/requirements.txt asks for, as ./test installs it. */
export const PACKAGES = join(process.env.CARGO_TARGET_DIR ?? "target", "test-venv");

/** How each program is run with a configuration file. */
const COMMANDS = {
  nginx: (file, folder) => ["/usr/sbin/nginx", ["-p", folder, "-c", file, "-g", `daemon off; pid ${folder}/pid; error_log ${folder}/error.log;`]],
  haproxy: (file) => ["/usr/sbin/haproxy", ["-db", "-f", file]],
  apache: (file, folder) => ["/usr/sbin/apache2", ["-d", folder, "-f", file, "-DFOREGROUND"]],
  caddy: (file, folder) => {
    const env = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
    return ["/usr/bin/caddy", ["run", "--config", file, "--adapter", "caddyfile"], { env }];
  },
  lighttpd: (file) => ["/usr/sbin/lighttpd", ["-D", "-f", file]],
  varnish: (file, folder, port) => {
    const args = ["-j", "none", "-F", "-a", `127.0.0.1:${port}`, "-f", file, "-n", join(folder, "varnish"), "-s", "malloc,16m", "-p", "pipe_timeout=75"];
    return ["/usr/sbin/varnishd", args];
  },
  stunnel: (file) => ["/usr/bin/stunnel", [file]],
  squid: (file) => ["/usr/sbin/squid", ["-N", "-f", file]],
  envoy: (file) => {
    const quiet = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"];
    return [join(PACKAGES, "bin", "envoy"), ["-c", file, ...quiet]];
  },
  traefik: (file, folder, port) => {
    const quiet = ["--global.checknewversion=false", "--entrypoints.clients.transport.lifecycle.gracetimeout=1s"];
    const where = [`--entrypoints.clients.address=127.0.0.1:${port}`, `--providers.file.filename=${file}`];
    return [join(PACKAGES, "bin", "traefik"), [...where, ...quiet]];
  },
  tinyproxy: (file) => ["/usr/bin/tinyproxy", ["-d", "-c", file]],
  privoxy: (file) => ["/usr/sbin/privoxy", ["--no-daemon", file]],
  // One process for each part of the work: those that carry connections live on when the first of them ends.
  dante: (file, folder) => ["/usr/sbin/danted", ["-f", file, "-p", join(folder, "pid")], { group: true }],
  mitmproxy: (file, folder) => ["/usr/bin/mitmdump", ["--quiet", "--set", `confdir=${folder}`]],
  microsocks: (file, folder, port) => ["/usr/bin/microsocks", ["-i", "127.0.0.1", "-p", String(port)]],
};

/** Resolves when the realm answers at a proxy's address with a certificate that is good, as long as `program` runs. */
function healthy(url, ca, program) {
  const { get } = url.startsWith("https") ? https : http;
  return new Promise((resolve, reject) => {
    const attempt = () => {
      if (program.exit !== undefined) return reject(new Error(`${program.command} ended with ${program.exit}\n${program.stderr}`));
      const again = () => setTimeout(attempt, 20);
      const request = get(url, { ca: ca && readFileSync(ca), agent: false }, (answer) => {
        answer.resume();
        answer.once("end", answer.statusCode === 200 ? resolve : again);
      });
      request.once("error", again);
    };
    attempt();
  });
}

/** A proxy of a row of the table. */
export class Proxied {
  /** `row` of proxy-rows.mjs; `upstream` is the realm's host and port; `gate` is where it takes connections unasked. */
  constructor(row, upstream, certificate, gate) {
    Object.assign(this, { row, upstream, certificate, gate });
  }

  async start() {
    const { row, upstream, certificate } = this;
    if (row.forgets) return this.gate.forget(row.forgets);
    this.folder = mkdtempSync(join(tmpdir(), `throughline-${row.name.replace(/\W+/g, "-")}-`));
    // Proxies give up being root, and still have files here.
    chmodSync(this.folder, 0o755);
    mkdirSync(join(this.folder, "varnish"));
    this.port = await freePort();
    this.file = join(this.folder, "config.yaml");
    if (row.kerberos) {
      this.kerberos = new Kerberos(this.folder, USER, "HTTP/localhost");
      await this.kerberos.start();
    }
    const listen = `127.0.0.1:${this.port}`;
    if (row.config) {
      const files = row.program === "haproxy" ? ["--certificate", certificate.both] : ["--certificate", certificate.cert, "--key", certificate.key];
      const tls = row.tls ? files : [];
      const prefix = row.prefix ? ["--prefix", row.prefix] : [];
      const printed = await run(binary(), ["proxy-config", row.config, "--listen", listen, "--upstream", upstream, ...prefix, ...tls]);
      this.text = `${printed.lines.join("\n")}\n`.replace(row.without ?? "", "");
    } else {
      const { folder, port, kerberos } = this;
      this.text = CONFIGS[row.text]({ folder, port, upstream, kerberos, ...certificate });
    }
    writeFileSync(this.file, this.text + (row.added ?? "") + (ADDED[row.program]?.(this.folder) ?? ""));
    await this.up();
    // Some listen before they have read their routes and certificates. After a restart that is for the clients to bear.
    if (!row.forward && !this.gate) await healthy(`${this.url}/healthz`, certificate.root, this.running);
  }

  async up() {
    const [file, args, options] = COMMANDS[this.row.program](this.file, this.folder, this.port);
    if (this.gate === undefined) {
      this.running = new Program(file, args, options);
      await listening(this.port, this.running);
    } else {
      const [command, ...rest] = [...this.gate.at("gate"), file, ...args];
      this.running = new Program(command, rest, options);
      await this.gate.listening(INTERCEPT, this.running);
    }
  }

  async restart() {
    if (this.row.forgets) return this.gate.flush();
    await this.running.kill("SIGTERM");
    await this.up();
  }

  /** The realm as its clients write it. */
  get url() {
    if (this.row.inspects && this.row.program === "squid") return `https://${NAME}`;
    if (this.row.forward || this.gate) return `${this.row.secure ? "https" : "http"}://${this.upstream}`;
    return `${this.row.tls ? "https" : "http"}://127.0.0.1:${this.port}${this.row.prefix ?? ""}`;
  }

  /** The forward proxy, as browsers are told of it. */
  get proxy() {
    // A ticket is for a name.
    const host = this.row.kerberos ? "localhost" : "127.0.0.1";
    return this.row.forward ? `${this.row.scheme ?? "http"}://${host}:${this.port}` : undefined;
  }

  /** Who is let through. */
  get user() {
    const { domain } = this.row;
    const username = this.kerberos?.user ?? (domain ? `${domain}\\${USER.username}` : USER.username);
    return { username, password: USER.password };
  }

  /** The forward proxy with what it asks for, as the command line is told of it. */
  get asked() {
    if (!this.row.asks) return this.proxy ?? "none";
    const { username, password } = this.user;
    return this.proxy.replace("//", `//${encodeURIComponent(username)}:${encodeURIComponent(password)}@`);
  }

  async end() {
    await this.running?.kill("SIGTERM");
    await this.kerberos?.end();
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}
