// What the realm sees of clients behind each reverse proxy that proxy-config prints a configuration for: their address, scheme and
// host, and nothing of what they wrote about that themselves.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { certificate } from "./lib/fronts.mjs";
import { Proxied } from "./lib/proxied.mjs";
import { Raw } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

/** Where clients come from: another address than the proxies', of which alone the realm believes what they write. */
const CLIENT = "127.0.0.33";
const HOST = "live.example";
const TRUST = 'proxies.trusted = ["127.0.0.1"]\nproxies.proxy_protocol_from = ["127.0.0.9"]\n';
/** What a client writes that would like to be somebody else. */
const LIES = {
  "X-Forwarded-For": "192.0.2.66",
  "X-Forwarded-Proto": ["https", "http"],
  "X-Forwarded-Host": "evil.example",
  "X-Forwarded-Prefix": "/evil",
};

const plain = { tls: false };
const whole = { tls: true, prefix: "/live" };
/** Programs whose configuration has their name, and in which ways each is run. */
const WAYS = {
  nginx: [plain, whole],
  haproxy: [plain, whole],
  apache: [plain, whole],
  caddy: [plain, whole],
  lighttpd: [plain, whole],
  varnish: [plain, { ...whole, tls: false }],
  envoy: [plain, whole],
  traefik: [plain, whole],
};

let folder;
let tls;
let realm;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "throughline-forwarded-"));
  tls = certificate(folder);
  realm = await Realm.start({ config: TRUST });
});
after(async () => {
  await realm.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a proxy; gives what asks through it, each time on a new connection. */
async function through(row, use) {
  const proxied = new Proxied(row, realm.listen, { ...tls, root: tls.cert });
  try {
    await proxied.start();
    const reach = { from: CLIENT, ca: row.tls ? readFileSync(tls.cert) : undefined };
    await use(async (act) => {
      const raw = await Raw.connect(proxied.url, reach);
      try {
        return await act(raw, `${row.prefix ?? ""}/throughline/v1`);
      } finally {
        raw.end();
      }
    });
  } finally {
    await proxied.end();
  }
}

/** What the realm says of a request, and of a handshake. */
async function seen(ask) {
  const inspected = await ask((raw, base) => raw.request("GET", { Host: HOST, ...LIES }, `${base}/probe/inspect`));
  assert.equal(inspected.status, 200, inspected.body);
  const hello = await ask(async (raw, base) => {
    const answer = await raw.request("GET", raw.handshake({ Host: HOST, ...LIES }), `${base}/probe/websocket?hello=1`);
    assert.equal(answer.status, 101, answer.body);
    return (await raw.frame()).payload;
  });
  return [inspected.body, hello].map((text) => JSON.parse(text));
}

/** The values of a header. */
const values = ({ headers }, wanted) => headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);

for (const [program, ways] of Object.entries(WAYS)) {
  for (const way of ways) {
    const what = `${program}${way.tls ? ", TLS" : ""}${way.prefix ? ", prefix" : ""}`;
    test(`${what}: the realm sees the client, and not what it pretends`, { timeout: 120_000 }, () =>
      through({ name: what, program, config: program, ...way }, async (ask) => {
        for (const told of await seen(ask)) {
          assert.equal(told.address, CLIENT, told.type);
          assert.equal(told.secure, way.tls, told.type);
          assert.deepEqual(values(told, "x-forwarded-for"), [CLIENT], told.type);
          assert.deepEqual(values(told, "x-forwarded-host"), [HOST], told.type);
          assert.match(values(told, "x-forwarded-proto").join(), way.tls ? /^(https|wss)$/ : /^(http|ws)$/, told.type);
          assert.deepEqual(values(told, "x-forwarded-prefix"), way.prefix ? [way.prefix] : [], told.type);
        }
        for (const [host, status] of [[HOST, 201], ["evil.example", 403]]) {
          const page = { Host: HOST, Origin: `http${way.tls ? "s" : ""}://${host}`, "Content-Length": "0", ...LIES };
          const answer = await ask((raw, base) => raw.request("POST", page, `${base}/channels/own/events`));
          assert.equal(answer.status, status, `a page of ${host}: ${answer.body}`);
        }
      }),
    );
  }
}

for (const secure of [false, true]) {
  test(`haproxy-tcp-proxy${secure ? ", TLS" : ""}: the realm is told the client by a PROXY header`, () => {
    const row = { name: "haproxy-tcp-proxy", program: "haproxy", config: "haproxy-tcp-proxy", tls: secure, added: "    source 127.0.0.9\n" };
    return through(row, async (ask) => {
      for (const told of await seen(ask)) {
        assert.equal(told.address, CLIENT, told.type);
        assert.equal(told.secure, secure, told.type);
      }
    });
  });
}
