// The package as an application gets it: packed, installed, imported, bundled and type-checked, without a network.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "throughline-package-"));
// What the npm that runs the tests was told is not for the one that they run.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
/** Ends a step that hangs; judges no speed. */
const SECONDS_MAX = 300;

function run(cwd: string, program: string, ...words: string[]): string {
  return execFileSync(program, words, { cwd, env, encoding: "utf8" });
}

beforeAll(() => {
  run(root, "npm", "pack", "--silent", "--pack-destination", folder);
  const packed = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  run(folder, "npm", "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", ...packed.map((name) => `./${name}`));
}, SECONDS_MAX * 1_000);

afterAll(() => rmSync(folder, { recursive: true }));

test("Node imports every entry", () => {
  writeFileSync(join(folder, "import.mjs"), `
    import { Session, integer } from "throughline";
    import { Session as Small } from "throughline/websocket-only";
    import { connect } from "throughline/shared";
    const session = new Session("http://127.0.0.1:9/", { transports: ["long-poll"] });
    await session.close();
    console.log(session.state, Number(integer(5)), typeof Small, typeof connect, import.meta.resolve("throughline/worker.js").slice(-16));
  `);
  expect(run(folder, process.execPath, "import.mjs")).toBe("closed 5 function function shared/worker.js\n");
}, SECONDS_MAX * 1_000);

test("esbuild bundles it", async () => {
  writeFileSync(join(folder, "bundle.js"), 'import { Session } from "throughline"; globalThis.session = new Session("https://realm.example");');
  const { outputFiles } = await build({ absWorkingDir: folder, entryPoints: ["bundle.js"], bundle: true, format: "esm", write: false });
  expect(outputFiles[0]?.text).toContain("jsonp-poll");
}, SECONDS_MAX * 1_000);

test.each(["NodeNext", "Bundler"])("its types are there, by the rules of %s", (rules) => {
  writeFileSync(join(folder, "types.ts"), `
    import { type Published, Session, type Subscription, ThroughlineError } from "throughline";
    import { Session as Small } from "throughline/websocket-only";
    import { connect } from "throughline/shared";
    const session: Session = connect({ shared: true, url: new URL("https://realm.example") });
    const subscription: Subscription = session.subscribe("c", (event) => event.text().length, { from: "all" });
    subscription.on("error", (error) => error instanceof ThroughlineError);
    export const published: Promise<Published> = new Small("https://realm.example").publish("c", "x", { tag: "t", properties: { n: 5n } });
    // @ts-expect-error: a number is no data
    void session.publish("c", 5);
  `);
  const compilerOptions = {
    strict: true, noEmit: true, target: "ES2022", lib: ["ES2022", "DOM"], types: [], module: rules === "Bundler" ? "ESNext" : rules, moduleResolution: rules,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["types.ts"] }));
  run(folder, process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", ".");
}, SECONDS_MAX * 1_000);
