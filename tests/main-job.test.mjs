// The main job: a growing log file reaches two browsers and the command line, completely and in order, although the
// server is killed and started again in the middle.

import assert from "node:assert/strict";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { launch } from "./lib/browsers.mjs";
import { Program } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

const CHANNEL = "logs";
const LINES = 6000;
const STEP = 100;

const endings = [];
after(async () => {
  for (const end of endings.reverse()) await end();
});

const line = (number) => `2026-01-01T00:00:00Z request ${number} GET /item/${(number * 7919) % 1000} ä€😀 ${"x".repeat(number % 120)}`;

/** Subscribes within a page, with the client that the realm serves. */
async function listen(name, realm) {
  const browser = await launch(name);
  endings.push(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`${realm.url}/#channel=${CHANNEL}&from=all`);
  await page.waitForSelector("#state[data-state=open]");
  await page.evaluate(async (url, channel) => {
    const { Session } = await import(`${url}/throughline/v1/client.js`);
    globalThis.heard = [];
    globalThis.gaps = 0;
    const session = new Session(url);
    session.on("gap", () => (globalThis.gaps += 1));
    session.subscribe(channel, (event) => globalThis.heard.push(event.data), { from: "all" });
  }, realm.url, CHANNEL);
  return page;
}

/** Writes the log on, step by step, each as soon as the subscriber has what was written two steps ago. */
async function write(log, subscriber, from, to) {
  for (let number = from; number < to; number += STEP) {
    await subscriber.until((lines) => (lines.length >= number - 2 * STEP ? true : undefined));
    append(log, number, number + STEP);
  }
}

function append(log, from, to) {
  let text = "";
  for (let number = from; number < to; number++) text += `${line(number)}\n`;
  // Cut anywhere, maybe within a character: the follower sees half of a line first.
  const bytes = Buffer.from(text);
  const half = Math.floor(bytes.length / 2);
  appendFileSync(log, bytes.subarray(0, half));
  appendFileSync(log, bytes.subarray(half));
}

/** Fails at the first difference, and shows no more than that. */
function assertSame(actual, expected, who) {
  const at = expected.findIndex((text, index) => actual[index] !== text);
  if (at >= 0) assert.fail(`${who}: event ${at} of ${actual.length} is ${JSON.stringify(actual[at])}, not ${JSON.stringify(expected[at])}`);
  assert.equal(actual.length, expected.length, who);
}

test("a growing log reaches everyone across a kill and a restart", async () => {
  const realm = await Realm.start();
  endings.push(() => realm.end());
  await realm.cli(["channel", "create", CHANNEL, "--type", "persistent"]);
  const log = join(realm.folder, "service.log");
  writeFileSync(log, "");

  const subscriber = realm.start(["subscribe", CHANNEL, "--from", "all", "--count", String(LINES)]);
  endings.push(() => subscriber.kill());
  const pages = { chromium: await listen("chromium", realm), firefox: await listen("firefox", realm) };
  const tail = new Program("tail", ["-n", "+1", "-f", log]);
  endings.push(() => tail.kill());
  const publisher = realm.start(["publish", CHANNEL, "--lines"], { input: true });
  endings.push(() => publisher.kill());
  tail.child.stdout.pipe(publisher.child.stdin);

  await write(log, subscriber, 0, LINES / 3);
  await realm.kill();
  append(log, LINES / 3, (LINES * 2) / 3);
  await realm.up();
  await write(log, subscriber, (LINES * 2) / 3, LINES);

  assert.equal(await subscriber.ended, 0, subscriber.stderr);
  await tail.kill("SIGTERM");
  assert.equal(await publisher.ended, 0, publisher.stderr);

  const expected = Array.from({ length: LINES }, (_, number) => line(number));
  assertSame(subscriber.lines, expected, "command line");
  assert.ok(!subscriber.stderr.includes("missed"), subscriber.stderr);
  for (const [name, page] of Object.entries(pages)) {
    await page.waitForFunction((count) => globalThis.heard.length >= count, {}, LINES);
    assertSame(await page.evaluate(() => globalThis.heard), expected, name);
    assert.equal(await page.evaluate(() => globalThis.gaps), 0, name);
    await page.waitForFunction(
      (text) => [...document.querySelectorAll("#events li[data-eid]")].some((row) => row.textContent.includes(text)),
      {},
      `request ${LINES - 1} `,
    );
  }
  const stored = await realm.replay(CHANNEL);
  assertSame(stored.map((event) => event.data), expected, "replay");
  await realm.stop();
});
