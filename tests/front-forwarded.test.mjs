// What proxies say with a request: from whom it is believed, what comes of it, and by which names the realm is found.

import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { after, before, test } from "node:test";

import { Raw, frame } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

const TRUST = 'proxies.trusted = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]\n';
/** A client of hixie-76 with the key of the draft's own example. */
const KEYS = { Upgrade: "WebSocket", Connection: "Upgrade", "Sec-WebSocket-Key1": "18x 6]8vM;54 *(5:  {   U1]8  z [  8", "Sec-WebSocket-Key2": "1_ tx7X d  <  nw  334J702) 7]o}` 0" };

let trusting;
let standard;
let strict;
let named;
before(async () => {
  [trusting, standard, strict, named] = await Promise.all(
    [
      TRUST,
      `${TRUST}proxies.headers = "forwarded"\n`,
      "",
      `public_url = "https://live.example/a"\n${TRUST}origins.hosts = ["realm.example"]\n`,
    ].map((config) => Realm.start({ config })),
  );
});
after(() => Promise.all([trusting, standard, strict, named].map((realm) => realm.end())));

/** What a client of hixie-76 is told of the address it connected to. */
async function location(realm, headers) {
  const raw = await Raw.connect(realm.websocket);
  const answer = await raw.request("GET", { Host: raw.url.host, ...KEYS, ...headers });
  raw.end();
  assert.equal(answer.status, 101, answer.body);
  return answer.headers.get("sec-websocket-location");
}

/** The name of the network that a session is told it is in. */
async function network(realm, headers = {}) {
  const raw = await Raw.connect(realm.websocket);
  await raw.upgrade({ "Sec-WebSocket-Protocol": "throughline.v1", ...headers });
  raw.write(frame(1, '{"type":"connect","versions":[1]}'));
  const { payload } = await raw.frame();
  raw.end();
  return JSON.parse(payload).network;
}

async function ask(realm, method, path, headers) {
  const raw = await Raw.connect(realm.url);
  const answer = await raw.request(method, { Host: raw.url.host, Connection: "close", ...headers }, path);
  raw.end();
  return answer;
}

const count = async (realm, name) => Number(new RegExp(`^throughline_${name}_total (\\d+)$`, "m").exec(await (await fetch(`${realm.url}/metrics`)).text())[1]);
const logged = (realm, pattern) => realm.server.until(() => (pattern.test(realm.server.stderr) ? true : undefined));
const PATH = "/throughline/v1/websocket";

test("a trusted proxy tells scheme, host and prefix, and is believed", async () => {
  const x = { "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "live.example", "X-Forwarded-Prefix": "/live/" };
  assert.equal(await location(trusting, x), `wss://live.example/live${PATH}`);
  assert.equal(await location(trusting, { ...x, "X-Forwarded-For": "9.9.9.9, 192.0.2.7, 10.0.0.2", "X-Forwarded-Host": "evil.example, live.example, b.example" }), `wss://live.example/live${PATH}`);
  assert.equal(await location(standard, { Forwarded: 'for="[2001:db8::7]:4711";proto=https;host="live.example:8443", for=10.0.0.2' }), `wss://live.example:8443${PATH}`);
  assert.equal(await location(trusting, {}), `ws://${new URL(trusting.url).host}${PATH}`);
});

test("the client's address is the rightmost that is not trusted", async () => {
  const direct = await network(trusting);
  const one = await network(trusting, { "X-Forwarded-For": "192.0.2.7" });
  assert.notEqual(one, direct);
  for (const chain of ["192.0.2.7:4711", "203.0.113.1, 192.0.2.99", "rubbish, 192.0.2.1, 10.0.0.2,fd00::1", "::ffff:192.0.2.7"]) {
    assert.equal(await network(trusting, { "X-Forwarded-For": chain }), one, chain);
  }
  assert.equal(await network(standard, { Forwarded: 'for="192.0.2.7:_x", for=10.0.0.2' }), one);
  for (const chain of ["unknown", "_hidden"]) assert.equal(await network(trusting, { "X-Forwarded-For": chain }), direct, chain);
  assert.notEqual(await network(trusting, { "X-Forwarded-For": "2001:db8::7" }), one);
});

test("a page's own origin is known behind a proxy that rewrites Host", async () => {
  const page = { Origin: "https://live.example", "Content-Length": "0" };
  const path = "/throughline/v1/channels/own/events";
  const told = { "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "live.example" };
  assert.equal((await ask(trusting, "POST", path, { ...page, ...told })).status, 201);
  assert.equal((await ask(standard, "POST", path, { ...page, Forwarded: "for=192.0.2.7;host=live.example" })).status, 201);
  assert.equal((await ask(named, "POST", path, page)).status, 201, "by public_url");
  assert.equal((await ask(strict, "POST", path, { ...page, ...told })).status, 403);
  assert.equal((await ask(standard, "POST", path, { ...page, ...told })).status, 403, "the other kind of headers");
});

test("from anybody else these headers mean nothing and are counted", async () => {
  const before = await count(strict, "forwarded_ignored");
  const direct = await network(strict);
  assert.equal(await network(strict, { "X-Forwarded-For": "192.0.2.7" }), direct);
  assert.equal(await location(strict, { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example" }), `ws://${new URL(strict.url).host}${PATH}`);
  assert.equal((await ask(strict, "GET", "/healthz", { Forwarded: 'for="' })).status, 200);
  assert.equal(await count(strict, "forwarded_ignored"), before + 3);
  assert.equal(await count(strict, "forwarded_refused"), 0);
});

test("what a trusted proxy writes and nobody can read is refused, and the log says so", async () => {
  const cases = [
    [trusting, { "X-Forwarded-For": "192.0.2.7, rubbish" }],
    [trusting, { "X-Forwarded-Proto": "gopher" }],
    [trusting, { "X-Forwarded-Host": "a b" }],
    [trusting, { "X-Forwarded-Prefix": "//evil.example" }],
    [trusting, { "X-Forwarded-For": Array(40).fill("10.0.0.1").join(",") }],
    [standard, { Forwarded: 'for=", for=192.0.2.7' }],
    [standard, { Forwarded: "for=192.0.2.7;for=192.0.2.8" }],
    [standard, { Forwarded: "192.0.2.7" }],
  ];
  for (const [realm, headers] of cases) {
    const refused = await count(realm, "forwarded_refused");
    const answer = await ask(realm, "GET", "/healthz", headers);
    assert.equal(answer.status, 400, JSON.stringify(headers));
    assert.match(answer.body, /"code":"bad_request","message":"a proxy in front of the realm, which is in proxies\.trusted/);
    const raw = await Raw.connect(realm.websocket);
    assert.equal((await raw.request("GET", raw.handshake(headers))).status, 400, "a handshake");
    await raw.closed;
    assert.equal(await count(realm, "forwarded_refused"), refused + 2);
  }
  await logged(trusting, /a request that 127\.0\.0\.1 forwards is refused: it forwards for what is no address.*proxies\.trusted lists it/);
});

test("within HTTP/2 every request is judged by its own headers", async () => {
  const session = connectHttp2(trusting.url);
  const status = (headers) =>
    new Promise((resolve, reject) => {
      const request = session.request({ ":path": "/throughline/v1/channels/two/events", ":method": "POST", ...headers });
      request.on("response", (answer) => resolve(answer[":status"])).on("error", reject).end("x");
      request.resume();
    });
  const origin = "https://live.example";
  assert.equal(await status({ origin, "x-forwarded-for": "192.0.2.7", "x-forwarded-host": "live.example" }), 201);
  assert.equal(await status({ origin, "x-forwarded-for": "192.0.2.7" }), 403);
  assert.equal(await status({ "x-forwarded-for": "rubbish" }), 400);
  assert.equal(await status({}), 201);
  session.close();
});

test("public_url is printed, and is what a trusted proxy means that names no host", async () => {
  await named.server.until((lines) => lines.find((line) => line === "clients come by https://live.example/a/"));
  assert.equal(await location(named, {}), `wss://live.example/a${PATH}`);
  assert.equal(await location(named, { "X-Forwarded-Host": "realm.example", "X-Forwarded-Proto": "http" }), `ws://realm.example${PATH}`);
});

test("with origins.hosts a request for another name is refused: DNS rebinding gains nothing", async () => {
  const evil = { "X-Forwarded-Host": "evil.example", "Sec-Fetch-Site": "same-origin" };
  const answer = await ask(named, "GET", "/throughline/v1/channels", evil);
  assert.equal(answer.status, 421);
  assert.match(answer.body, /"unknown_host","message":"\\"evil\.example\\" is no host of this realm; to make it one, add it to origins\.hosts"/);
  const raw = await Raw.connect(named.websocket);
  assert.equal((await raw.request("GET", raw.handshake(evil))).status, 421);
  for (const host of ["realm.example", "realm.example:8443", "live.example", "localhost", "127.0.0.1:9000", "[::1]"]) {
    assert.equal((await ask(named, "GET", "/healthz", { "X-Forwarded-Host": host })).status, 200, host);
  }
  const direct = await Realm.start({ config: 'origins.hosts = ["realm.example"]\n' });
  assert.equal((await ask(direct, "GET", "/", { Host: "evil.example" })).status, 421);
  assert.equal((await ask(direct, "GET", "/", { Host: "realm.example" })).status, 200);
  await direct.end();
});
