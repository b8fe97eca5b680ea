// What the realm refuses before anything else, and what its operator hears of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Raw } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

/** A number of /metrics; 0 where it is not there. */
async function counted(realm, name) {
  const text = await (await fetch(`${realm.url}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(`throughline_${name} `));
  return Number(line?.split(" ")[1] ?? 0);
}

/** Waits until the log says it. */
const logged = (realm, wanted) => realm.server.until(() => (wanted.test(realm.server.stderr) ? true : undefined));

/** The answer to a handshake on a connection of its own, which stays. `first` goes before it. */
async function upgrade(realm, { from, first = "", headers = {} } = {}) {
  const raw = await Raw.connect(realm.websocket, { from });
  if (first) raw.write(first);
  const answer = await raw.request("GET", raw.handshake(headers));
  return { raw, status: answer.status, error: answer.status === 101 ? undefined : JSON.parse(answer.body).error };
}

test("pages that may not use the realm are counted and named in the log, whatever they ask for", async () => {
  const realm = await Realm.start();
  try {
    const headers = { Origin: "https://evil.example" };
    const { status, error } = await upgrade(realm, { headers });
    assert.deepEqual([status, error.code], [403, "bad_origin"]);
    await realm.http("POST", "poll?link=00000000000000000000000000000001&ack=0&n=1", { status: 403, headers });
    await realm.http("POST", "channels/c/events", { body: "x", status: 403, headers });
    await realm.http("GET", "probe/inspect", { status: 403, headers });
    const script = await fetch(realm.address("poll?link=00000000000000000000000000000001&ack=0&callback=f"), { headers });
    assert.match(await script.text(), /bad_origin/, "a script that fails to load tells its page nothing");
    assert.equal(await counted(realm, "origins_refused_total"), 5);
    assert.equal(await counted(realm, 'websockets_refused_total{code="bad_origin"}'), 1);
    await logged(realm, /INFO .*a request is refused: pages from the origin "https:\/\/evil\.example" may not use this realm; .*origins\.allowed.* times=1/);
  } finally {
    await realm.end();
  }
});

test("an address has so many connections, and whoever comes by another is served", async () => {
  const config = 'limits.connections_per_address_max = 2\n[proxies]\nproxy_protocol_from = ["127.0.0.5"]\ntrusted = ["127.0.0.6"]\n';
  const realm = await Realm.start({ config });
  try {
    const from = "127.0.0.3";
    const links = [await upgrade(realm, { from }), await upgrade(realm, { from })];
    const refused = await upgrade(realm, { from });
    assert.deepEqual([refused.status, refused.error.code], [503, "overloaded"]);
    assert.match(refused.error.message, /limits\.connections_per_address_max/);
    await logged(realm, /limits\.connections_per_address_max = 2 is reached by 127\.0\.0\.3; a connection is refused/);
    assert.equal((await upgrade(realm, { from: "127.0.0.4" })).status, 101);

    const told = (address) => upgrade(realm, { from: "127.0.0.5", first: `PROXY TCP4 ${address} 127.0.0.1 40000 9000\r\n` });
    for (const [address, status] of [["192.0.2.1", 101], ["192.0.2.1", 101], ["192.0.2.1", 503], ["192.0.2.2", 101]]) {
      assert.equal((await told(address)).status, status, `${address} by a PROXY header`);
    }
    for (let n = 0; n < 3; n += 1) assert.equal((await upgrade(realm, { from: "127.0.0.6" })).status, 101, "a trusted proxy");
    assert.equal(await counted(realm, 'connections_refused_total{reason="connections_per_address_max"}'), 2);

    links[0].raw.end();
    while ((await upgrade(realm, { from })).status !== 101);
  } finally {
    await realm.end();
  }
});

test("a full realm says so in its log", async () => {
  const realm = await Realm.start({ config: "limits.connections_max = 1\n" });
  try {
    const held = await upgrade(realm);
    assert.equal(held.status, 101);
    const refused = await upgrade(realm);
    assert.deepEqual([refused.status, refused.error.code], [503, "overloaded"]);
    await logged(realm, /limits\.connections_max = 1 is reached; connections refused: 1/);
  } finally {
    await realm.end();
  }
});

test("SIGHUP says what it takes over", async () => {
  const realm = await Realm.start();
  try {
    realm.server.signal("SIGHUP");
    await logged(realm, /SIGHUP: only certificates are read again, and there are none; .*at the next start/);
    assert.equal((await upgrade(realm)).status, 101);
  } finally {
    await realm.end();
  }
});
