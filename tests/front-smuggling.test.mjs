// Requests that two programs could read differently: refused on every kind of listener, with the reason, and the connection is
// of no further use.

import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";

import { frame, newKey } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

const POST = "POST /throughline/v1/channels/a/events HTTP/1.1\r\nHost: localhost\r\n";
const SMUGGLED = "GET /throughline/v1/channels HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LIST = /"channels":/;

let plain;
let proxied;
before(async () => {
  plain = await Realm.start({ config: "tls.self_signed = true\n" });
  proxied = await Realm.start({ config: 'proxies.proxy_protocol_from = ["127.0.0.1"]\n' });
});
after(() => Promise.all([plain.end(), proxied.end()]));

const port = (realm) => Number(new URL(realm.url).port);
const LISTENERS = {
  plain: () => connect(port(plain), "127.0.0.1"),
  TLS: () => connectTls({ port: port(plain), host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }),
  "behind a PROXY header": () => {
    const socket = connect(port(proxied), "127.0.0.1");
    socket.write("PROXY TCP4 192.0.2.7 192.0.2.8 40000 443\r\n");
    return socket;
  },
};

/** Everything that a listener answers to these bytes until it closes. */
function answers(listener, ...parts) {
  return new Promise((resolve) => {
    const socket = listener();
    let text = "";
    socket.setEncoding("latin1").on("data", (data) => (text += data));
    socket.on("error", () => {}).on("close", () => resolve(text));
    for (const part of parts) socket.write(part, "latin1");
  });
}

const statuses = (text) => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((found) => Number(found[1]));
const chunked = (chunks) => `${POST}Transfer-Encoding: chunked\r\n\r\n${chunks}`;
const body = (...lines) => `${POST}${lines.join("\r\n")}\r\n\r\n5\r\nhello\r\n0\r\n\r\n`;

const HEADS = {
  "CL.TE": body("Content-Length: 5", "Transfer-Encoding: chunked"),
  "TE.CL": body("Transfer-Encoding: chunked", "Content-Length: 5"),
  "TE.TE": body("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
  "TE twice": body("Transfer-Encoding: chunked", "Transfer-encoding: chunked"),
  "TE that is not quite chunked": body("Transfer-Encoding: xchunked"),
  "TE with a vertical tab": body("Transfer-Encoding: \x0bchunked"),
  "TE list": body("Transfer-Encoding: gzip, chunked"),
  "TE in HTTP/1.0": body("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"),
  "space before the colon": body("Transfer-Encoding : chunked"),
  "CL twice, different": body("Content-Length: 5", "Content-Length: 6"),
  "CL twice, the same": body("Content-Length: 5", "Content-Length: 5"),
  "CL list": body("Content-Length: 5, 6"),
  "CL with a sign": body("Content-Length: +5"),
  "CL hexadecimal": body("Content-Length: 0x5"),
  "CL beyond 64 bits": body("Content-Length: 18446744073709551621"),
  "obs-fold": body("Content-Length: 5", "X: a", " b"),
  "obs-fold that hides TE": body("Content-Length: 5", "X: a", "\tTransfer-Encoding: chunked"),
  "bare LF between headers": body("X: a\nContent-Length: 5"),
  "bare LF everywhere": body("Content-Length: 5").replaceAll("\r\n", "\n"),
  "bare LF at the end of the head": `${POST}Content-Length: 5\r\n\nhello`,
  "bare CR": body("X: a\rContent-Length: 5"),
  "bare CR at the end of a header": body("Content-Length: 5", "X: a\r"),
  "NUL in a value": body("Content-Length: 5", "X: a\0b"),
  "NUL in a name": body("Content-Length: 5", "X\0: a"),
  "header without a colon": body("Content-Length: 5", "rubbish"),
  "header without a name": body("Content-Length: 5", ": a"),
  "two spaces in the request line": body("Content-Length: 5").replace("POST ", "POST  "),
  "no version": "GET /\r\n\r\n",
  "no Host": "GET / HTTP/1.1\r\n\r\n",
  "Host twice": "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
  "Host that is none": "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
  "head of 100 KB": `${POST}X: ${"y".repeat(100_000)}\r\n\r\n`,
};

const CHUNKS = {
  sign: "+5\r\nhello\r\n0\r\n\r\n",
  "0x": "0x5\r\nhello\r\n0\r\n\r\n",
  "space before": " 5\r\nhello\r\n0\r\n\r\n",
  "space behind": "5 \r\nhello\r\n0\r\n\r\n",
  "no size": "\r\nhello\r\n0\r\n\r\n",
  "size beyond 64 bits": "10000000000000005\r\nhello\r\n0\r\n\r\n",
  "LF behind the size": "5\nhello\r\n0\r\n\r\n",
  "LF within an extension": "5;a\nb\r\nhello\r\n0\r\n\r\n",
  "CR within an extension": "5;a\rb\r\nhello\r\n0\r\n\r\n",
  "data longer than the size": "5\r\nhello!\r\n0\r\n\r\n",
  "LF behind the data": "5\r\nhello\n0\r\n\r\n",
  "LF at the end": "5\r\nhello\r\n0\r\n\n",
};

for (const [name, listener] of Object.entries(LISTENERS)) {
  test(`${name}: heads that can be read in two ways`, async () => {
    for (const [what, text] of Object.entries(HEADS)) {
      const answer = await answers(listener, text, SMUGGLED);
      assert.deepEqual(statuses(answer), [what.startsWith("head of") ? 431 : 400], `${what}: ${answer}`);
      assert.match(answer, /"code":"bad_request","message":"[^"]{20,}/, what);
      assert.doesNotMatch(answer, LIST, what);
      const behind = await answers(listener, SMUGGLED, text, SMUGGLED);
      assert.deepEqual(statuses(behind), [200, what.startsWith("head of") ? 431 : 400], `behind a good request: ${what}`);
    }
  });

  test(`${name}: chunks that can be read in two ways`, async () => {
    for (const [what, chunks] of Object.entries(CHUNKS)) {
      const answer = await answers(listener, chunked(chunks), SMUGGLED);
      assert.ok(statuses(answer).length <= 1 && statuses(answer).every((status) => status === 400), `${what}: ${answer}`);
      assert.doesNotMatch(answer, LIST, what);
    }
  });

  test(`${name}: an upgrade with a body`, async () => {
    const upgrade = `GET /throughline/v1/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${newKey()}\r\nSec-WebSocket-Version: 13\r\n`;
    for (const announced of [`Content-Length: ${SMUGGLED.length}`, "Transfer-Encoding: chunked", "Content-Length: 8"]) {
      const answer = await answers(listener, `${upgrade}${announced}\r\n\r\n`, SMUGGLED);
      assert.deepEqual(statuses(answer), [400], announced);
      assert.match(answer, /a request for an upgrade has no body/);
    }
  });

  test(`${name}: a request behind an upgrade is never served`, async () => {
    const upgrade = (path, key) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`;
    // To WebSocket it is a frame without a mask, and one of no known kind.
    const accepted = await answers(listener, upgrade("/throughline/v1/websocket", newKey()) + SMUGGLED);
    assert.deepEqual(statuses(accepted), [101]);
    assert.doesNotMatch(accepted, LIST);
    assert.ok(accepted.includes("\x88"), "a close frame tells why");
    for (const refused of [upgrade("/throughline/v1/websocket", "short"), upgrade("/", newKey())]) {
      const answer = await answers(listener, refused + SMUGGLED);
      assert.equal(statuses(answer).length, 1, answer);
      assert.doesNotMatch(answer, LIST);
    }
    // Whole frames may come with the handshake.
    const early = Buffer.concat([Buffer.from(upgrade("/throughline/v1/websocket", newKey())), frame(8, Buffer.from([3, 232]))]);
    assert.deepEqual(statuses(await answers(listener, early.toString("latin1"))), [101]);
  });

  test(`${name}: good requests in a row are all served`, async () => {
    const close = SMUGGLED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    const row = `\r\n${SMUGGLED}${chunked("5;ext=\"v\"\r\nhello\r\n0\r\n\r\n")}${POST}Content-Length: 5\r\n\r\nhello${close}`;
    assert.deepEqual(statuses(await answers(listener, row)), [200, 201, 201, 200]);
    assert.deepEqual(statuses(await answers(listener, ...row)), [200, 201, 201, 200], "byte by byte");
  });
}

test("HTTP/2: a length that does not fit ends the stream", async () => {
  const session = connectHttp2(plain.url, { rejectUnauthorized: false });
  session.on("error", () => {});
  const ask = (headers, data) =>
    new Promise((resolve) => {
      const request = session.request({ ":path": "/throughline/v1/channels/a/events", ":method": "POST", ...headers });
      let status;
      request.on("response", (answer) => (status = answer[":status"]));
      request.on("error", () => {}).on("close", () => resolve(status ?? "reset"));
      request.resume().end(data);
    });
  assert.equal(await ask({}, "hello"), 201);
  assert.notEqual(await ask({ "content-length": "3" }, "hello"), 201);
  assert.notEqual(await ask({ "content-length": "8" }, "hello"), 201);
  assert.equal(await ask({}, "hello"), 201, "the connection lives");
  session.close();
});

test("refused requests are counted", async () => {
  const count = Number(/^throughline_requests_refused_total (\d+)$/m.exec(await answers(() => connect(port(plain), "127.0.0.1"), "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))[1]);
  assert.ok(count > Object.keys(HEADS).length, `${count}`);
});
