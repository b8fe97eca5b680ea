// Foreign clients, as they are installed by everyone: npm `ws`, Python `websockets`, curl.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { run } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

let realm;
before(async () => (realm = await Realm.start()));
after(() => realm.end());

const python = () => join(process.env.CARGO_TARGET_DIR ?? "target", "test-venv/bin/python");

async function echoed(options, messages) {
  const socket = new WebSocket(realm.address("probe/websocket").replace(/^http/, "ws"), options);
  let extensions = "";
  socket.once("upgrade", (response) => (extensions = response.headers["sec-websocket-extensions"] ?? ""));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  for (const message of messages) {
    const answer = new Promise((resolve) => socket.once("message", (data, binary) => resolve([data, binary])));
    socket.send(message);
    const [data, binary] = await answer;
    assert.equal(binary, typeof message !== "string");
    assert.ok(Buffer.from(message).equals(data));
  }
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.close(1000);
  assert.equal(await closed, 1000);
  return extensions;
}

const MESSAGES = ["", "text", "ä€😀".repeat(1000), Buffer.alloc(200_000, 7), "z".repeat(500_000)];

test("ws is echoed, with and without compression", async () => {
  assert.equal(await echoed({ perMessageDeflate: false }, MESSAGES), "");
  assert.match(await echoed({ perMessageDeflate: { threshold: 0 } }, MESSAGES), /permessage-deflate.*server_no_context_takeover/);
});

test("Python websockets subscribes, publishes and is echoed", async () => {
  await run(python(), [join(import.meta.dirname, "tools/foreign.py"), realm.websocket, realm.address("probe/websocket").replace(/^http/, "ws")]);
});
