// The page in real browsers: what curl, the command line and the other browser publish is shown, at once and in order.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, shoot } from "./lib/browsers.mjs";
import { run } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

let realm;
const browsers = {};
before(async () => (realm = await Realm.start()));
after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  await realm.end();
});

/** Opens the page in a browser and waits until its session is open; fails on anything the page complains about. */
async function open(name, hash, scheme) {
  const key = `${name} ${scheme ?? ""}`;
  browsers[key] ??= await launch(name, scheme);
  const page = await browsers[key].newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  await page.goto(`${realm.url}/${hash}`);
  await page.waitForSelector("#state[data-state=open]");
  return page;
}

/** Texts of the events that the page shows, oldest first, once it shows one that holds `last`. */
async function shown(page, last) {
  await page.waitForFunction(
    (text) => [...document.querySelectorAll("#events li[data-eid]")].some((row) => row.textContent.includes(text)),
    {},
    last,
  );
  const rows = await page.$$eval("#events li[data-eid]", (rows) => rows.map((row) => [row.dataset.eid, row.textContent]));
  rows.sort(([a], [b]) => (BigInt(a) < BigInt(b) ? -1 : 1));
  return rows;
}

async function type(page, selector, text) {
  await page.$eval(selector, (field) => (field.value = ""));
  await page.type(selector, text);
}

test("both browsers show what curl, the command line and the other browser publish", async () => {
  const channel = "prices";
  const pages = {};
  for (const name of ["chromium", "firefox"]) pages[name] = await open(name, `#channel=${channel}&from=all`);
  const { lines } = await run("curl", ["--silent", "--show-error", "--fail", "--data", "by curl", realm.address(`channels/${channel}/events`)]);
  assert.ok(JSON.parse(lines.join("")).eid);
  for (const page of Object.values(pages)) await shown(page, "by curl");
  await realm.cli(["publish", channel, "by command line"]);
  for (const page of Object.values(pages)) await shown(page, "by command line");
  for (const [name, other] of [["chromium", "firefox"], ["firefox", "chromium"]]) {
    await type(pages[name], "#channel", channel);
    await type(pages[name], "#data", `by ${name}`);
    await pages[name].click("#publish");
    await shown(pages[other], `by ${name}`);
  }
  const expected = ["by curl", "by command line", "by chromium", "by firefox"];
  for (const [name, page] of Object.entries(pages)) {
    const rows = await shown(page, "by firefox");
    assert.equal(rows.length, expected.length, name);
    rows.forEach(([, text], at) => assert.ok(text.includes(expected[at]), `${name}: row ${at} is ${text}`));
    await page.waitForFunction(() => /\d/.test(document.querySelector("#rtt").textContent));
    assert.deepEqual(page.complaints, [], name);
    await shoot(page, `page-${name}`);
  }
  const order = await Promise.all(Object.values(pages).map(async (page) => (await shown(page, "by firefox")).map(([eid]) => eid)));
  assert.deepEqual(order[0], order[1]);
});

for (const name of ["chromium", "firefox"]) {
  test(`the page works from the keyboard alone: ${name}`, async () => {
    const page = await open(name, `#channel=keys-${name}&from=all`);
    await reach(page, "data");
    await page.keyboard.down("Control");
    await page.keyboard.press("a");
    await page.keyboard.up("Control");
    await page.keyboard.type("typed, not clicked");
    await page.keyboard.press("Enter");
    const rows = await shown(page, "typed, not clicked");
    assert.equal(rows.length, 1);
    await reach(page, "publish");
    const outlined = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== "none" || style.boxShadow !== "none";
    });
    assert.ok(outlined, "the focus cannot be seen");
    await page.close();
  });

  test(`the page follows the session through a restart: ${name}`, async () => {
    const page = await open(name, `#channel=restart-${name}&from=all`);
    await realm.kill();
    await page.waitForFunction(() => document.querySelector("#state").dataset.state !== "open");
    await realm.up();
    await page.waitForSelector("#state[data-state=open]");
    await realm.cli(["publish", `restart-${name}`, "after the restart"]);
    await shown(page, "after the restart");
    await page.close();
  });

  for (const scheme of ["light", "dark"]) {
    test(`the page is ${scheme} where the system is: ${name}`, async () => {
      const page = await open(name, `#channel=looks-${name}-${scheme}&from=all`, scheme);
      for (let at = 0; at < 12; at++) await realm.cli(["publish", `looks-${name}-${scheme}`, `{"price":${at}.50}`]);
      await shown(page, '"price":11.50');
      const [red, green, blue] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      const brightness = (red + green + blue) / 3;
      assert.ok(scheme === "dark" ? brightness < 96 : brightness > 160, `the background's brightness is ${brightness}`);
      await shoot(page, `page-${name}-${scheme}`);
      await page.setViewport({ width: 390, height: 844 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${overflow} pixels stick out of a phone's screen`);
      await shoot(page, `page-${name}-${scheme}-phone`);
      await page.close();
    });
  }
}

/** Presses Tab until the element with this id has the focus. */
async function reach(page, id) {
  for (let presses = 0; presses < 60; presses++) {
    if (await page.evaluate((wanted) => document.activeElement?.id === wanted, id)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`60 presses of Tab do not reach #${id}`);
}

for (const name of ["chromium", "firefox"]) {
  test(`the page carries the session over the transport that a person picks, and misses nothing: ${name}`, async () => {
    const channel = `picked-${name}`;
    const page = await open(name, `#channel=${channel}&from=all`);
    const picks = ["long-poll", "http-stream", "jsonp-poll", "iframe-stream", "event-source", "websocket", ""];
    for (const pick of picks) {
      await page.click(`#transports input[value="${pick}"]`);
      const live = await page.waitForFunction(
        (wanted) => {
          const shown = document.querySelector("#transports label[data-live] input")?.value;
          return document.querySelector("#state").dataset.state === "open" && (wanted === "" ? shown : shown === wanted && shown);
        },
        {},
        pick,
      );
      assert.equal(await page.$eval("#transport", (shown) => shown.textContent), await live.jsonValue());
      await realm.cli(["publish", channel, `over ${pick || "any"}.`]);
      await shown(page, `over ${pick || "any"}.`);
    }
    const rows = await shown(page, "over any.");
    assert.deepEqual(rows.map(([, text]) => /over (.*)\./.exec(text)[1]), picks.map((pick) => pick || "any"));
    assert.equal(await page.$$eval("#events [data-gap]", (gaps) => gaps.length), 0);
    await page.close();
  });

  test(`tabs that share a session have one link between them: ${name}`, async () => {
    browsers[`${name} `] ??= await launch(name);
    const channel = `shared-${name}`;
    const alone = await Realm.start();
    const tabs = [];
    for (let tab = 0; tab < 3; tab++) {
      const page = await browsers[`${name} `].newPage();
      await page.goto(`${alone.url}/healthz`);
      await page.evaluate(async (script, wanted) => {
        const { connect } = await import(script);
        globalThis.heard = [];
        globalThis.session = connect({ shared: true });
        session.subscribe(wanted, ({ data }) => heard.push(data), { from: "all" });
      }, alone.address("client-shared.js"), channel);
      await page.waitForFunction(() => session.state === "open");
      tabs.push(page);
    }
    await Promise.all(tabs.map((page, at) => page.evaluate((wanted, text) => session.publish(wanted, text), channel, `by tab ${at}`)));
    const heard = [];
    for (const page of tabs) {
      await page.waitForFunction(() => heard.length === 3);
      heard.push(await page.evaluate(() => heard));
    }
    assert.deepEqual([...heard[0]].sort(), ["by tab 0", "by tab 1", "by tab 2"]);
    assert.deepEqual(heard[1], heard[0]);
    assert.deepEqual(heard[2], heard[0]);
    assert.equal(await links(alone), 1);
    for (const page of tabs) await page.close();
    await alone.end();
  });
}

/** Links that are open at a realm. */
async function links({ url }) {
  const text = await (await fetch(`${url}/metrics`)).text();
  return [...text.matchAll(/^throughline_links_open\{[^}]*\} (\d+)$/gm)].reduce((sum, [, open]) => sum + Number(open), 0);
}
