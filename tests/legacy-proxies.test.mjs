// hixie-76 and hixie-75 through proxies, above all those that speak HTTP and pass upgrades on: where the key bytes arrive everything works;
// where they do not, the connection is closed with a reason, and nothing is held.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Front, socketsFall, socketsOf } from "./lib/fronts.mjs";
import { Hixie } from "./lib/hixie.mjs";
import { run } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

const tool = (name) => join(import.meta.dirname, "tools", name);
const CLIENTS = { perl: ["perl", tool("legacy.pl")], ruby: ["ruby", tool("legacy.rb")] };
const npm = join(import.meta.dirname, "legacy", "client.mjs");
/** Every client of the versions that all proxies pass which pass upgrades on. */
const NUMBERED = {
  perl: { command: CLIENTS.perl, versions: ["8", "13"] },
  ruby: { command: CLIENTS.ruby, versions: ["7", "8", "13"] },
  "npm websocket": { command: [process.execPath, npm, "websocket"], versions: ["8", "13"] },
  "npm ws": { command: [process.execPath, "--no-deprecation", npm, "ws"], versions: ["8", "13"] },
};
const LOST = /the server closed before the digest/;

/** What becomes of hixie-76: Perl announces its key bytes by a Content-Length, Ruby writes them in one piece with the head. */
const KINDS = {
  "haproxy-tcp": { perl: "works", ruby: "works", together: "works" },
  "nginx-stream": { perl: "works", ruby: "works", together: "works" },
  nginx: { perl: "works", ruby: "works", together: "works" },
  apache: { perl: "works", ruby: "works", together: "works" },
  // It takes no upgrade with a body.
  lighttpd: { perl: /HTTP\/1\.1 400/, ruby: "works", together: "works" },
  // It passes on only what comes after the answer. What becomes of key bytes that were announced is chance on a busy machine.
  caddy: { ruby: LOST, together: LOST },
};

let realm;
before(async () => (realm = await Realm.start()));
after(() => realm.end());

/** Runs a client to its end; gives what it says. */
async function client(command, version, mode, port) {
  const path = mode === "echo" ? "probe/websocket" : "websocket";
  const [file, ...args] = [...command, version, mode, `ws://localhost:${port}/throughline/v1/${path}`];
  const { lines, stderr } = await run(file, args, { status: null });
  return lines.join() === "ok" ? "works" : stderr;
}

/** Every client of a numbered version, echoed and with a session; `refused` lists those that the proxy refuses. */
async function numbered(port, refused = []) {
  for (const [name, { command, versions }] of Object.entries(NUMBERED)) {
    for (const version of versions) {
      for (const mode of ["echo", "session"]) {
        const what = `${name}, version ${version}`;
        assertOutcome(await client(command, version, mode, port), refused.includes(what) ? /\b400\b/ : "works", `${what}, ${mode}`);
      }
    }
  }
}

function assertOutcome(outcome, expected, what) {
  if (expected === "works") assert.equal(outcome, expected, what);
  else assert.match(outcome, expected, what);
}

/** Shakes hands by hand; the key bytes go with the head, or once the answer is there. */
async function byHand(port, together, id) {
  const link = await Hixie.dial(`http://localhost:${port}/throughline/v1/probe/websocket?id=${id}`);
  try {
    link.ask(link.headers76(), together ? link.keyBytes() : undefined);
    await link.head();
    if (!together) link.write(link.keyBytes());
    await link.until((bytes) => (bytes.length >= 16 ? true : undefined), "the digest");
    await link.digest();
    link.say("hello");
    assert.equal(await link.next(), "hello");
    return "works";
  } catch (error) {
    return error.message;
  } finally {
    link.end();
  }
}

test("haproxy-http answers hixie by itself, and passes numbered versions on", async () => {
  const front = await Front.start("haproxy-http", realm.listen);
  try {
    // Its key has 15 bytes, and HAProxy wants 16.
    await numbered(front.port, ["npm ws, version 8"]);
    for (const command of Object.values(CLIENTS)) {
      for (const version of ["75", "76"]) assert.notEqual(await client(command, version, "echo", front.port), "works");
    }
    for (const headers of ["headers75", "headers76"]) {
      const link = await Hixie.dial(`http://localhost:${front.port}/throughline/v1/probe/websocket`);
      link.ask(link[headers](), link.keyBytes());
      assert.match(await link.head(), /^HTTP\/1\.1 400 (?![^]*throughline)/i);
      link.end();
    }
  } finally {
    await front.end();
  }
});

for (const [kind, expected] of Object.entries(KINDS)) {
  test(`through ${kind}`, { timeout: 120_000 }, async () => {
    const held = socketsOf(realm.server);
    const front = await Front.start(kind, realm.listen);
    try {
      await numbered(front.port);
      for (const [name, command] of Object.entries(CLIENTS)) {
        for (const mode of ["echo", "session"]) {
          assert.equal(await client(command, "75", mode, front.port), "works", `${name}, hixie-75, ${mode}`);
          if (!(name in expected)) continue;
          assertOutcome(await client(command, "76", mode, front.port), expected[name], `${name}, hixie-76, ${mode}`);
        }
      }
      assertOutcome(await byHand(front.port, true, `${kind}-together`), expected.together, "key bytes with the head");
      assert.equal(await byHand(front.port, false, `${kind}-apart`), "works", "key bytes after the answer");
      if (expected.together === LOST) {
        const seen = await realm.http("GET", `diagnose?id=${kind}-together`);
        assert.equal(seen.code, "key_bytes_lost");
        const reason = /0 of the 8 key bytes.* within 2000 ms.*layer-7 proxy dropped the key bytes \(X-Forwarded-For: 127\.0\.0\.1\)/;
        assert.match(seen.message, reason);
        await realm.server.until(() => (reason.test(realm.server.stderr) ? true : undefined));
      }
      // While the proxy runs; a pool of this process may keep one connection for its requests.
      await socketsFall(realm.server, held + 1);
    } finally {
      await front.end();
    }
  });
}
