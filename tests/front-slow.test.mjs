// Slow clients: what slowhttptest does to a realm, and what others notice of it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { after, before, test } from "node:test";

import { Link } from "./lib/link.mjs";
import { frame, Raw } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

const MAX = 40;
const SLOW = 200;

let realm;
before(async () => {
  realm = await Realm.start({ config: `shards = 2\nlimits.waiting_connections_max = ${MAX}\n` });
});
after(() => realm.end());

/** What the realm counts; asked on a connection of its own, which ends with the answer. */
function counted() {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(realm.url).port), "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8").on("data", (data) => (text += data)).on("error", reject);
    socket.on("close", () => {
      const number = (name) => Number(new RegExp(`^throughline_${name} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
      resolve({ waiting: number("connections_waiting"), closed: number("waiting_closed_total"), requests: number("http_requests_total") });
    });
    socket.write("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  });
}

/** Asks until the answer fits; every answer is within the share. */
async function until(fits) {
  for (;;) {
    const found = await counted();
    assert.ok(found.waiting <= MAX, `${found.waiting} connections are waited for`);
    if (fits(found)) return found;
  }
}

/** An ordinary client: a new session that subscribes and is given what it publishes. */
async function ordinary(channel) {
  const link = await Link.open(realm.websocket);
  await link.request({ type: "subscribe", id: 1, channel, from: "new" });
  await link.request({ type: "publish", id: 2, channel, data: "through" });
  assert.equal((await link.until((message) => message.type === "event")).data, "through");
  await link.close();
}

const ATTACKS = {
  "slow headers": ["-H", "-i", "1", "-t", "GET"],
  "slow bodies": ["-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST"],
  "slow reads": ["-X", "-w", "10", "-y", "20", "-n", "2", "-z", "5", "-k", "3"],
};

for (const [name, flags] of Object.entries(ATTACKS)) {
  test(`${name} hold no more than the configured share, and others are served`, async () => {
    const before = await counted();
    const path = name === "slow bodies" ? "/throughline/v1/channels/slow/events" : "/throughline/v1/client.js";
    const attack = spawn("slowhttptest", [...flags, "-c", `${SLOW}`, "-r", "200", "-l", "300", "-u", `${realm.url}${path}`], { stdio: "ignore" });
    const ended = new Promise((resolve) => attack.on("exit", resolve));
    try {
      await until((now) => now.waiting >= MAX / 2);
      await ordinary(`while/${name.replace(" ", "-")}`);
      // More came than may wait: the share was full, and those that waited longest made room.
      await until((now) => now.closed > before.closed);
      for (let i = 0; i < 5; i += 1) await ordinary(`full/${name.replace(" ", "-")}`);
      await until(() => true);
      assert.equal(attack.exitCode, null, "the attack was under way all the time");
    } finally {
      attack.kill("SIGKILL");
      await ended;
    }
  });
}

test("requests for many ranges are answered like any other", async () => {
  const before = await counted();
  const attack = spawn("slowhttptest", ["-R", "-a", "1", "-b", "3000", "-c", "50", "-r", "50", "-l", "300", "-u", `${realm.url}/throughline/v1/client.js`], { stdio: "ignore" });
  const ended = new Promise((resolve) => attack.on("exit", resolve));
  try {
    await until((now) => now.requests > before.requests + 20);
    await ordinary("ranges");
  } finally {
    attack.kill("SIGKILL");
    await ended;
  }
});

test("links are not waited for, and the newest connection is served when the share is full", async () => {
  const links = await Promise.all(Array.from({ length: MAX }, () => Link.open(realm.websocket)));
  const silent = [];
  for (let i = 0; i < SLOW; i += 1) silent.push(await Raw.connect(realm.websocket));
  await until((now) => now.waiting >= MAX / 2);
  for (const [at, link] of links.entries()) {
    await link.request({ type: "publish", id: 1, channel: "held", data: `${at}` });
    assert.equal(link.ended, undefined);
  }
  const raw = silent.at(-1);
  await raw.upgrade({ "Sec-WebSocket-Protocol": "throughline.v1" });
  raw.write(frame(1, '{"type":"connect","versions":[1]}'));
  assert.equal(JSON.parse((await raw.frame()).payload).type, "welcome", "the newest is served");
  await Promise.all(links.map((link) => link.close()));
  for (const raw of silent) raw.end();
  assert.match(realm.server.stderr, /limits\.waiting_connections_max = 40 is reached; those waited for longest are closed/);
});
