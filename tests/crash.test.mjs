// A few crash cycles of each kind; tests/crash.mjs runs as many as it is told.

import { join } from "node:path";
import { test } from "node:test";

import { run } from "./lib/processes.mjs";

const CYCLES = { kill: 20, torn: 6, full: 6 };

for (const [kind, cycles] of Object.entries(CYCLES)) {
  test(`${cycles} crashes, ${kind}: every promise is held`, async (context) => {
    const { lines } = await run(process.execPath, [join(import.meta.dirname, "crash.mjs"), "--kind", kind, "--cycles", String(cycles)]);
    for (const line of lines) context.diagnostic(line);
  });
}
