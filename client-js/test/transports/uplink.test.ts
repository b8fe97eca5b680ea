// What the client says over HTTP, seen from a server: pieces in order, each once, whatever is lost on the way.

import { describe, expect, test } from "vitest";
import { httpStream } from "../../src/transports/http-stream.js";
import { jsonpPoll } from "../../src/transports/jsonp-poll.js";
import { URL_BYTES_MAX } from "../../src/transports/requests.js";
import { seeded } from "../world.js";
import { BASE, CONNECT, FakeWeb, PING, type Request, type Script, open } from "./fake.js";

/** Takes pieces as PROTOCOL.md says. */
class Taker {
  n = 0;
  text = "";

  /** Whether the piece is the next one, or one that was taken. */
  take(n: number, piece: string): boolean {
    if (n === this.n + 1) {
      this.n = n;
      this.text += piece;
    }
    return n <= this.n;
  }
}

const n = (request: Request | Script): number => Number(request.query("n"));

function started(): ReturnType<typeof open> & { readonly taker: Taker } {
  const opened = open(httpStream);
  const taker = new Taker();
  taker.take(1, opened.web.one("stream").body ?? "");
  opened.web.one("stream").head().part('{"type":"welcome"}\n');
  opened.messages.length = 0;
  return { ...opened, taker };
}

describe("by POST", () => {
  test("the first flight goes with the stream, the probe as piece 2 beside it", async () => {
    const { web } = open(httpStream);
    await web.run();
    expect(web.one("stream").body).toBe(`${CONNECT}\n`);
    expect(web.one("stream").query("n")).toBe("1");
    expect(web.one("uplink").body).toBe(`${PING}\n`);
    expect(web.one("uplink").query("n")).toBe("2");
    expect(web.one("uplink").query("link")).toBe(web.one("stream").query("link"));
  });

  test("what waits goes together, one request at a time", async () => {
    const { web, link } = started();
    await web.run();
    link.send("a");
    link.send("b");
    await web.run();
    expect(web.open("uplink")).toHaveLength(1);
    web.one("uplink").taken();
    expect(web.one("uplink").body).toBe("a\nb\n");
    expect(n(web.one("uplink"))).toBe(3);
    web.one("uplink").taken();
    expect(web.open("uplink")).toHaveLength(0);
  });

  test("no two addresses are the same", async () => {
    const { web, link } = started();
    for (let i = 0; i < 5; i += 1) {
      await web.run();
      web.one("uplink").taken();
      link.send(String(i));
    }
    const urls = web.requests.map((request) => request.url.href);
    expect(new Set(urls).size).toBe(urls.length);
  });

  test("a piece whose answer was lost is repeated, and taken once", async () => {
    const random = seeded(3);
    const { web, link, log, taker } = started();
    let said = `${CONNECT}\n${PING}\n`;
    for (let i = 0; i < 200; i += 1) {
      if (random() < 0.5) {
        link.send(`{"i":${i}}`);
        said += `{"i":${i}}\n`;
      }
      await web.run(random() * 400);
      for (const request of web.open("uplink")) {
        const fate = random();
        if (fate < 0.9) expect(taker.take(n(request), request.body ?? "")).toBe(true);
        if (fate < 0.7) request.taken();
        else if (fate < 0.95) request.fail();
        else request.answer("<html>Bad Gateway", 502, false);
      }
    }
    for (let i = 0; i < 100 && taker.text !== said; i += 1) {
      for (const request of web.open("uplink")) taker.take(n(request), request.body ?? "") && request.taken();
      await web.run(3_000);
    }
    expect(log).toEqual(["opened"]);
    expect(taker.text === said).toBe(true);
  });

  test("a request without an answer is repeated after 15 s", async () => {
    const { web } = started();
    await web.run();
    const first = web.one("uplink");
    await web.run(15_500);
    expect(first.aborted).toBe(true);
    expect(n(web.one("uplink"))).toBe(n(first));
    expect(web.one("uplink").body).toBe(first.body);
  });

  test.each([0, 503])("after six failures in a row the link is given up: %i", async (status) => {
    const { web, log } = started();
    for (let i = 0; i < 6; i += 1) {
      await web.run(2_000);
      if (status === 0) web.one("uplink").fail();
      else web.one("uplink").answer("no server is available", status, false);
    }
    expect(log).toEqual(["opened", [1006, `6 tries to send failed (${status || "no answer"})`, undefined]]);
    await web.run(60_000);
    expect(web.open("uplink")).toHaveLength(0);
  });

  test("a piece that the realm has no room for is repeated until it is taken", async () => {
    const { web, log } = started();
    await web.run();
    const first = n(web.one("uplink"));
    for (let i = 0; i < 50; i += 1) {
      web.one("uplink").answer('{"error":{"code":"overloaded","message":"no more for now"}}', 503);
      await web.run(2_000);
      expect(n(web.one("uplink"))).toBe(first);
    }
    web.one("uplink").taken();
    expect(log).toEqual(["opened"]);
  });

  test("the realm need not know the link before the stream is there", async () => {
    const { web, log } = open(httpStream);
    await web.run();
    web.one("uplink").answer('{"error":{"code":"unknown_link","message":"no such link"}}', 404);
    expect(log).toEqual([]);
    web.one("stream").head();
    await web.run(300);
    expect(n(web.one("uplink"))).toBe(2);
    web.one("uplink").answer('{"error":{"code":"unknown_link","message":"no such link"}}', 404);
    expect(log).toEqual(["opened", [1006, "no such link", undefined]]);
  });

  test.each([
    ["our own 403", 403, true, [1006, "not from here", "origin"]],
    ["a proxy's 403", 403, false, [1006, "a proxy or another server answered 403", "refused"]],
    ["401", 401, false, [1006, "a proxy or another server answered 401", "authentication"]],
    ["407", 407, false, [1006, "a proxy or another server answered 407", "authentication"]],
    ["our own 413", 413, true, [1009, "not from here", undefined]],
    ["a foreign 200", 200, false, [1006, "a proxy or another server answered 200", "refused"]],
  ] as const)("%s ends the link", async (_name, status, ours, end) => {
    const { web, log } = started();
    await web.run();
    web.one("uplink").answer('{"error":{"code":"x","message":"not from here"}}', status, ours);
    expect(log).toEqual(["opened", end]);
    expect(web.open("stream")).toHaveLength(0);
  });

  test("a long message is cut into pieces between characters", async () => {
    const { web, link, taker } = started();
    const long = `a${"😀".repeat(300_000)}`;
    link.send(long);
    let pieces = 0;
    await web.run();
    while (web.open("uplink").length > 0) {
      const request = web.one("uplink");
      const piece = request.body ?? "";
      expect(piece.length).toBeLessThanOrEqual(64 * 1024);
      expect(piece).not.toMatch(/[\ud800-\udbff]$/);
      taker.take(n(request), piece);
      request.taken();
      pieces += 1;
    }
    expect(pieces).toBeGreaterThan(2);
    expect(taker.text).toBe(`${CONNECT}\n${PING}\n${long}\n`);
  });
});

test("while a long message is under way the path is known to live; whole ones say nothing of the way down", async () => {
  const moved: number[] = [];
  const web = new FakeWeb();
  const handlers = { opened: () => undefined, message: () => undefined, closed: () => undefined, moved: () => moved.push(web.now()) };
  const link = httpStream(web).open(BASE, handlers, { first: [CONNECT], probe: PING, attempt: "a", holdMs: 12_000, credentials: false });
  web.one("stream").head().part('{"type":"welcome"}\n');
  await web.run();
  web.one("uplink").taken();
  expect(moved).toHaveLength(0);
  link.send("x".repeat(150_000));
  await web.run();
  for (let i = 0; i < 3; i += 1) web.one("uplink").taken();
  expect(moved).toHaveLength(2);
});

describe("leaving", () => {
  test("the link says what waits, then close, in a beacon", async () => {
    const { web, link } = started();
    await web.run();
    web.one("uplink").taken();
    link.send("last words");
    link.close(1000, "");
    expect(web.beacons.map(({ body }) => body)).toEqual(['last words\n{"type":"close"}\n']);
    expect(web.beacons[0]?.url.searchParams.get("n")).toBe("3");
    expect(web.open("stream")).toHaveLength(0);
    await web.run(60_000);
    expect(web.open("uplink")).toHaveLength(0);
    expect(web.world.timers).toBe(0);
  });

  test("it waits for the piece that is under way", async () => {
    const { web, link } = started();
    await web.run();
    link.close(1000, "");
    expect(web.beacons).toHaveLength(0);
    web.one("uplink").taken();
    expect(web.beacons.map(({ body }) => body)).toEqual(['{"type":"close"}\n']);
  });

  test("the piece that is under way is not repeated", async () => {
    const { web, link } = started();
    await web.run();
    link.close(1000, "");
    web.one("uplink").fail();
    await web.run(60_000);
    expect(web.open("uplink")).toHaveLength(0);
    expect(web.world.timers).toBe(0);
  });

  test("it is silent when the realm closed the link, or never knew it", async () => {
    const { web, link, messages } = started();
    await web.run();
    web.one("stream").part('{"type":"close","code":4000,"reason":"drain"}\n');
    expect(messages).toHaveLength(1);
    link.close(1000, "");
    const early = open(httpStream);
    early.link.close(1000, "");
    await web.run(60_000);
    await early.web.run(60_000);
    expect([...web.beacons, ...early.web.beacons, ...early.web.open("uplink")]).toEqual([]);
  });
});

describe("by GET", () => {
  test("pieces fit into addresses and are cut between characters", async () => {
    const web = new FakeWeb();
    const { link } = open(jsonpPoll, {}, web);
    const taker = new Taker();
    const said = [`{"data":"${"é😀\u2028<\\\"&+=/%".repeat(400)}"}`, `{"base64":"${"AZ+/".repeat(3_000)}"}`];
    await web.run();
    const poll = web.script("poll");
    taker.take(n(poll), poll.query("m") ?? "");
    poll.answer('{"type":"answer","number":1,"messages":1}\n{"type":"welcome"}\n');
    for (const text of said) link.send(text);
    await web.run();
    for (;;) {
      const script = web.scripts.find((s) => s.path === "uplink" && !s.over);
      if (script === undefined) break;
      expect(script.url.href.length).toBeLessThanOrEqual(URL_BYTES_MAX);
      expect(taker.take(n(script), script.query("m") ?? "")).toBe(true);
      script.taken();
    }
    expect(taker.text).toBe(`${CONNECT}\n${PING}\n${said.join("\n")}\n`);
  });
});
