// Every configuration that `throughline proxy-config` prints, as its own program judges it: with and without a path prefix and TLS,
// as far as that means something to it.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { certificate } from "./lib/fronts.mjs";
import { binary, run } from "./lib/processes.mjs";
import { PACKAGES } from "./lib/proxied.mjs";

const nginx = (file, folder) => ["/usr/sbin/nginx", ["-t", "-q", "-p", folder, "-c", file, "-g", `pid ${folder}/pid; error_log ${folder}/error.log;`]];
const haproxy = (file) => ["/usr/sbin/haproxy", ["-c", "-q", "-f", file]];
const apache = (file, folder) => ["/usr/sbin/apache2", ["-t", "-d", folder, "-f", file]];

/** How each program checks a file. Traefik and stunnel cannot but run; tests/proxies.mjs runs them. */
const CHECKS = {
  nginx,
  "nginx-stream": nginx,
  haproxy,
  "haproxy-tcp": haproxy,
  "haproxy-tcp-proxy": haproxy,
  apache,
  "apache-forward": apache,
  caddy: (file, folder) => ["/usr/bin/caddy", ["validate", "--config", file, "--adapter", "caddyfile"], { HOME: folder, XDG_DATA_HOME: folder }],
  lighttpd: (file) => ["/usr/sbin/lighttpd", ["-tt", "-f", file]],
  varnish: (file, folder) => ["/usr/sbin/varnishd", ["-j", "none", "-C", "-f", file, "-n", join(folder, "varnish")]],
  envoy: (file) => [join(PACKAGES, "bin", "envoy"), ["--mode", "validate", "-c", file, "--log-level", "warning"]],
  squid: (file) => ["/usr/sbin/squid", ["-k", "parse", "-f", file]],
};
const UNCHECKED = ["traefik", "stunnel"];

let folder;
let tls;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "throughline-proxy-config-"));
  tls = certificate(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const print = (...args) => run(binary(), ["proxy-config", ...args], { status: null });

test("every configuration has a program that checks it, or runs", async () => {
  const { lines } = await print();
  const names = lines.map((line) => line.split(" ")[0]);
  assert.deepEqual(names.sort(), [...Object.keys(CHECKS), ...UNCHECKED].sort());
});

for (const [name, check] of Object.entries(CHECKS)) {
  test(`${name} is content with what is printed for it`, async () => {
    let checked = 0;
    for (const prefix of [[], ["--prefix", "/live"]]) {
      const key = name.startsWith("haproxy") ? [] : ["--key", tls.key];
      for (const secure of [[], ["--certificate", tls.both, ...key]]) {
        const { lines, stderr } = await print(name, "--listen", "127.0.0.1:8443", "--upstream", "127.0.0.1:9000", ...prefix, ...secure);
        // Refused with a word: it sees no paths, or speaks no TLS.
        if (/means nothing to it|speaks no TLS/.test(stderr)) continue;
        const file = join(folder, "config.yaml");
        writeFileSync(file, `${lines.join("\n")}\n`);
        const [command, args, env] = check(file, folder);
        await run(command, args, { env }).catch((error) => assert.fail(`${lines.join("\n")}\n${error.message}`));
        checked += 1;
      }
    }
    assert.ok(checked > 0, "nothing was printed");
  });
}
