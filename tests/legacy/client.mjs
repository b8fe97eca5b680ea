// A client of WebSocket version 8, on the libraries that spoke it: client.mjs websocket|ws VERSION echo|session URL [CA-FILE]
// Ends with 0 when all was as it should be; else it says what was not.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [library, version, mode, url, ca] = process.argv.slice(2);
const origin = new URL(url).origin.replace(/^ws/, "http");
const tls = ca ? { ca: readFileSync(ca) } : {};

setTimeout(() => fail(new Error("nothing came for 30 s")), 30_000).unref();

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

/** Opens a connection; `say`, `next` and `close` are all that is used of it. */
function open() {
  const texts = [];
  const waiting = [];
  const closed = new Promise((resolve) => (open.closed = resolve));
  const take = (text) => (waiting.length ? waiting.shift()(text) : texts.push(text));
  const next = () => (texts.length ? Promise.resolve(texts.shift()) : new Promise((resolve) => waiting.push(resolve)));
  const link = { next, closed };
  return new Promise((resolve, reject) => {
    if (library === "websocket") {
      const { client: Client } = require("websocket");
      const client = new Client({ webSocketVersion: Number(version), tlsOptions: tls });
      client.on("connectFailed", reject);
      client.on("connect", (connection) => {
        connection.on("message", (message) => take(message.utf8Data));
        connection.on("close", (code) => open.closed(code));
        resolve({ ...link, say: (text) => connection.sendUTF(text), close: () => connection.close() });
      });
      client.connect(url, "throughline.v1", origin);
    } else {
      const WebSocket = require("ws");
      const socket = new WebSocket(url, { protocolVersion: Number(version), origin, protocol: "throughline.v1", ...tls });
      socket.on("error", reject);
      socket.on("message", (text) => take(text));
      socket.on("close", (code) => open.closed(code));
      socket.on("open", () => resolve({ ...link, say: (text) => socket.send(text), close: () => socket.close(1000) }));
    }
  });
}

async function echo(link) {
  for (const text of ["text", "ä€😀 Grüße", "long ".repeat(40_000)]) {
    link.say(text);
    if ((await link.next()) !== text) throw new Error("not echoed");
  }
}

async function session(link) {
  const ask = (message) => link.say(JSON.stringify(message));
  const awaited = async (type) => {
    for (;;) {
      const message = JSON.parse(await link.next());
      if (message.type === type) return message;
    }
  };
  const channel = `old-${process.pid}`;
  ask({ type: "connect", versions: [1] });
  await awaited("welcome");
  ask({ type: "subscribe", id: 1, channel, from: "new" });
  await awaited("reply");
  ask({ type: "publish", id: 2, channel, data: "Grüße" });
  if ((await awaited("event")).data !== "Grüße") throw new Error("another event");
}

try {
  const link = await open();
  await (mode === "echo" ? echo(link) : session(link));
  link.close();
  const code = await link.closed;
  if (code !== 1000) throw new Error(`closed with ${code}`);
  console.log("ok");
  process.exit(0);
} catch (error) {
  fail(error);
}
