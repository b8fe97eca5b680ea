// Polls, by request and by script tag: nothing lost or doubled when answers are, and holds that are learned.

import { describe, expect, test } from "vitest";
import { jsonpPoll } from "../../src/transports/jsonp-poll.js";
import { longPoll } from "../../src/transports/long-poll.js";
import { seeded } from "../world.js";
import { CONNECT, FakeWeb, PING, open } from "./fake.js";

const WELCOME = '{"type":"welcome"}';
const answer = (number: number, ...messages: string[]): string => [`{"type":"answer","number":${number},"messages":${messages.length}}`, ...messages, ""].join("\n");

function polling(holdMs?: number): ReturnType<typeof open> {
  const opened = open(longPoll, holdMs === undefined ? {} : { holdMs });
  opened.web.one("poll").answer(answer(1, WELCOME));
  return opened;
}

describe("long-poll", () => {
  test("the first poll says the first flight and the probe; what follows waits for its answer", async () => {
    const { web, link, messages, log } = open(longPoll);
    const first = web.one("poll");
    expect(Object.fromEntries(first.url.searchParams)).toMatchObject({ ack: "0", hold: "12000", n: "1" });
    expect(first.body).toBe(`${CONNECT}\n${PING}\n`);
    link.send("more");
    await web.run(100);
    expect(web.open("uplink")).toHaveLength(0);
    first.answer(answer(1, WELCOME, '{"type":"pong"}'));
    expect([messages, log]).toEqual([[WELCOME, '{"type":"pong"}'], ["opened"]]);
    expect(web.one("uplink").body).toBe("more\n");
    expect(web.one("uplink").query("n")).toBe("2");
    expect(web.one("poll").query("ack")).toBe("1");
    expect(web.one("poll").body).toBe("");
  });

  test("an answer that is lost is asked for again, one that comes twice is heard once", async () => {
    const random = seeded(11);
    const { web, messages, log } = polling();
    const sent = [WELCOME];
    let kept: { number: number; text: string } = { number: 1, text: answer(1, WELCOME) };
    for (let i = 0; i < 300; i += 1) {
      await web.run(3_000);
      const poll = web.one("poll");
      const ack = Number(poll.query("ack"));
      expect([kept.number, kept.number - 1]).toContain(ack);
      if (ack === kept.number) {
        const message = `{"i":${i}}`;
        sent.push(message);
        kept = { number: ack + 1, text: answer(ack + 1, message) };
      }
      const fate = i === 299 ? 0 : random();
      if (fate < 0.7) poll.answer(kept.text);
      else if (fate < 0.8) poll.answer(kept.text.slice(0, Math.floor(random() * kept.text.length)));
      else if (fate < 0.9) poll.fail();
      else poll.answer("<html>", 504, false);
    }
    expect(messages).toEqual(sent);
    expect(log).toEqual(["opened"]);
  });

  test("an answer is cut anywhere, also between lines, and asked for again", async () => {
    const { web, messages } = polling();
    const text = answer(2, '{"a":1}', '{"b":2}');
    for (let end = 0; end < text.length; end += 1) {
      web.one("poll").answer(text.slice(0, end));
      await web.run(2_000);
      expect(web.one("poll").query("ack")).toBe("1");
      if (end % 3 !== 2) continue;
      web.one("poll").answer(answer(1));
      await web.run(2_000);
    }
    web.one("poll").answer(text);
    expect(messages).toEqual([WELCOME, '{"a":1}', '{"b":2}']);
  });

  test("a hold that was survived three times grows by 4 s, up to 25 s", async () => {
    const { web, link } = polling();
    const holds: unknown[] = [];
    for (let i = 0; i < 15; i += 1) {
      const hold = Number(web.one("poll").query("hold"));
      holds.push(hold);
      await web.run(hold);
      web.one("poll").answer(answer(1));
    }
    expect(holds).toEqual([12, 12, 12, 16, 16, 16, 20, 20, 20, 24, 24, 24, 25, 25, 25].map((s) => s * 1_000));
    expect(link.holdMs).toBe(25_000);
  });

  test.each(["502", "503", "504", "cut", "silence"])("a hold that ends with %s is halved, down to 3 s", async (how) => {
    const { web, link } = polling(25_000);
    const holds: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const poll = web.one("poll");
      holds.push(Number(poll.query("hold")));
      await web.run(how === "silence" ? Number(poll.query("hold")) + 6_000 : 5_000);
      if (how === "cut") poll.fail();
      else if (how !== "silence") poll.answer("<html>", Number(how), false);
      else expect(poll.aborted).toBe(true);
      await web.run(2_000);
      // One that comes through, so that the link is not given up.
      web.one("poll").answer(answer(i + 2, WELCOME));
    }
    expect(holds).toEqual([25_000, 12_500, 6_250, 3_125, 3_000]);
    expect(link.holdMs).toBe(3_000);
  });

  test("a realm that is gone for a moment says nothing about holds; four failures in a row end the link", async () => {
    const { web, link, log } = polling();
    for (let i = 0; i < 4; i += 1) {
      while (web.open("poll").length === 0) await web.run(50);
      web.one("poll").fail();
    }
    await web.run(10_000);
    expect(link.holdMs).toBe(12_000);
    expect(log).toEqual(["opened", [1006, "4 polls in a row failed (no answer)", undefined]]);
    expect(web.open("poll")).toHaveLength(0);
  });

  test.each([
    ["nothing", 0, false, "", [1006, "the first poll failed (no answer)", "refused"]],
    ["a proxy's 504", 504, false, "", [1006, "the first poll failed (504)", "refused"]],
    ["a login page", 200, false, "<html>", [1006, "a proxy or another server answered 200", "refused"]],
    ["the realm below another path", 404, true, '{"error":{"code":"not_found","message":"no"}}', [1006, expect.stringMatching(/^the realm answered, but nothing is at this path/), undefined]],
    ["a refused origin", 403, true, '{"error":{"code":"bad_origin","message":"no"}}', [1006, "no", "origin"]],
  ] as const)("a first poll answered by %s fails at once", (_name, status, ours, text, end) => {
    const { web, log } = open(longPoll);
    if (status === 0) web.one("poll").fail();
    else web.one("poll").answer(text, status, ours);
    expect(log).toEqual([end]);
  });

  test("a realm that has forgotten the link ends it at once", () => {
    const { web, log } = polling();
    web.one("poll").answer('{"error":{"code":"unknown_link","message":"open a new link"}}', 404);
    expect(log).toEqual(["opened", [1006, "open a new link", undefined]]);
  });

  test("empty answers in haste do not make a storm of polls", async () => {
    const { web } = polling();
    const before = web.requests.length;
    for (let i = 0; i < 1_000; i += 1) {
      for (const poll of web.open("poll")) poll.answer(answer(1));
      await web.run(10);
    }
    expect(web.requests.length - before).toBeLessThan(50);
  });

  test("after its close nothing is heard or asked", async () => {
    const { web, link, messages, log } = polling();
    const poll = web.one("poll");
    link.close(1000, "");
    poll.answer(answer(2, "late"));
    await web.run(60_000);
    expect([messages, log]).toEqual([[WELCOME], ["opened"]]);
    expect(web.open("poll")).toHaveLength(0);
    expect(web.beacons.map(({ body }) => body)).toEqual(['{"type":"close"}\n']);
    expect(web.world.timers).toBe(0);
  });

  test("a link that is closed by a message closes within the same answer", () => {
    const { web, link, messages } = polling();
    web.one("poll").answer(answer(2, "a", "b"));
    expect(messages).toEqual([WELCOME, "a", "b"]);
    link.close(1000, "");
  });
});

describe("jsonp-poll", () => {
  async function scripted(): Promise<ReturnType<typeof open>> {
    const opened = open(jsonpPoll);
    await opened.web.run();
    opened.web.script("poll").answer(answer(1, WELCOME));
    return opened;
  }

  test("scripts poll and say, and nothing of them stays", async () => {
    const { web, link, messages, log } = open(jsonpPoll);
    await web.run();
    const first = web.script("poll");
    expect(Object.fromEntries(first.url.searchParams)).toMatchObject({ ack: "0", n: "1", m: `${CONNECT}\n${PING}\n` });
    first.answer(answer(1, WELCOME));
    expect([messages, log]).toEqual([[WELCOME], ["opened"]]);
    link.send("said");
    await web.run();
    expect(web.script("uplink").query("m")).toBe("said\n");
    web.script("uplink").taken();
    expect(Object.keys(web.callbacks)).toEqual([web.script("poll").query("callback")]);
    expect(web.requests).toHaveLength(0);
  });

  test("callbacks have names that the realm takes, and of their own", async () => {
    const { web, link } = await scripted();
    link.send("x");
    await web.run();
    const names = web.scripts.map((script) => script.query("callback") ?? "");
    for (const name of names) expect(name).toMatch(/^[A-Za-z_$][A-Za-z0-9_$.]{0,63}$/);
    expect(new Set(names).size).toBe(names.length);
  });

  test("a script that cannot be loaded is a poll that failed, and is repeated", async () => {
    const { web, messages } = await scripted();
    web.script("poll").end();
    await web.run(2_000);
    expect(web.script("poll").query("ack")).toBe("1");
    web.script("poll").answer(answer(2, "again"));
    expect(messages).toEqual([WELCOME, "again"]);
  });

  test("a script that comes too late finds its callback and is not heard", async () => {
    const { web, messages } = await scripted();
    const late = web.script("poll");
    await web.run(18_500);
    expect(web.scripts.filter((s) => s.path === "poll" && !s.over)).toHaveLength(2);
    late.answer(answer(2, "late"));
    expect(messages).toEqual([WELCOME]);
    expect(Object.keys(web.callbacks)).toHaveLength(1);
  });

  test.each([
    ["unknown_link", [1006, "why", undefined]],
    ["bad_origin", [1006, "why", "origin"]],
    ["draining", [4100, "why", undefined]],
  ] as const)("the error %s ends the link", async (code, end) => {
    const { web, log } = await scripted();
    web.script("poll").answer(`{"type":"error","error":{"code":"${code}","message":"why"}}\n`);
    expect(log).toEqual(["opened", end]);
  });

  test("it says close by a script", async () => {
    const { web, link } = await scripted();
    link.close(1000, "");
    expect(web.script("uplink").query("m")).toBe('{"type":"close"}\n');
    expect(web.beacons).toHaveLength(0);
    expect(new FakeWeb().beacons).toHaveLength(0);
  });
});
