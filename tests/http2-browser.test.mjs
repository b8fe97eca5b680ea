// Browsers on a page served over HTTP/2: their WebSockets travel within it, and a path that only half supports that does not stop them.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { createSecureServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { launch } from "./lib/browsers.mjs";
import { certificate } from "./lib/fronts.mjs";
import { Realm } from "./lib/realm.mjs";

const BROWSERS = (process.env.BROWSERS ?? "chromium firefox").split(" ");
const COUNT = 200;

let folder;
let keys;
let realm;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "throughline-http2-"));
  const { cert, key } = certificate(folder);
  keys = { cert: readFileSync(cert), key: readFileSync(key) };
  realm = await Realm.start({ config: `[tls]\ncertificates = ["${cert}"]\nkeys = ["${key}"]\n` });
});
after(async () => {
  await realm?.end();
  rmSync(folder, { recursive: true, force: true });
});

/** What the realm has counted under a name. */
async function counted(name) {
  const text = await (await fetch(`${realm.url.replace("https:", "http:")}/metrics`)).text();
  return Number(new RegExp(`^throughline_${name}_total (\\d+)$`, "m").exec(text)[1]);
}

/** Fields of HTTP/1 that have no place in HTTP/2. */
const HOP = ["connection", "keep-alive", "transfer-encoding", "upgrade"];

/** A proxy that speaks HTTP/2 to browsers, announces WebSocket within it, and does `refuse` when one asks for it. */
async function halfway(refuse) {
  const proxy = createSecureServer({ ...keys, settings: { enableConnectProtocol: true } });
  const sessions = new Set();
  proxy.on("session", (session) => sessions.add(session.on("error", () => {})));
  proxy.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    if (headers[":method"] === "CONNECT") return refuse(stream);
    const own = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(":")));
    const { hostname, port } = new URL(realm.url);
    const options = { hostname, port, method: headers[":method"], path: headers[":path"], headers: { ...own, host: headers[":authority"] } };
    const onward = request(options, (answer) => {
      const given = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP.includes(name)));
      if (!stream.destroyed) stream.respond({ ...given, ":status": answer.statusCode });
      answer.pipe(stream);
    });
    onward.on("error", () => stream.close());
    stream.on("close", () => onward.destroy());
    stream.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const close = () => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => proxy.close(resolve));
  };
  return { url: `https://127.0.0.1:${proxy.address().port}`, close };
}

/** Exchanges events with a page; gives the transport that carried them and the protocol that brought the page's script. */
async function exchange(browser, url, channel) {
  const page = await browser.newPage();
  try {
    await page.goto(`${url}/healthz`);
    return await page.evaluate(async (address, channel, count) => {
      const client = `${address}/throughline/v1/client.js`;
      const { Session } = await import(client);
      const session = new Session(address);
      const heard = [];
      const all = new Promise((resolve) => session.subscribe(channel, ({ data }) => heard.push(data) === count && resolve(), { from: "all" }));
      await Promise.all(Array.from({ length: count }, (_, at) => session.publish(channel, `event ${at}`)));
      await all;
      const { transport } = session.path;
      session.close();
      const protocol = performance.getEntriesByName(client)[0].nextHopProtocol;
      return { heard, transport, protocol };
    }, url, channel, COUNT);
  } finally {
    await page.close();
  }
}

const texts = Array.from({ length: COUNT }, (_, at) => `event ${at}`);
const REFUSALS = {
  "answers 502": (stream) => stream.respond({ ":status": 502 }, { endStream: true }),
  "resets the stream": (stream) => stream.close(2),
  "never answers": () => {},
  "accepts and passes nothing": (stream) => stream.respond({ ":status": 200 }),
};

for (const name of BROWSERS) {
  describe(name, () => {
    let browser;
    before(async () => (browser = await launch(name, "light", { acceptInsecureCerts: true })));
    after(() => browser?.close());

    test("WebSocket travels within HTTP/2", async () => {
      const before = await counted("http2_websockets");
      const { heard, transport, protocol } = await exchange(browser, realm.url, `within/${name}`);
      assert.deepEqual(heard, texts);
      assert.deepEqual([transport, protocol], ["websocket", "h2"]);
      assert.ok((await counted("http2_websockets")) > before, "a connection of its own carried it");
    });

    for (const [what, refuse] of Object.entries(REFUSALS)) {
      test(`a proxy that announces WebSocket within HTTP/2 and ${what}`, async () => {
        const proxy = await halfway(refuse);
        try {
          const { heard, transport } = await exchange(browser, proxy.url, `${what.replaceAll(" ", "-")}/${name}`);
          assert.deepEqual(heard, texts);
          assert.equal(transport, "http-stream");
        } finally {
          await proxy.close();
        }
      });
    }
  });
}
