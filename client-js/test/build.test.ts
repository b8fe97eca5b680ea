// The files that the server embeds are those which these sources give, and they are small.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";

const GZIP_BYTES_MAX = { "throughline.js": 20_000, "throughline-websocket.js": 12_000 };
/** Ends a build that hangs; judges no speed. */
const SECONDS_MAX = 300;
const committed = fileURLToPath(new URL("../../crates/server/assets", import.meta.url));
const fresh = mkdtempSync(join(tmpdir(), "throughline-assets-"));

afterAll(() => rmSync(fresh, { recursive: true }));

test("the committed files are up to date, byte for byte", () => {
  execFileSync(process.execPath, [fileURLToPath(new URL("../build.mjs", import.meta.url))], { env: { ...process.env, ASSETS: fresh } });
  for (const name of ["throughline.js", "throughline-websocket.js", "throughline.iife.js", "throughline-shared.js", "throughline-worker.js", "page.js", "doctor.js", "page.css", "index.html"]) {
    const same = readFileSync(join(fresh, name)).equals(readFileSync(join(committed, name)));
    expect(same, `${name} differs: run npm run build and commit what it writes`).toBe(true);
  }
}, SECONDS_MAX * 1_000);

test.each(Object.entries(GZIP_BYTES_MAX))("%s has at most %i bytes when compressed", (name, most) => {
  expect(gzipSync(readFileSync(join(committed, name)), { level: 9 }).length).toBeLessThan(most);
});

test("nothing of it comes from elsewhere", () => {
  for (const name of ["index.html", "page.css"]) {
    const addresses = readFileSync(join(committed, name), "utf8").match(/(?:src|href|url)[=(]["']?(?:https?:)?\/[^\s"')>]*/g);
    expect(addresses, name).toBeNull();
  }
});

test("the page has no inline script and no inline style", () => {
  const html = readFileSync(join(committed, "index.html"), "utf8");
  expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/);
});

test.each(["throughline.js", "throughline.iife.js", "throughline-shared.js", "throughline-worker.js", "page.js"])("%s has every transport", (name) => {
  const script = readFileSync(join(committed, name), "utf8");
  for (const transport of ["websocket", "http-stream", "event-source", "iframe-stream", "long-poll", "jsonp-poll"]) {
    expect(script.includes(`name:"${transport}"`), transport).toBe(true);
  }
});

test("names that go over the wire are not shortened", () => {
  const script = readFileSync(join(committed, "throughline.js"), "utf8");
  for (const name of ["ack", "hold", "as", "origin", "callback", "link", "throughline"]) {
    expect(new RegExp(`[{,]"?${name}"?[:,}]|"${name}"`).test(script), name).toBe(true);
  }
});
