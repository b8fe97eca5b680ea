// The real proxies, with less silence; `node tests/proxies.mjs --out docs/proxies.md` is the whole of it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { run } from "./lib/processes.mjs";

test("every proxy lets events through, both ways, without loss and in order", async () => {
  const { lines, stderr } = await run(process.execPath, [join(import.meta.dirname, "proxies.mjs"), "--silence", "20", "--untimed"], { status: null });
  const rows = lines.filter((line) => line.startsWith("| ") && !line.startsWith("| Proxy"));
  assert.ok(rows.length > 15, `${lines.join("\n")}\n${stderr}`);
  assert.deepEqual(rows.filter((line) => !/\| (all delivered, in order|nothing can pass, and is told why: .*) \|$/.test(line)), [], stderr);
});
