// A few hundred sessions of each transport kind held for some seconds; tests/hold.mjs holds ten thousand for as long as it is told.

import { join } from "node:path";
import { test } from "node:test";

import { run } from "./lib/processes.mjs";

test("300 sessions of each kind are held, and given every event", async (context) => {
  const { lines } = await run(process.execPath, [join(import.meta.dirname, "hold.mjs"), "--sessions", "300", "--minutes", "0.1"]);
  for (const line of lines) context.diagnostic(line);
});
