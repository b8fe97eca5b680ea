// The page's doctor in real browsers: on every broken path it names the fault and what to do. `UPDATE=1` writes what it says.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { launch, shoot } from "./lib/browsers.mjs";
import { examine, examined, openDoctor, said } from "./lib/doctor-page.mjs";
import { PATHS } from "./lib/doctor-paths.mjs";
import { certificate } from "./lib/fronts.mjs";
import { Middlebox } from "./lib/middlebox.mjs";
import { Proxied } from "./lib/proxied.mjs";
import { Realm } from "./lib/realm.mjs";

/** Browsers are not cheap, and what they measure is time. */
const AT_ONCE = 4;
/** Paths whose outcome could depend on the browser. */
const ALSO_FIREFOX = ["healthy", "http2", "black-hole", "cut", "reset", "strip", "buffer-end", "small-only", "idle-drop", "down"];

let folder;
const realms = {};
const browsers = {};
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "throughline-doctor-"));
  const { cert, key } = certificate(folder);
  realms.open = await Realm.start();
  realms.unprobed = await Realm.start({ config: "[probes]\nenabled = false\n" });
  realms.secure = await Realm.start({ config: `[tls]\ncertificates = ["${cert}"]\nkeys = ["${key}"]\n` });
  for (const name of ["chromium", "firefox"]) browsers[name] = await launch(name, "light", { acceptInsecureCerts: true });
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  for (const realm of Object.values(realms)) await realm.end();
  rmSync(folder, { recursive: true, force: true });
});

/** What stands between the page and its realm. */
async function between({ row, realm = "open" }) {
  const { url } = realms[realm];
  if (row !== undefined) {
    const proxied = new Proxied(row, new URL(url).host, {});
    await proxied.start();
    const context = proxied.proxy ? { proxyServer: proxied.proxy, proxyBypassList: ["<-loopback>"] } : {};
    return { url: proxied.url, context, break: () => {}, end: () => proxied.end() };
  }
  if (realm !== "open") return { url, context: {}, break: () => {}, end: () => {} };
  const box = await Middlebox.start(url);
  return { url: box.url, context: {}, break: (fault) => box.apply(fault), end: () => box.close() };
}

async function outcome(browser, path) {
  const way = await between(path);
  const context = await browser.createBrowserContext(way.context);
  try {
    const page = await openDoctor(context, way.url, path);
    way.break(path.fault?.());
    const { observations, judgement } = await examine(page);
    const told = await said(page, way.url);
    assert.deepEqual(page.complaints, []);
    assert.equal(observations.browser, true);
    assert.equal(judgement.findings.length, await page.$$eval("#findings > li", (rows) => rows.length));
    return told;
  } finally {
    await context.close();
    await way.end();
  }
}

for (const name of ["chromium", "firefox"]) {
  describe(`the doctor names what is broken: ${name}`, { concurrency: AT_ONCE }, () => {
    for (const path of PATHS.filter((one) => name === "chromium" || ALSO_FIREFOX.includes(one.name))) {
      test(path.name, async () => {
        const file = new URL(`doctor/browser/${path.name}.json`, import.meta.url);
        const golden = process.env.UPDATE ? undefined : JSON.parse(readFileSync(file, "utf8"));
        let told = await outcome(browsers[name], path);
        // Blocks that come while the browser has no turn look like one: what differs is examined once more.
        if (golden !== undefined && !isDeepStrictEqual(told, golden)) told = await outcome(browsers[name], path);
        if (process.env.UPDATE) writeFileSync(file, `${JSON.stringify(told, null, 2)}\n`);
        else assert.deepEqual(told, golden);
      });
    }
  });
}

test("the doctor's script is loaded by those who want it, and the session goes on", async () => {
  const page = await browsers.chromium.newPage();
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.goto(`${realms.open.url}/#channel=beside&from=all`);
  await page.waitForSelector("#state[data-state=open]");
  assert.ok(!asked.includes("/throughline/v1/doctor.js"));
  await page.click('nav a[href="#doctor"]');
  await page.waitForSelector("#examine:not([disabled])");
  assert.ok(asked.includes("/throughline/v1/doctor.js"));
  await realms.open.cli(["publish", "beside", "while the doctor is shown"]);
  await page.click('nav a[href="#live"]');
  await page.waitForFunction(() => document.querySelector("#events")?.textContent.includes("while the doctor is shown"));
  await page.close();
});

for (const name of ["chromium", "firefox"]) {
  test(`the doctor works from the keyboard, says how far it is, and can be stopped: ${name}`, async () => {
    const page = await openDoctor(browsers[name], realms.open.url, { idle: 30 });
    await reach(page, "examine");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.id === "stop");
    await page.waitForFunction(() => /^\d+ of 13 checks done$/.test(document.querySelector("#stage[role=status]").textContent));
    await page.waitForSelector('#tried [data-check="websocket"][data-state="works"]');
    await page.waitForSelector('#tried [data-check="idle-websocket"][data-state="trying"]');
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#stage").textContent === "Stopped.");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "examine");
    assert.equal(await page.$eval("#verdict", (verdict) => verdict.hidden), true);
    const nameless = await page.$$eval("#doctor :is(button, select, progress, table, section)", (all) =>
      all.filter((one) => !(one.ariaLabel || one.labels?.length || one.getAttribute("aria-labelledby") || one.textContent.trim())).map(({ id }) => id),
    );
    assert.deepEqual(nameless, []);
    await page.close();
  });
}

for (const scheme of ["light", "dark"]) {
  test(`the doctor's view is ${scheme} where the system is, and fits a phone`, async () => {
    const browser = await launch("chromium", scheme);
    const box = await Middlebox.start(realms.open.url);
    try {
      const page = await openDoctor(browser, box.url);
      box.apply(PATHS.find((path) => path.name === "http10").fault());
      await examine(page);
      for (const [width, height] of [[1200, 900], [390, 844]]) {
        await page.setViewport({ width, height });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${overflow} pixels stick out of ${width}`);
        await shoot(page, `doctor-${scheme}-${width}`);
      }
      const [red, green, blue] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      const brightness = (red + green + blue) / 3;
      assert.ok(scheme === "dark" ? brightness < 96 : brightness > 160, `the background's brightness is ${brightness}`);
    } finally {
      await browser.close();
      await box.close();
    }
  });
}

test("what is saved is what was found, and a second examination begins anew", async () => {
  const page = await openDoctor(browsers.chromium, realms.open.url);
  const first = await examine(page);
  assert.ok(first.observations.trials.length >= 14 && first.judgement.works && Date.parse(first.made) > 0);
  assert.equal(first.timing.protocol, "http/1.1");
  await page.click("#examine");
  await page.waitForSelector("#doctor:not([data-done])");
  const second = await examined(page);
  assert.ok(second.made > first.made);
  await page.close();
});

/** Presses Tab until the element with this id has the focus. */
async function reach(page, id) {
  for (let presses = 0; presses < 60; presses++) {
    if (await page.evaluate((wanted) => document.activeElement?.id === wanted, id)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`60 presses of Tab do not reach #${id}`);
}
