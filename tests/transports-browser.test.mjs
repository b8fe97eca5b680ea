// One suite of conformance cases over every transport, in three browser engines, same-origin and cross-origin.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Backstage } from "./lib/backstage.mjs";
import { launch } from "./lib/browsers.mjs";
import { Middlebox } from "./lib/middlebox.mjs";
import { Realm } from "./lib/realm.mjs";

const BROWSERS = (process.env.BROWSERS ?? "chromium firefox webkit").split(" ");
const TRANSPORTS = (process.env.TRANSPORTS ?? "websocket http-stream event-source iframe-stream long-poll jsonp-poll").split(" ");
const CASES = [
  "subscribe",
  "replay",
  "publish",
  "lost reply",
  "resume",
  "gap",
  "several channels",
  "1 MiB event",
  "binary",
  "slow consumer",
  "server restart",
];
const files = fileURLToPath(new URL("harness", import.meta.url));

let realm;
let box;
let pages;
before(async () => {
  const control = (command, parameters) => backstage.control(command, parameters);
  pages = await Middlebox.start(undefined, { files, control });
  const foreign = new URL(pages.url);
  foreign.hostname = "localhost";
  pages.foreign = foreign.origin;
  realm = await Realm.start({ config: `[origins]\nallowed = ["${foreign.origin}"]\n` });
  pages.retarget(realm.url);
  box = await Middlebox.start(realm.url, { files });
  const backstage = new Backstage(realm, box);
});
after(async () => {
  await box?.close();
  await pages?.close();
  await realm?.end();
});

/** Runs one case in the page, and holds what the realm was asked for against the transport's name. */
async function run(page, home, { transport, name, channel }) {
  box.openings = [];
  const where = { realm: box.url, control: pages.url, client: `${home}/throughline/v1/client.js`, transport, channel };
  const verdict = await page.evaluate((name, where) => globalThis.runCase(name, where), name, where);
  assert.ok(verdict.ok, `${verdict.error}\npath: ${verdict.path}`);
  const opened = new Set(box.openings.map((opening) => opening.transport));
  assert.deepEqual([...opened], [transport]);
}

for (const browserName of BROWSERS) {
  describe(browserName, () => {
    let browser;
    before(async () => (browser = await launch(browserName)));
    after(() => browser?.close());
    for (const origin of ["same-origin", "cross-origin"]) {
      describe(origin, () => {
        let page;
        let home;
        before(async () => {
          home = origin === "same-origin" ? box.url : pages.foreign;
          page = await browser.newPage();
          await page.goto(`${home}/harness/page.html`);
          const names = await page.evaluate(() => globalThis.caseNames);
          assert.deepEqual(names, CASES);
        });
        for (const transport of TRANSPORTS) {
          for (const name of CASES) {
            const channel = [browserName, origin, transport, name.replaceAll(" ", "-")].join("/");
            test(`${transport}: ${name}`, () => run(page, home, { transport, name, channel }));
          }
        }
      });
    }
  });
}
