// Every JavaScript example of the document runs, against the model server and in virtual time.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as Throughline from "../src/index.js";
import { RANKS } from "../src/ladder.js";
import { Realm } from "./realm.js";
import { World } from "./world.js";

const text = readFileSync(new URL("../../docs/javascript.md", import.meta.url), "utf8");
const examples = [...text.matchAll(/```js\n([^]*?)```/g)].map(([, code], i) => ({ name: `example ${i + 1}`, code: code ?? "" }));

type Example = (scope: { Session: unknown; session: Throughline.Session; integer: unknown; console: { log: () => void } }) => Promise<void>;

test("there are examples", () => {
  expect(examples.length).toBeGreaterThan(7);
});

test.each(examples)("$name of docs/javascript.md", async ({ code }) => {
  const world = new World(1, { transports: RANKS });
  const realm = new Realm();
  world.accept = realm.accept;
  realm.publish("prices", '{"symbol":"ACME","last":true}');
  class Session extends Throughline.Session {
    constructor(url?: string, options: Throughline.SessionOptions = {}) {
      super(url, options, world.environment);
    }
  }
  const body = `return (async ({ Session, ${code.includes("session = ") ? "" : "session, "}integer, console }) => {${code}})(scope)`;
  const run = new Function("scope", body) as unknown as Example;
  let lines = 0;
  const running = run({ Session, session: new Session(), integer: Throughline.integer, console: { log: () => void (lines += 1) } });
  world.at(100, () => realm.publish("prices", '{"symbol":"ACME","last":true}'));
  await world.run(1_000);
  await running;
  expect(lines > 0 || !code.includes("console.log") || /state|gap/.test(code)).toBe(true);
});
