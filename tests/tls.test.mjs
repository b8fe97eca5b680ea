// TLS on the realm's port: sessions of all kinds, certificates chosen and exchanged, and peers that do not speak it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { request } from "node:https";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";

import WebSocket from "ws";

import { Link } from "./lib/link.mjs";
import { Realm } from "./lib/realm.mjs";

const LIVE = 1_000;

let folder;
let realm;
const file = (name) => join(folder, name);
const port = (of = realm) => Number(new URL(of.url).port);

/** Makes a certificate in `NAME.pem` with its key in `NAME.key`; it signs itself, or is signed by another. */
function certificate(name, host, by) {
  const signer = by ? ["-CA", file(`${by}.pem`), "-CAkey", file(`${by}.key`), "-addext", "basicConstraints=CA:FALSE"] : [];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${host},IP:127.0.0.1`];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file(`${name}.key`)];
  execFileSync("openssl", ["req", "-x509", "-days", "30", ...signer, ...key, ...subject, "-out", file(`${name}.pem`)], { stdio: "pipe" });
}

const trust = (...names) => names.map((name) => readFileSync(file(`${name}.pem`)));
const list = (...names) => JSON.stringify(names.map(file));

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "throughline-tls-"));
  certificate("one", "one.test");
  certificate("two", "two.test");
  certificate("three", "one.test");
  certificate("client", "client.test", "one");
  certificate("stranger", "client.test", "two");
  copyFileSync(file("one.pem"), file("used.pem"));
  copyFileSync(file("one.key"), file("used.key"));
  const config = `[tls]\ncertificates = ${list("used.pem", "two.pem")}\nkeys = ${list("used.key", "two.key")}\n`;
  realm = await Realm.start({ config });
});

after(async () => {
  await realm.end();
  rmSync(folder, { recursive: true, force: true });
});

/** A handshake that succeeds or fails; gives the name on the certificate. */
function shake(options = {}, of = realm) {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: "127.0.0.1", port: port(of), ca: trust("one", "two", "three"), ...options }, () => {
      const seen = { name: socket.getPeerCertificate().subject.CN, version: socket.getProtocol() };
      socket.end();
      resolve(seen);
    });
    socket.on("error", reject);
  });
}

function get(path, options = {}) {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port: port(), ca: trust("one"), path, ...options }, (answer) => {
      let text = "";
      answer.on("data", (bytes) => (text += bytes));
      answer.on("end", () => resolve({ status: answer.statusCode, text }));
    });
    sent.on("error", reject);
    sent.end(options.body);
  });
}

const tls = () => ({ ca: trust("one", "two", "three") });
const open = (options) => Link.open(realm.websocket, { tls: tls(), ...options });

async function publish(link, id, channel, data) {
  const reply = await link.request({ type: "publish", id, channel, data });
  assert.ok(reply.eid !== undefined, JSON.stringify(reply));
}

test("a session over wss is given what another publishes, also more than records hold", async () => {
  const [from, to] = [await open(), await open()];
  await to.request({ type: "subscribe", id: 1, channel: "large", from: "new" });
  const texts = [1, 16_383, 16_384, 16_385, 100_000, 1_000_000].map((size) => "x".repeat(size));
  for (const [at, text] of texts.entries()) await publish(from, at + 1, "large", text);
  for (const text of texts) await to.until((message) => message.type === "event" && message.data === text);
  from.socket.close();
  to.socket.close();
});

test("a reader that stops reading is given everything once it reads again", async () => {
  const [from, to] = [await open(), await open()];
  await to.request({ type: "subscribe", id: 1, channel: "slow", from: "new" });
  to.socket.pause();
  const count = 60;
  for (let id = 1; id <= count; id += 1) await publish(from, id, "slow", `${id} ${"y".repeat(200_000)}`);
  to.socket.resume();
  await to.until((message) => message.type === "event" && message.data.startsWith(`${count} `));
  const seen = to.received.filter(({ type }) => type === "event").map(({ data }) => Number(data.split(" ")[0]));
  assert.deepEqual(seen, Array.from({ length: count }, (_, at) => at + 1));
  from.socket.close();
  to.socket.close();
});

test("HTTP, streams and polls are served on the same port, with TLS and without", async () => {
  assert.equal((await get("/healthz")).status, 200);
  assert.equal((await fetch(`http://127.0.0.1:${port()}/healthz`)).status, 200);
  const first = '{"type":"connect","versions":[1]}\n{"type":"subscribe","id":1,"channel":"poll","from":"new"}\n';
  const link = "0123456789abcdef0123456789abcdef";
  const poll = await get(`/throughline/v1/poll?link=${link}&ack=0&hold=5000&n=1`, { method: "POST", body: first });
  assert.match(poll.text, /"type":"welcome"/);
  const stream = await new Promise((resolve, reject) => {
    const path = "/throughline/v1/stream?link=1123456789abcdef0123456789abcdef&as=lines&n=1";
    const sent = request({ host: "127.0.0.1", port: port(), ca: trust("one"), method: "POST", path }, (answer) => {
      let text = "";
      answer.on("data", (bytes) => {
        text += bytes;
        if (text.includes('"id":1')) resolve({ answer, text: () => text });
      });
    });
    sent.on("error", reject);
    sent.end(first);
  });
  const from = await open();
  await publish(from, 1, "poll", "to the stream");
  while (!stream.text().includes("to the stream")) await new Promise((resolve) => stream.answer.once("data", resolve));
  stream.answer.destroy();
  from.socket.close();
});

test("both TLS versions are served, and older ones refused", async () => {
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    assert.equal((await shake({ minVersion: version, maxVersion: version })).version, version);
  }
  await assert.rejects(shake({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }));
});

test("the certificate is chosen by the name that is asked for", async () => {
  assert.equal((await shake({ servername: "two.test" })).name, "two");
  assert.equal((await shake({ servername: "one.test" })).name, "one");
  assert.equal((await shake({ servername: "unknown.test", checkServerIdentity: () => undefined })).name, "one");
});

test("where records are cut makes no difference", async () => {
  const relay = createServer((near) => {
    const far = connect(port(), "127.0.0.1");
    near.setNoDelay(true);
    far.setNoDelay(true);
    near.on("data", (bytes) => bytes.forEach((byte) => far.write(Buffer.of(byte))));
    far.on("data", (bytes) => near.write(bytes));
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    for (const socket of [near, far]) socket.on("error", () => {});
  });
  await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const url = `wss://127.0.0.1:${relay.address().port}/throughline/v1/websocket`;
  const link = await Link.open(url, { tls: tls() });
  await link.request({ type: "subscribe", id: 1, channel: "cut", from: "new" });
  await publish(link, 2, "cut", "z".repeat(20_000));
  await link.until((message) => message.type === "event" && message.data.length === 20_000);
  link.socket.close();
  await link.closed;
  relay.close();
});

test("garbage that begins like TLS ends that connection only, with an alert", async () => {
  for (const bytes of ["160301000500000000ff", "1603", "16030100010101", `160301ffff${"00".repeat(300)}`]) {
    const socket = connect(port(), "127.0.0.1");
    const seen = [];
    socket.on("data", (data) => seen.push(data));
    socket.on("error", () => {});
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.end(Buffer.from(bytes, "hex"));
    await closed;
    assert.ok(seen.length === 0 || seen[0][0] === 0x15, `${bytes}: ${Buffer.concat(seen).toString("hex")}`);
  }
  assert.equal((await shake()).name, "one");
});

test("a certificate is exchanged under 1,000 live connections, and none of them is dropped", async () => {
  const sockets = [];
  const wait = (socket, event) => new Promise((resolve, reject) => socket.once(event, resolve).once("error", reject));
  for (let at = 0; at < LIVE; at += 50) {
    const versions = Array.from({ length: 50 }, (_, n) => (n % 2 === 0 ? "TLSv1.3" : "TLSv1.2"));
    const address = realm.address("probe/websocket").replace("http", "ws");
    const some = versions.map((version) => new WebSocket(address, { ...tls(), minVersion: version, maxVersion: version }));
    await Promise.all(some.map((socket) => wait(socket, "open")));
    sockets.push(...some);
  }
  let dropped = 0;
  for (const socket of sockets) socket.on("close", () => (dropped += 1));
  copyFileSync(file("three.key"), file("new.key"));
  copyFileSync(file("three.pem"), file("new.pem"));
  // The key before its certificate: between the two they do not go together, and what was in use stays so.
  renameSync(file("new.key"), file("used.key"));
  await realm.server.until(() => realm.server.stderr.includes("do not go together") || undefined);
  assert.equal((await shake()).name, "one");
  renameSync(file("new.pem"), file("used.pem"));
  while ((await shake()).name !== "three");
  assert.equal((await shake({ servername: "two.test" })).name, "two");
  const live = async () => {
    const echoes = sockets.map((socket) => wait(socket, "message"));
    for (const socket of sockets) socket.send("still here");
    await Promise.all(echoes);
    assert.equal(dropped, 0);
  };
  await live();
  // The signal reads them again although none has changed.
  const reads = () => realm.server.stderr.split("certificates were read again").length;
  const before = await realm.server.until(() => (reads() > 1 ? reads() : undefined));
  realm.server.child.kill("SIGHUP");
  await realm.server.until(() => reads() > before || undefined);
  assert.equal((await shake()).name, "three");
  await live();
  for (const socket of sockets) socket.terminate();
});

test("a client certificate is asked for where there are roots for it, and may be left out where that is allowed", async () => {
  const config = `[tls]\ncertificates = ${list("two.pem")}\nkeys = ${list("two.key")}\nclient_roots = ${list("one.pem")}\n`;
  for (const optional of [false, true]) {
    const strict = await Realm.start({ config: `${config}client_optional = ${optional}\n` });
    try {
      const ask = (options) =>
        new Promise((resolve, reject) => {
          const all = { host: "127.0.0.1", port: port(strict), ca: trust("two"), path: "/healthz", agent: false, ...options };
          request(all, (answer) => resolve(answer.statusCode))
            .on("error", reject)
            .end();
        });
      if (optional) assert.equal(await ask(), 200);
      else await assert.rejects(ask());
      await assert.rejects(ask({ cert: trust("stranger"), key: readFileSync(file("stranger.key")) }));
      assert.equal(await ask({ cert: trust("client"), key: readFileSync(file("client.key")) }), 200);
    } finally {
      await strict.end();
    }
  }
});

test("without plain connections a request without TLS is told so", async () => {
  const strict = await Realm.start({ config: "[tls]\nself_signed = true\nplain = false\n" });
  try {
    const answer = await fetch(`http://127.0.0.1:${port(strict)}/healthz`);
    assert.equal(answer.status, 400);
    assert.equal((await answer.json()).error.code, "tls_required");
    const own = readFileSync(join(strict.data, "self-signed.pem"));
    assert.equal((await shake({ ca: own, servername: "localhost" }, strict)).name, "Throughline, self-signed for development");
  } finally {
    await strict.end();
  }
});
