// The Autobahn cases, RFC 6455 and RFC 7692, by kosoku: against the probe, and against the Rust client. Without
// AUTOBAHN=all the sections are left out that take most of the time: 9 (large messages, many of them), and of the
// compression cases all but one series each (12.1, 13.1). All 517 take some ten minutes.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Program, run } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

const TARGET = process.env.CARGO_TARGET_DIR ?? "target";
const KOSOKU = join(TARGET, "test-venv/bin/kosoku");
const ALL = process.env.AUTOBAHN === "all";
const CASES = ALL ? 517 : 283;
const SELECTED = ALL ? [] : ["1", "2", "3", "4", "5", "6", "7", "10", "12.1", "13.1"].flatMap((series) => ["-i", `${series}.*`]);
const ACCEPTABLE = ["OK", "NON-STRICT", "INFORMATIONAL"];
/** kosoku has no limit of its own; this ends it when it hangs, milliseconds. */
const HANGS = 1_200_000;

/** Every case must be there and acceptable. */
function judge(folder) {
  const [cases] = Object.values(JSON.parse(readFileSync(join(folder, "index.json"), "utf8")));
  const bad = Object.entries(cases).filter(([, { behavior, behaviorClose }]) => !ACCEPTABLE.includes(behavior) || !ACCEPTABLE.includes(behaviorClose));
  assert.deepEqual(bad.map(([id, { behavior, behaviorClose }]) => `${id}: ${behavior}, close ${behaviorClose}`), []);
  assert.equal(Object.keys(cases).length, CASES);
}

async function withFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "throughline-autobahn-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("the server passes every case", { timeout: HANGS }, async () => {
  const realm = await Realm.start({ config: "[websocket]\ncompression_bytes_min = 0\n[limits]\nevent_bytes_max = 16777216\npublish_bytes_max = 33554432\n" });
  try {
    await withFolder(async (folder) => {
      const address = realm.address("probe/websocket").replace(/^http/, "ws");
      await run(KOSOKU, ["-m", "fuzzingclient", "-p", "2", ...SELECTED, "-o", folder, address]);
      judge(folder);
    });
  } finally {
    await realm.end();
  }
});

test("the Rust client passes every case", { timeout: HANGS }, async () => {
  await withFolder(async (folder) => {
    const server = new Program(KOSOKU, ["-m", "fuzzingserver", ...SELECTED, "-o", folder, "127.0.0.1:0"]);
    try {
      const address = await server.until(() => /listening on (ws:\S+)/.exec(server.stderr)?.[1]);
      await run(join(TARGET, "release/examples/autobahn_client"), [address]);
      // It writes its report after its last answer, and then ends by itself.
      await server.ended;
    } finally {
      await server.kill("SIGTERM");
    }
    judge(folder);
  });
});
