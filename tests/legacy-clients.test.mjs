// Old clients as they were, unchanged, against the realm: directly, and through whatever passes bytes on.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Front, certificate } from "./lib/fronts.mjs";
import { run } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

const here = (name) => join(import.meta.dirname, name);

/** For each client: how it is called, and which versions it speaks. */
const CLIENTS = {
  "Perl Protocol::WebSocket": { command: ["perl", here("tools/legacy.pl")], versions: ["75", "76", "8", "13"] },
  "Ruby websocket": { command: ["ruby", here("tools/legacy.rb")], versions: ["75", "76", "7", "8", "13"] },
  "npm websocket": { command: [process.execPath, here("legacy/client.mjs"), "websocket"], versions: ["8", "13"] },
  "npm ws": { command: [process.execPath, "--no-deprecation", here("legacy/client.mjs"), "ws"], versions: ["8", "13"] },
};

let folder;
let tls;
let realm;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "throughline-legacy-"));
  tls = certificate(folder);
  realm = await Realm.start({ config: `[tls]\ncertificates = ["${tls.cert}"]\nkeys = ["${tls.key}"]\nplain = true\n` });
});
after(async () => {
  await realm.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Every client and version, echoed and with a session, at the same port of a path. */
async function everyClient(schemes, port) {
  for (const scheme of schemes) {
    const base = `${scheme}://localhost:${port}/throughline/v1`;
    const ca = scheme === "wss" ? [tls.cert] : [];
    for (const [name, { command, versions }] of Object.entries(CLIENTS)) {
      for (const version of versions) {
        for (const [mode, path] of [["echo", "probe/websocket"], ["session", "websocket"]]) {
          const [file, ...args] = [...command, version, mode, `${base}/${path}`, ...ca];
          await run(file, args).catch((error) => {
            throw new Error(`${name}, version ${version}, ${mode}, ${scheme}: ${error.message}`);
          });
        }
      }
    }
  }
}

const realmPort = () => Number(new URL(realm.url).port);

test("directly, with and without TLS", () => everyClient(["ws", "wss"], realmPort()));

for (const [kind, schemes] of [["haproxy-tcp", ["ws", "wss"]], ["nginx-stream", ["ws", "wss"]], ["stunnel", ["wss"]]]) {
  test(`through ${kind}`, async () => {
    const front = await Front.start(kind, realm.listen, tls);
    try {
      await everyClient(schemes, front.port);
    } finally {
      await front.end();
    }
  });
}
