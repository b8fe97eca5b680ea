// Proxies with the configurations that `throughline proxy-config` prints, and with those that distributions ship.

import { chmodSync, mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { APACHE_MODULES, freePort, listening } from "./fronts.mjs";
import { Program, binary, run } from "./processes.mjs";

const http = (folder) =>
  ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");

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
  tinyproxy: (file) => ["/usr/bin/tinyproxy", ["-d", "-c", file]],
};

/** What tests need and an operator does not: names of files that no other instance has. */
const ADDED = {
  squid: (folder) => `pid_filename none\ncache_log ${folder}/cache.log\naccess_log none\ncoredump_dir ${folder}\n`,
};

const modules = (...names) => names.map((name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so`).join("\n");

/** Configurations of distributions, or the least that a manual shows. */
const DEFAULTS = {
  nginx: ({ folder, port, upstream }) =>
    `events {}\nhttp { ${http(folder)} gzip on; server { listen 127.0.0.1:${port}; location / { proxy_pass http://${upstream}; } } }\n`,
  apache: ({ port, upstream }) =>
    `${modules("mpm_event", "authz_core", "proxy", "proxy_http")}\nServerName localhost\nPidFile pid\nErrorLog error.log
Listen 127.0.0.1:${port}\nProxyPass / http://${upstream}/\n`,
  lighttpd: ({ folder, port, upstream }) => {
    const [host, to] = upstream.split(":");
    return `server.document-root = "${folder}"\nserver.bind = "127.0.0.1"\nserver.port = ${port}\nserver.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "${host}", "port" => ${to})))\n`;
  },
  varnish: ({ upstream }) => {
    const [host, port] = upstream.split(":");
    return `vcl 4.1;\nbackend realm { .host = "${host}"; .port = "${port}"; }\n`;
  },
  // As Debian's file has it: tunnels to 443 only.
  squid: ({ port }) =>
    `http_port 127.0.0.1:${port}\nacl SSL_ports port 443\nacl Safe_ports port 80 443 1025-65535\nhttp_access deny !Safe_ports
http_access deny CONNECT !SSL_ports\nhttp_access allow localhost\nhttp_access deny all\nshutdown_lifetime 1 second\n`,
  tinyproxy: ({ port }) => `Port ${port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nConnectPort 443\nConnectPort 563\n`,
};

/** A proxy of a row of the table. */
export class Proxied {
  /** `row`: name, program, and either `config` (arguments of proxy-config) or nothing for the distribution's defaults. */
  constructor(row, upstream, certificate) {
    Object.assign(this, { row, upstream, certificate });
  }

  async start() {
    const { row, upstream, certificate } = this;
    this.folder = mkdtempSync(join(tmpdir(), `throughline-${row.name.replace(/\W+/g, "-")}-`));
    // Proxies give up being root, and still have files here.
    chmodSync(this.folder, 0o755);
    mkdirSync(join(this.folder, "varnish"));
    this.port = await freePort();
    this.file = join(this.folder, "config");
    const listen = `127.0.0.1:${this.port}`;
    if (row.config) {
      const tls = row.tls ? ["--certificate", row.program === "haproxy" ? certificate.both : certificate.cert, "--key", certificate.key] : [];
      const prefix = row.prefix ? ["--prefix", row.prefix] : [];
      const printed = await run(binary(), ["proxy-config", row.config, "--listen", listen, "--upstream", upstream, ...prefix, ...tls]);
      this.text = `${printed.lines.join("\n")}\n`;
    } else {
      this.text = DEFAULTS[row.program]({ folder: this.folder, port: this.port, upstream });
    }
    writeFileSync(this.file, this.text + (ADDED[row.program]?.(this.folder) ?? ""));
    await this.up();
  }

  async up() {
    this.running = new Program(...COMMANDS[this.row.program](this.file, this.folder, this.port));
    await listening(this.port, this.running);
  }

  async restart() {
    await this.running.kill("SIGTERM");
    await this.up();
  }

  /** The realm as its clients write it. */
  get url() {
    if (this.row.forward) return `http://${this.upstream}`;
    return `${this.row.tls ? "https" : "http"}://127.0.0.1:${this.port}${this.row.prefix ?? ""}`;
  }

  /** The forward proxy, as clients are told of it. */
  get proxy() {
    return this.row.forward ? `http://127.0.0.1:${this.port}` : undefined;
  }

  async end() {
    await this.running?.kill("SIGTERM");
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Every configuration that is run. `upgrades`: WebSocket passes. */
export const ROWS = [
  { name: "nginx", program: "nginx", config: "nginx", upgrades: true },
  { name: "nginx, TLS, prefix", program: "nginx", config: "nginx", tls: true, prefix: "/live", upgrades: true },
  { name: "nginx, TCP", program: "nginx", config: "nginx-stream", upgrades: true },
  { name: "HAProxy", program: "haproxy", config: "haproxy", upgrades: true },
  { name: "HAProxy, TLS, prefix", program: "haproxy", config: "haproxy", tls: true, prefix: "/live", upgrades: true },
  { name: "HAProxy, TCP", program: "haproxy", config: "haproxy-tcp", upgrades: true },
  { name: "Apache", program: "apache", config: "apache", upgrades: true },
  { name: "Apache, prefix", program: "apache", config: "apache", prefix: "/live", upgrades: true },
  { name: "Caddy", program: "caddy", config: "caddy", upgrades: true },
  { name: "lighttpd", program: "lighttpd", config: "lighttpd", upgrades: true },
  { name: "lighttpd, prefix", program: "lighttpd", config: "lighttpd", prefix: "/live", upgrades: true },
  { name: "Varnish", program: "varnish", config: "varnish", upgrades: true },
  { name: "stunnel, TLS", program: "stunnel", config: "stunnel", tls: true, upgrades: true },
  { name: "nginx as shipped", program: "nginx" },
  { name: "Apache without upgrade", program: "apache" },
  { name: "lighttpd without upgrade", program: "lighttpd" },
  { name: "Varnish as shipped", program: "varnish" },
  { name: "Squid", program: "squid", config: "squid", forward: true, upgrades: true },
  { name: "Squid as shipped (tunnels to 443 only)", program: "squid", forward: true },
  { name: "Apache, forward", program: "apache", config: "apache-forward", forward: true, upgrades: true },
  { name: "tinyproxy (tunnels to 443 only)", program: "tinyproxy", forward: true },
];
