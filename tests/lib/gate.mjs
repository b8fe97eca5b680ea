// A network of its own with one way out: clients inside, a gate that takes their connections, and a realm behind it.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { NAME } from "./proxy-configs.mjs";

const NET = "10.213";
/** Where the realm is, seen from inside. */
export const OUTSIDE = `${NET}.2.1`;

/** Where ip(8) looks for files of a namespace. */
const SETTINGS = "/etc/netns";

let gates = 0;
const standing = new Set();
process.on("exit", () => standing.forEach((gate) => gate.end()));

const ip = (...args) => execFileSync("ip", args, { stdio: "pipe" });

/** Two network namespaces with a link between them: `inside` for clients, `gate` for what is on their way and for the realm. */
export class Gate {
  constructor() {
    if (process.getuid() !== 0) throw new Error("what takes or drops connections unasked needs a network namespace, which only root can make: run this as root");
    gates += 1;
    const name = `throughline-${process.pid}-${gates}`;
    Object.assign(this, { inside: `${name}-inside`, gate: `${name}-gate` });
    standing.add(this);
    for (const space of [this.inside, this.gate]) {
      // Commands in the namespace find this in place of /etc/hosts.
      mkdirSync(join(SETTINGS, space), { recursive: true });
      writeFileSync(join(SETTINGS, space, "hosts"), `127.0.0.1 localhost\n${OUTSIDE} ${NAME}\n`);
      ip("netns", "add", space);
      ip("-n", space, "link", "set", "lo", "up");
    }
    ip("link", "add", "out", "netns", this.inside, "type", "veth", "peer", "name", "in", "netns", this.gate);
    ip("-n", this.inside, "addr", "add", `${NET}.1.2/24`, "dev", "out");
    ip("-n", this.gate, "addr", "add", `${NET}.1.1/24`, "dev", "in");
    ip("-n", this.gate, "addr", "add", `${OUTSIDE}/32`, "dev", "lo");
    ip("-n", this.inside, "link", "set", "out", "up");
    ip("-n", this.gate, "link", "set", "in", "up");
    ip("-n", this.inside, "route", "add", "default", "via", `${NET}.1.1`);
  }

  /** `port` is taken from clients and led to `intercept`, whoever they meant to reach. */
  take(port, intercept) {
    this.rules({ taken: ["type nat hook prerouting priority dstnat", `iifname "in" tcp dport ${port} redirect to :${intercept}`] });
  }

  /** Flows that were silent for so many seconds are forgotten: what comes on them then is dropped without a word. */
  forget(seconds) {
    const drop = "ct state invalid drop";
    this.rules({ up: ["type filter hook input priority 0", drop], down: ["type filter hook output priority 0", drop] });
    const settings = [`timeout_established=${seconds}`, "loose=0"].map((setting) => `net.netfilter.nf_conntrack_tcp_${setting}`);
    this.run("sysctl", ["-qw", ...settings]);
  }

  /** Forgets all flows. */
  flush() {
    this.run("conntrack", ["-F"]);
  }

  run(command, args, options) {
    const [file, ...rest] = [...this.at("gate"), command, ...args];
    execFileSync(file, rest, { stdio: "pipe", ...options });
  }

  rules(chains) {
    const lines = Object.entries(chains).map(([name, chain]) => ` chain ${name} {\n${chain.join("\n")}\n}\n`);
    this.run("nft", ["-f", "-"], { input: `table ip throughline {\n${lines.join("")}}\n` });
  }

  /** What to put before a command that is to run `inside` or at the `gate`. */
  at(where) {
    return ["ip", "netns", "exec", this[where]];
  }

  /** Resolves when something listens at the gate on a port, as long as `program` runs. */
  listening(port, program) {
    const [command, ...args] = [...this.at("gate"), "ss", "-Hltn", `sport = :${port}`];
    return new Promise((resolve, reject) => {
      const look = () => {
        if (program.exit !== undefined) reject(new Error(`${program.command} ended with ${program.exit}\n${program.stderr}`));
        else if (execFileSync(command, args, { encoding: "utf8" }).trim() !== "") resolve();
        else setTimeout(look, 50);
      };
      look();
    });
  }

  end() {
    if (!standing.delete(this)) return;
    for (const space of [this.inside, this.gate]) {
      rmSync(join(SETTINGS, space), { recursive: true, force: true });
      try {
        ip("netns", "delete", space);
      } catch {
        // It was never made.
      }
    }
  }
}
