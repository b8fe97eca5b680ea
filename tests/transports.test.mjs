// The HTTP transports as an outsider speaks them: streams in every form, polls, pieces, and what may go wrong with each.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, test } from "node:test";

import { OWN_PAGE, Polled, Stream, WAYS, address, ask, begin, jsonp, newLink } from "./lib/http-link.mjs";
import { carriesLargeEvents, resumes } from "./lib/ways.mjs";
import { Realm } from "./lib/realm.mjs";

let realm;
// Links that read nothing for a while answer no pings either: they are not to die of it here.
const config = '[origins]\nallowed = ["https://app.example"]\n[timeouts]\nheartbeat_ms = 600000\n';
before(async () => (realm = await Realm.start({ config })));
after(() => realm.end());

const code = ({ text }) => JSON.parse(text).error.code;
/** Resolves when the realm knows a link no more. */
async function gone(link) {
  for (;;) {
    const answer = await ask(realm.url, "uplink", { link: link.link, n: 1 }, { method: "POST", body: "" });
    if (answer.status === 404) return assert.equal(code(answer), "unknown_link");
  }
}

const hello = '{"type":"connect","versions":[1]}\n{"type":"ping"}\n';

/** All that comes on a raw connection after these bytes are sent, as soon as it fits, or the connection's end. */
function raw(bytes, fits = () => false) {
  const { hostname, port } = new URL(realm.url);
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    const done = () => (socket.destroy(), resolve(text));
    socket.on("data", (data) => fits((text += data.toString())) && done());
    socket.on("end", done).on("error", reject);
  });
}

for (const [name, open] of Object.entries(WAYS)) {
  test(`${name}: subscribes, publishes, and resumes a session on another link`, () => resumes(open, realm.url, `way/${name}`));
  test(`${name}: events of 1 MiB go both ways`, () => carriesLargeEvents(open, realm.url, `large/${name}`));
}

test("a stream begins with its padding, in chunks or closed by the connection", async () => {
  const start = (version, as, extra = "") =>
    raw(
      `GET /throughline/v1/stream?link=${newLink()}&as=${as}&n=1&m=${encodeURIComponent(hello)}${extra} HTTP/${version}\r\nHost: ${new URL(realm.url).host}\r\nSec-Fetch-Site: same-origin\r\n\r\n`,
      (text) => text.includes("pong"),
    );
  for (const [as, kind, padding] of [
    ["lines", "text/plain", `${" ".repeat(2047)}\n`],
    ["event-stream", "text/event-stream", `:${" ".repeat(2045)}\n\n`],
    ["script", "text/html", "<!doctype html>"],
  ]) {
    const extra = as === "script" ? `&origin=${encodeURIComponent(realm.url)}` : "";
    const [head, ...chunks] = (await start("1.1", as, extra)).split("\r\n\r\n");
    assert.match(head, /^HTTP\/1.1 200 OK\r\n/);
    assert.match(head, /\r\ntransfer-encoding: chunked/);
    for (const header of [`content-type: ${kind}; charset=utf-8`, "cache-control: no-cache, no-store, no-transform", "x-accel-buffering: no", "x-content-type-options: nosniff", "throughline: 1"]) {
      assert.ok(head.includes(`\r\n${header}`), `${header} is not in ${head}`);
    }
    const body = chunks.join("\r\n\r\n");
    assert.ok(body.startsWith(`800\r\n${padding}`), body.slice(0, 100));
    const [old, rest] = (await start("1.0", as, extra)).split("\r\n\r\n");
    assert.match(old, /^HTTP\/1.0 200 OK\r\n[^]*connection: close/);
    assert.ok(!old.includes("chunked"));
    assert.ok(rest.startsWith(padding), rest.slice(0, 100));
  }
});

test("a chunked stream ends with its last chunk, an HTTP/1.0 one with its connection", async () => {
  const bytes = (version) =>
    `GET /throughline/v1/stream?link=${newLink()}&as=lines&n=1&m=${encodeURIComponent('{"type":"connect","versions":[7]}\n')} HTTP/${version}\r\nHost: a\r\nSec-Fetch-Site: same-origin\r\n\r\n`;
  assert.match(await raw(bytes("1.1")), /"type":"close","code":4201[^\n]*\}\n\r\n0\r\n\r\n$/);
  assert.match(await raw(bytes("1.0")), /"type":"close","code":4201[^\n]*\}\n$/);
});

test("a stream may follow other requests on one connection, whose answers come first", async () => {
  const get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  const stream = `POST /throughline/v1/stream?link=${newLink()}&as=lines&n=1 HTTP/1.1\r\nHost: a\r\nContent-Length: ${hello.length}\r\n\r\n${hello}`;
  const text = await raw(`${get}${get}${stream}what comes later means nothing\n`, (all) => all.includes("pong"));
  assert.equal(text.split('{"status":"ok"}').length, 3);
  assert.ok(text.lastIndexOf('{"status":"ok"}') < text.indexOf("welcome"));
});

test("a WebSocket handshake may follow other requests on one connection", async () => {
  const get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  const upgrade = `GET /throughline/v1/probe/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n\r\n`;
  // A masked text frame, key zero, in the same write: the echo answers it.
  const echo = `\x81\x82\x00\x00\x00\x00hi`;
  const text = await raw(Buffer.from(get + upgrade + echo, "latin1"), (all) => all.endsWith("hi"));
  assert.match(text, /"ok"}HTTP\/1.1 101 Switching Protocols\r\n/);
});

test("pieces may be cut anywhere, repeated, and not skipped", async () => {
  const link = await Stream.open(realm.url);
  const line = Buffer.from('{"type":"publish","id":1,"channel":"pieces","data":"ä€😀"}\n');
  const send = (n, body) => ask(realm.url, "uplink", { link: link.link, n }, { method: "POST", body });
  let n = 2;
  for (let at = 0; at < line.length; at += 7) {
    for (const time of [1, 2, 3]) {
      const answer = await send(n, line.subarray(at, at + 7));
      assert.equal(answer.text, `{"type":"taken","n":${n}}\n`, `time ${time}`);
    }
    n++;
  }
  await link.until((m) => m.type === "reply" && m.id === 1);
  const skipped = await send(n + 1, "x");
  assert.deepEqual([skipped.status, code(skipped)], [409, "conflict"]);
  assert.equal((await realm.replay("pieces")).length, 1, "a repeated piece is not taken again");
  const query = await ask(realm.url, "uplink", { link: link.link, n, m: '{"type":"publish","id":2,"channel":"pieces","data":"+ %€"}\n', callback: "f" }, { headers: OWN_PAGE });
  assert.equal(jsonp(query.text, "f"), `{"type":"taken","n":${n}}\n`);
  await link.until((m) => m.type === "reply" && m.id === 2);
  assert.equal((await realm.replay("pieces"))[1].data, "+ %€");
  link.drop();
});

test("a piece that comes before its link waits for it, and not for ever", async () => {
  const link = newLink();
  const early = ask(realm.url, "uplink", { link, n: 2 }, { method: "POST", body: '{"type":"ping"}\n' });
  const lost = ask(realm.url, "uplink", { link: newLink(), n: 1, callback: "f", m: "x" }, { headers: OWN_PAGE });
  const stream = await begin(address(realm.url, "stream", { link, as: "lines", n: 1 }), { method: "POST", body: hello.split("\n")[0] + "\n" });
  let text = "";
  for await (const data of stream) if ((text += data).includes("pong")) break;
  assert.equal((await early).status, 200);
  const answer = await lost;
  assert.deepEqual([answer.status, JSON.parse(jsonp(answer.text, "f")).error.code], [200, "unknown_link"]);
});

test("an answer is repeated until it is acknowledged", async () => {
  const link = newLink();
  const poll = async (ack, more = {}, body) => {
    const answer = await ask(realm.url, "poll", { link, ack, hold: 0, ...more }, body && { method: "POST", body });
    return answer.status === 200 ? answer.text.trimEnd().split("\n").map((line) => JSON.parse(line)) : answer;
  };
  for (const time of [1, 2, 3]) {
    const [answer, welcome, pong] = await poll(0, { n: 1 }, hello);
    assert.deepEqual([answer, welcome.type, pong], [{ type: "answer", number: 1, messages: 2 }, "welcome", { type: "pong" }], `time ${time}`);
  }
  assert.deepEqual(await poll(1), [{ type: "answer", number: 1, messages: 0 }], "nothing is new");
  const conflict = await poll(2);
  assert.deepEqual([conflict.status, code(conflict)], [409, "conflict"]);
  const late = await poll(0);
  assert.deepEqual([late.status, code(late)], [409, "conflict"], "what was acknowledged is gone");
  const unknown = await ask(realm.url, "poll", { link: newLink(), ack: 1, hold: 0 });
  assert.deepEqual([unknown.status, code(unknown)], [404, "unknown_link"]);
  const held = poll(1, { hold: 20_000 });
  const second = ask(realm.url, "uplink", { link, n: 2 }, { method: "POST", body: '{"type":"ping"}\n' });
  assert.deepEqual(await held, [{ type: "answer", number: 2, messages: 1 }, { type: "pong" }]);
  assert.equal((await second).status, 200);
  const older = poll(2, { hold: 20_000 });
  const newer = poll(2, { hold: 20_000 });
  const [first] = await Promise.race([older, newer]);
  assert.deepEqual(first, { type: "answer", number: 2, messages: 0 }, "the older of two is answered at once");
  await ask(realm.url, "uplink", { link, n: 3 }, { method: "POST", body: '{"type":"close"}\n' });
  const answers = await Promise.all([older, newer]);
  assert.ok(answers.flat().some((m) => m.type === "close" && m.code === 1000));
});

test("requests that break the rules are refused and named", async () => {
  const link = newLink();
  const taken = await Stream.open(realm.url);
  const polled = await Polled.open(realm.url);
  for (const [path, query, status, expected, options] of [
    ["stream", { as: "lines" }, 400, "bad_request"],
    ["stream", { link: "xyz", as: "lines" }, 400, "bad_request"],
    ["stream", { link: link.toUpperCase() + "A", as: "lines" }, 400, "bad_request"],
    ["stream", { link }, 400, "bad_request"],
    ["stream", { link, as: "xml" }, 400, "bad_request"],
    ["stream", { link, as: "script" }, 400, "bad_request"],
    ["stream", { link, as: "script", origin: "https://a.example/path" }, 400, "bad_request"],
    ["stream", { link, as: "script", origin: "https://evil.example" }, 403, "bad_origin"],
    ["stream", { link, as: "script", origin: realm.url }, 403, "bad_origin"],
    ["stream", { link, as: "lines", n: 2, m: "x" }, 400, "bad_request"],
    ["stream", { link, as: "lines", m: "x" }, 400, "bad_request"],
    ["stream", { link, as: "lines" }, 405, "method_not_allowed", { method: "PUT" }],
    ["stream", { link: taken.link, as: "lines" }, 409, "conflict"],
    ["stream", { link: polled.link, as: "lines" }, 409, "conflict"],
    ["stream", { link, as: "lines", n: 1, m: "x" }, 403, "bad_origin"],
    ["poll", { link, ack: 0, n: 1, m: "x" }, 403, "bad_origin"],
    ["uplink", { link: taken.link, n: 1, m: "x" }, 403, "bad_origin"],
    ["poll", { link: taken.link, ack: 0 }, 409, "conflict"],
    ["poll", { link }, 400, "bad_request"],
    ["poll", { link, ack: "x" }, 400, "bad_request"],
    ["poll", { link, ack: 0, hold: -1 }, 400, "bad_request"],
    ["poll", { link: polled.link, ack: 1, n: 2, m: "x" }, 400, "bad_request"],
    ["poll", { link, ack: 0, callback: "alert(1)" }, 400, "bad_request"],
    ["uplink", { link: taken.link }, 400, "bad_request"],
    ["uplink", { link: taken.link, n: 0, m: "x" }, 400, "bad_request"],
    ["uplink", { link: taken.link, n: 2, m: "x" }, 400, "bad_request", { method: "POST", body: "x" }],
  ]) {
    const own = { ...options, headers: expected === "bad_origin" ? {} : OWN_PAGE };
    const answer = await ask(realm.url, path, query, own);
    assert.deepEqual([answer.status, code(answer)], [status, expected], `${path} ${JSON.stringify(query)}: ${answer.text}`);
    assert.equal(answer.headers.throughline, "1");
  }
  taken.drop();
  await polled.stop();
});

test("a line that is too long ends its link", async () => {
  const link = await Stream.open(realm.url);
  const body = "x".repeat(1_500_000);
  await link.send(body);
  await link.send(body);
  const close = await link.until((m) => m.type === "close");
  assert.equal(close.code, 1009);
  assert.equal(await link.finished, "end");
  await gone(link);
});

test("pages of other origins are allowed by name only", async () => {
  const from = (origin, path = "channels", options = {}) =>
    ask(realm.url, path, {}, { ...options, headers: { ...options.headers, ...(origin && { Origin: origin }) } });
  const cors = ({ headers }) => [headers["access-control-allow-origin"], headers["access-control-allow-credentials"], headers.vary];
  assert.deepEqual(cors(await from("https://app.example")), ["https://app.example", "true", "Origin"]);
  assert.deepEqual(cors(await from(realm.url)), [realm.url, "true", "Origin"]);
  assert.deepEqual(cors(await from("https://evil.example")), [undefined, undefined, "Origin"]);
  const preflight = await from("https://app.example", "uplink", {
    method: "OPTIONS",
    headers: { "Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true" },
  });
  assert.deepEqual([preflight.status, ...cors(preflight)], [204, "https://app.example", "true", "Origin"]);
  assert.equal(preflight.headers["access-control-allow-private-network"], "true");
  assert.match(preflight.headers["access-control-allow-headers"], /content-type/);
  assert.equal((await from("https://evil.example", "uplink", { method: "OPTIONS" })).status, 403);
  for (const path of ["stream", "poll", "uplink"]) {
    const query = { link: newLink(), as: "lines", ack: 0, hold: 0, n: 1, m: "x" };
    const refused = await ask(realm.url, path, query, { headers: { Origin: "https://evil.example" } });
    assert.deepEqual([refused.status, code(refused)], [403, "bad_origin"], path);
  }
  const script = { link: newLink(), ack: 0, hold: 0, callback: "f" };
  for (const [headers, allowed] of [
    [{}, false],
    [{ "Sec-Fetch-Site": "same-origin" }, true],
    [{ "Sec-Fetch-Site": "cross-site" }, false],
    [{ "Sec-Fetch-Site": "cross-site", Referer: "https://app.example/page" }, true],
    [{ Referer: "https://evil.example/https://app.example/" }, false],
  ]) {
    const answer = await ask(realm.url, "poll", { ...script, link: newLink() }, { headers });
    assert.equal(answer.status, 200);
    const [first] = jsonp(answer.text, "f").split("\n").map((line) => line && JSON.parse(line));
    assert.deepEqual(first.error?.code, allowed ? undefined : "bad_origin", JSON.stringify(headers));
  }
});

/** Bytes of memory that the realm's process holds. */
function memory() {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${realm.server.child.pid}/status`, "utf8"));
  return Number(kib) * 1024;
}

/** Events and gaps in order, each once; all that was sent is among them. */
function complete(received, sent, name) {
  const heard = received.filter((m) => m.type === "event" || m.type === "gap");
  const ranges = heard.map((m) => (m.type === "gap" ? [BigInt(m.from), BigInt(m.to)] : [BigInt(m.eid), BigInt(m.eid)]));
  ranges.reduce((cursor, [from, to]) => (assert.ok(from > cursor, `${name}: ${from} came after ${cursor}`), to), 0n);
  const silent = sent.filter((eid) => !ranges.some(([from, to]) => from <= eid && eid <= to));
  assert.deepEqual(silent, [], `${name}: events were lost in silence`);
}

test("readers that stop reading are told what they missed, and cost no memory", async () => {
  const channel = "slow/http";
  await realm.createChannel(channel, { type: "reliable", capacity: 500 });
  const names = Object.keys(WAYS).flatMap((name) => Array(4).fill(name));
  const slow = await Promise.all(names.map((name) => WAYS[name](realm.url, { hold: 100 })));
  for (const link of slow) {
    await link.request({ type: "subscribe", id: 1, channel, from: "new" });
    if (link.response) link.response.pause();
    else await link.stop();
  }
  const before = memory();
  const publisher = await Stream.open(realm.url);
  const last = 3000;
  for (let at = 1; at <= last; at += 50) {
    const data = randomBytes(7500).toString("base64");
    const lines = Array.from({ length: 50 }, (_, i) => `${JSON.stringify({ type: "publish", id: at + i, channel, data })}\n`);
    await publisher.send(lines.join(""));
  }
  const { eid: head } = await publisher.until((m) => m.type === "reply" && m.id === last);
  // Each of the twenty would hold 30 MB if it had a queue; the channel itself keeps 5 MB.
  const grown = memory() - before;
  assert.ok(grown < 100e6, `the realm has grown by ${grown} bytes`);
  const sent = publisher.received.filter((m) => m.type === "reply").map((m) => BigInt(m.eid));
  assert.equal(sent.length, last);
  for (const [at, link] of slow.entries()) {
    if (link.response) link.response.resume();
    else link.running = link.run();
    await link.until((m) => m.type === "event" && m.eid === head);
    complete(link.received, sent, names[at]);
  }
  for (const link of slow) if (link.drop) link.drop();
  await Promise.all(slow.map((link) => link.drop || link.stop()));
  publisher.drop();
});

test("what is counted by transport, and what became of a WebSocket handshake", async () => {
  const open = await Promise.all(Object.values(WAYS).map((way) => way(realm.url)));
  const metrics = await (await fetch(`${realm.url}/metrics`)).text();
  for (const name of Object.keys(WAYS)) {
    const count = Number(new RegExp(`links_open\\{transport="${name}"\\} (\\d+)`).exec(metrics)?.[1]);
    assert.ok(count >= 1, `${name}: ${count}`);
  }
  for (const link of open) link.drop ? link.drop() : await link.stop();
  const id = "attempt-1";
  const seen = async () => JSON.parse((await ask(realm.url, "diagnose", { id })).text);
  assert.deepEqual(await seen(), { seen: false });
  const headers = { Via: "1.1 squid", "X-Forwarded-For": "10.0.0.7", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13" };
  const stripped = await ask(realm.url, "websocket", { id }, { headers });
  assert.equal(stripped.status, 426);
  assert.match(JSON.parse(stripped.text).error.message, /Via: 1.1 squid; X-Forwarded-For: 10.0.0.7/);
  const found = await seen();
  assert.deepEqual([found.seen, found.outcome, found.code, found.via, found.forwarded, found.upgrade, found.http], [true, "refused", "upgrade_required", "1.1 squid", "10.0.0.7", false, "1.1"]);
  const old = await raw(`GET /throughline/v1/websocket?id=${id} HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n`);
  assert.match(old, / 426 [^]*HTTP\/1.0/);
  assert.deepEqual([(await seen()).http, (await seen()).outcome], ["1.0", "refused"]);
});

test("more links on polls than the limit are refused, until others are over", async () => {
  const small = await Realm.start({ config: "[limits]\npoll_links_max = 1\n" });
  try {
    const link = await Polled.open(small.url);
    const refused = await ask(small.url, "poll", { link: newLink(), ack: 0, hold: 0 });
    assert.deepEqual([refused.status, code(refused)], [503, "overloaded"]);
    assert.equal(refused.headers["retry-after"], "1");
    await link.say({ type: "close" });
    await link.running;
    const again = await Polled.open(small.url);
    await again.stop();
  } finally {
    await small.end();
  }
});

test("a server that stops drains every transport, and ends with 0", async () => {
  const other = await Realm.start();
  try {
    const links = await Promise.all(Object.values(WAYS).map((open) => open(other.url)));
    await other.stop();
    for (const link of links) {
      const close = await link.until((m) => m.type === "close").catch((error) => error);
      // A client that was not asking when the realm stopped finds nobody there.
      if (link instanceof Polled && close instanceof Error) assert.match(close.message, /ECONN|hang up/);
      else assert.ok(close.code === 4000 && link.received.some((m) => m.type === "drain"), String(close));
    }
  } finally {
    await other.end();
  }
});

test("a stream that is killed ends its link", async () => {
  const link = await Stream.open(realm.url);
  link.drop();
  await gone(link);
});
