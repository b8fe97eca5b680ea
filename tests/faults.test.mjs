// The fault matrix, shortened: nothing is lost, doubled or reordered, and no client keeps trying too often.

import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { run } from "./lib/processes.mjs";

const matrix = fileURLToPath(new URL("matrix.mjs", import.meta.url));

for (const browser of ["chromium", "firefox"]) {
  test(`every row of the fault matrix: ${browser}`, async (context) => {
    const { lines } = await run(process.execPath, [matrix, "--browsers", browser, "--seconds", "20", "--parallel", "8", "--lenient"]);
    for (const line of lines) context.diagnostic(line);
  });
}
