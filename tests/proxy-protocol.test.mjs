// PROXY headers: from whom they are expected, from whom they are refused, and what the log says of it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";

import { Raw } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

const GET = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

let expecting;
let plain;
before(async () => {
  expecting = await Realm.start({ config: 'tls.self_signed = true\ntimeouts.head_ms = 1000\nproxies.proxy_protocol_from = ["127.0.0.0/8"]\n' });
  plain = await Realm.start({ config: 'proxies.proxy_protocol_from = ["10.0.0.1", "2001:db8::/32"]\n' });
});
after(() => Promise.all([expecting.end(), plain.end()]));

const v1 = (address) => Buffer.from(`PROXY ${address.includes(":") ? "TCP6" : "TCP4"} ${address} ${address} 40000 443\r\n`);

function v2(address, { command = 0x21, tls } = {}) {
  const ip = Buffer.from(address.split(".").map(Number));
  const tlv = tls === undefined ? Buffer.alloc(0) : Buffer.from([0x20, 0, 5, Number(tls), 0, 0, 0, 0]);
  const rest = Buffer.concat([ip, ip, Buffer.from([0x9c, 0x40, 1, 187]), tlv]);
  return Buffer.concat([SIGNATURE, Buffer.from([command, 0x11, rest.length >> 8, rest.length & 0xff]), rest]);
}

/** What the realm answers to bytes on a connection of their own, until it closes it. */
async function ask(realm, ...parts) {
  const raw = await Raw.connect(realm.url);
  for (const part of parts) {
    raw.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await raw.closed;
  return raw.bytes.toString("latin1");
}

const logged = (realm, pattern) => realm.server.until(() => (pattern.test(realm.server.stderr) ? true : undefined));

test("a connection that begins with a PROXY header is served, however the header is cut", async () => {
  for (const header of [v1("192.0.2.7"), v1("2001:db8::7"), v2("192.0.2.7"), v2("192.0.2.7", { command: 0x20 }), Buffer.from("PROXY UNKNOWN\r\n")]) {
    assert.match(await ask(expecting, Buffer.concat([header, Buffer.from(GET)])), /^HTTP\/1.1 200 /, header.toString("latin1"));
    assert.match(await ask(expecting, ...[...header].map((byte) => Buffer.from([byte])), GET), /^HTTP\/1.1 200 /);
  }
});

test("TLS begins behind a PROXY header", async () => {
  const raw = await Raw.connect(expecting.url);
  raw.write(v2("192.0.2.7"));
  raw.socket.removeAllListeners("data");
  const text = await new Promise((resolve, reject) => {
    const socket = connectTls({ socket: raw.socket, rejectUnauthorized: false }, () => socket.write(GET));
    let bytes = "";
    socket.on("data", (data) => (bytes += data)).on("end", () => resolve(bytes)).on("error", reject);
  });
  assert.match(text, /^HTTP\/1.1 200 /);
});

test("a listed proxy that begins otherwise is refused, with the reason in the log", async () => {
  assert.equal(await ask(expecting, GET), "");
  await logged(expecting, /a connection from 127\.0\.0\.1 is refused: it does not begin with a PROXY header \(proxies\.proxy_protocol_from/);
});

test("malformed headers are refused", async () => {
  const bad = [
    "PROXY TCP4 192.0.2.7 192.0.2.7 40000\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.7 40000 443\n",
    "PROXY TCP4 999.0.2.7 192.0.2.7 40000 443\r\n",
    `PROXY TCP4 ${"1".repeat(100)}`,
    Buffer.concat([SIGNATURE, Buffer.from([0x31, 0x11, 0, 0])]),
    Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11, 0xff, 0xff])]),
    Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11, 0, 4, 1, 2, 3, 4])]),
  ];
  for (const bytes of bad) assert.equal(await ask(expecting, bytes, GET), "", bytes.toString("latin1"));
});

test("a proxy that says nothing, or half of a header, is closed after timeouts.head_ms", async () => {
  assert.equal(await ask(expecting), "");
  assert.equal(await ask(expecting, "PROXY TCP4 192.0."), "");
});

test("from anybody else a PROXY header is refused, whole or in pieces, and other connections are served", async () => {
  for (const header of [v1("192.0.2.7"), v2("192.0.2.7")]) {
    assert.equal(await ask(plain, header, GET), "");
    assert.equal(await ask(plain, ...[...header].map((byte) => Buffer.from([byte])), GET), "");
  }
  await logged(plain, /a connection from 127\.0\.0\.1 is refused: it begins with a PROXY header and is not listed \(proxies\.proxy_protocol_from/);
  assert.match(await ask(plain, GET), /^HTTP\/1.1 200 /);
  assert.match(await ask(plain, "P", "OST /throughline/v1/channels/a/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"), /^HTTP\/1.1 201 /);
});
