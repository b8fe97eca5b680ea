// The page's doctor on a path: what it says, without what differs from run to run.

import { hostname } from "node:os";

const DONE_MS_MAX = 90_000;
/** What browsers say of connections that fail: that is what is examined here. */
const EXPECTED = /Cross-Origin Request Blocked|establish a connection|was interrupted|Unexpected token '<'|expected expression, got '<'/;

/** Opens the doctor's view; fails later on whatever the page complains about. */
export async function openDoctor(context, url, { idle = 3, hold = 2 } = {}) {
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => EXPECTED.test(String(error)) || page.complaints.push(String(error)));
  await page.goto(`${url}/#doctor&idle=${idle}&hold=${hold}`);
  await page.waitForSelector("#examine:not([disabled])");
  return page;
}

/** Presses the button, which a tab behind others has no pointer for, and waits for the verdict; gives what "Copy as JSON" would. */
export async function examine(page) {
  await page.$eval("#examine", (button) => button.click());
  return examined(page);
}

/** Waits for the verdict. */
export async function examined(page) {
  await page.waitForSelector("#doctor[data-done]", { timeout: DONE_MS_MAX }).catch(async (error) => {
    const rows = await page.$$eval("#tried tr[data-check]", (all) => all.map(({ dataset }) => `${dataset.check}: ${dataset.state}`));
    throw new Error(`${error.message}: ${rows.join(", ")}`);
  });
  return JSON.parse(await page.$eval("#json", (json) => json.textContent));
}

/** The page's words: verdict, findings, and the outcome of each check. */
export async function said(page, url) {
  const told = await page.evaluate(() => {
    const text = (root, selector) => root.querySelector(selector)?.textContent;
    const findings = [...document.querySelectorAll("#findings > li")].map((row) => ({
      code: row.dataset.code,
      severity: row.dataset.severity,
      sentence: text(row, ".what strong"),
      fix: text(row, ".fix"),
      line: text(row, ".line code"),
      of: text(row, ".line figcaption"),
    }));
    const outcomes = Object.fromEntries([...document.querySelectorAll("#tried tr[data-check]")].map((row) => [row.dataset.check, text(row, ".outcome")]));
    return { verdict: text(document, "#verdict-text"), works: document.querySelector("#verdict").dataset.works, findings, outcomes };
  });
  return steady(told, url);
}

/** Without ports, versions, host names, measured times; and without delays, which a busy machine adds. */
function steady(told, url) {
  const { host } = new URL(url);
  const text = JSON.stringify(told)
    .replaceAll(host, "REALM")
    .replaceAll(hostname(), "HOST")
    .replace(/\b\d[\d,]* ms\b/g, "N ms")
    .replace(/about \d+ bytes/g, "about N bytes")
    .replace(/\b(squid|nginx|lighttpd|tinyproxy|Varnish)\/[\d.]+/g, "$1/N")
    .replace(/(Apache)\/[\d.]+( \(\w+\))?/g, "$1/N");
  const { findings, outcomes, ...rest } = JSON.parse(text);
  // Names of headers have the letter case of their arrival only in the first request of a connection.
  for (const finding of findings) if (finding.code === "headers-changed") finding.sentence = finding.sentence.toLowerCase();
  const calm = Object.entries(outcomes).map(([check, outcome]) => [check, outcome === "delayed" ? "one by one" : outcome]);
  return { ...rest, findings: findings.filter(({ code }) => code !== "stream-delayed"), outcomes: Object.fromEntries(calm) };
}
