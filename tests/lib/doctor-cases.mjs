// Paths for the doctor, each broken in its own way: how each is made, and how the command line is told of it.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createTcp } from "node:net";

import { newFault } from "./faults.mjs";
import { freePort } from "./fronts.mjs";
import { Middlebox } from "./middlebox.mjs";
import { Proxied } from "./proxied.mjs";
import { NAME } from "./proxy-configs.mjs";
import { ROWS } from "./proxy-rows.mjs";

/** Seconds of silence that are tried where silence is the matter; elsewhere none. */
const SILENCE = ["--idle", "4"];
const SHORT_SILENCE = ["--idle", "1"];

const hostOf = (url) => new URL(url).host;

/** Behind a middlebox with a fault of faults.mjs. */
const boxed = (fault, parameters, args = []) => ({
  name: fault,
  async make({ realms }) {
    const box = await Middlebox.start(realms.open.url);
    box.apply(newFault(fault, parameters));
    return { args: [box.url, "--proxy", "none", ...args], end: () => box.close() };
  },
});

/** Through a proxy of proxy-rows.mjs. `told`: what the command line is told of it beside its address; `status`: how it ends. */
const proxied = (name, { told = ({ asked }) => ["--proxy", asked], ...rest } = {}) => ({
  name: name.replace(/\W+/g, "-").toLowerCase(),
  ...rest,
  async make({ realms, issued, inspection, secureAuthority }) {
    const row = ROWS.find((one) => one.name === name);
    if (row === undefined) throw new Error(`proxy-rows.mjs has no row ${name}`);
    const upstream = row.secure ? secureAuthority : hostOf(realms.open.url);
    const front = new Proxied(row, upstream, { ...issued, inspection });
    await front.start();
    const roots = row.inspects ? [inspection.root] : row.secure ? [issued.root] : [];
    return { args: [front.url, ...told(front), ...roots.flatMap((root) => ["--ca", root])], end: () => front.end() };
  },
});

/** Behind a proxy in front of the realm that is set up wrongly. `path`: what the command line puts behind its address. */
const misled = (name, row, { path = "", args = [], ...rest } = {}) => ({
  name,
  ...rest,
  async make({ realms }) {
    const front = new Proxied({ name, ...row }, hostOf(realms.open.url), {});
    await front.start();
    return { args: [`${front.url}${path}`, "--proxy", "none", ...args], end: () => front.end() };
  },
});

/** Straight to an address of the scene. */
const straight = (name, args, rest = {}) => ({
  name,
  ...rest,
  async make(scene) {
    return { args: [...args(scene), "--proxy", "none"], end() {} };
  },
});

/** A server that is no realm; `issued` has its certificate, where it wants one. */
const foreign = (name, make, secure = false) => ({
  name,
  status: 1,
  async make({ issued }) {
    const sockets = new Set();
    const server = make(issued);
    server.on("connection", (socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const end = () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    };
    const roots = secure ? ["--ca", issued.root] : [];
    return { args: [`${secure ? "https" : "http"}://127.0.0.1:${server.address().port}`, "--proxy", "none", ...roots], end };
  },
});

/** A front that offers HTTP/2 and nothing else, and answers as the realm behind it does. */
const http2Alone = ({ key, cert }) =>
  createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => response.writeHead(200, { throughline: "1" }).end("{}"));

export const CASES = [
  straight("healthy", ({ realms }) => [realms.open.url, ...SILENCE]),
  straight("healthy-tls", ({ realms, issued }) => [realms.secure.url, "--ca", issued.root]),
  boxed("refuse", {}, SHORT_SILENCE),
  boxed("reset"),
  boxed("black-hole"),
  boxed("cut"),
  boxed("swallow", {}, SHORT_SILENCE),
  { ...boxed("deaf"), status: 1 },
  boxed("frames-then-cut", { frames: 2 }),
  boxed("buffer-end"),
  boxed("buffer-16k"),
  boxed("stream-cut", { cutMs: 2_000 }),
  boxed("idle-drop", { idleMs: 2_000 }, SILENCE),
  boxed("http10"),
  boxed("strip", {}, SHORT_SILENCE),
  boxed("small-only"),
  { ...boxed("down"), status: 1 },
  proxied("nginx as shipped"),
  proxied("Apache without upgrade"),
  proxied("Apache, HTTP/1.0"),
  proxied("lighttpd without upgrade"),
  proxied("Envoy without upgrade"),
  proxied("Varnish as shipped"),
  proxied("HAProxy"),
  proxied("Squid as shipped, realm on another port"),
  proxied("Squid without tunnels"),
  proxied("Squid without tunnels, realm with TLS on 443", { status: 1 }),
  proxied("Squid inspecting TLS"),
  proxied("Squid, Basic authentication", { told: ({ proxy }) => ["--proxy", proxy], status: 1 }),
  { ...proxied("Squid, Digest authentication", { told: ({ proxy }) => ["--proxy", proxy.replace("//", "//nobody:wrong@")], status: 1 }) },
  proxied("tinyproxy, realm on another port"),
  {
    name: "nothing-listens",
    status: 1,
    async make() {
      return { args: [`http://127.0.0.1:${await freePort()}`, "--proxy", "none"], end() {} };
    },
  },
  {
    name: "no-proxy-there",
    status: 1,
    async make({ realms }) {
      return { args: [realms.open.url, "--proxy", `http://127.0.0.1:${await freePort()}`], end() {} };
    },
  },
  straight("wrong-name", ({ realms, issued }) => [realms.misnamed.url, "--ca", issued.root], { status: 1 }),
  straight("expired", ({ realms, issued }) => [realms.expired.url, "--ca", issued.root], { status: 1 }),
  straight("self-signed", ({ realms }) => [realms.selfSigned.url, ...SHORT_SILENCE], { status: 1 }),
  straight("authority", ({ realms }) => [realms.authority.url], { status: 1 }),
  straight("authority-that-is-named", ({ realms, authority }) => [realms.authority.url, "--ca", authority]),
  straight("unknown-issuer", ({ realms }) => [realms.secure.url], { status: 1 }),
  straight("no-tls", ({ realms }) => [realms.open.url.replace("http:", "https:")], { status: 1 }),
  straight("wrong-prefix", ({ realms }) => [`${realms.open.url}/live`], { status: 1 }),
  misled("prefix-kept", { program: "nginx", text: "nginx-prefix-kept" }, { path: "/live", status: 1 }),
  misled("haproxy-delays", { program: "haproxy", config: "haproxy", without: /option http-no-delay.*/ }),
  misled("haproxy-drops-idle-websockets", { program: "haproxy", config: "haproxy", added: "    timeout tunnel 2s\n" }, { args: SILENCE }),
  straight("origin-refused", ({ realms }) => [realms.open.url, "--origin", "https://page.test"], { status: 1 }),
  straight("probes-off", ({ realms }) => [realms.mute.url]),
  foreign("not-a-realm", () => createServer((request, response) => response.writeHead(404, { Server: "shop" }).end("no such thing"))),
  foreign("not-http", () => createTcp((socket) => socket.once("data", () => socket.end("SSH-2.0-OpenSSH_9.2\r\n")))),
  foreign("mute", () => createTcp(() => {})),
  foreign("http2-only", http2Alone, true),
];

/** A text without what is another one at every run: ports, times, versions of proxies, names of machines. */
export function settled(text) {
  return text
    ?.replaceAll(/\b127\.\d+\.\d+\.\d+(:\d+)?/g, "ADDRESS")
    .replaceAll(NAME, "NAME")
    .replaceAll(/\bport (?!443\b)\d+/g, "port PORT")
    .replaceAll(/(ConnectPort|SSL_ports port|AllowCONNECT 443) \d+/g, "$1 PORT")
    .replaceAll(/\b\d+ ms/g, "N ms")
    .replaceAll(/valid from .*? to .*?(?=\))/g, "valid from THEN to THEN")
    .replaceAll(/Via: ([\d.]+) \S+ \((squid|tinyproxy|Varnish)[^)]*\)/g, "Via: $1 MACHINE ($2)")
    .replaceAll(/(nginx|squid|tinyproxy|lighttpd|Apache|Varnish)\/[\d.]+/g, "$1/VERSION")
    .replaceAll(/ \((Debian|Unix)\)/g, "")
    // The realm tells the letter case of names only as far as it knows it.
    .replaceAll(/(?<=headers of requests: ).*/g, (changes) => changes.toLowerCase())
    .replaceAll(/blocks of about \d+ bytes/g, "blocks of about N bytes");
}
