// The three streams: what comes down, and what is said of their end.

import { describe, expect, test } from "vitest";
import { eventSource } from "../../src/transports/event-source.js";
import { httpStream } from "../../src/transports/http-stream.js";
import { iframeStream } from "../../src/transports/iframe-stream.js";
import { URL_BYTES_MAX } from "../../src/transports/requests.js";
import { CONNECT, FakeWeb, PING, Source, open } from "./fake.js";

const WELCOME = '{"type":"welcome"}';

describe("http-stream", () => {
  test("messages come by lines, however the answer is cut", async () => {
    const body = `${" ".repeat(100)}\n${WELCOME}\n{"a":"é😀"}\n\n{"b":2}\n`;
    for (let at = 0; at <= body.length; at += 1) {
      const { web, messages, log, link } = open(httpStream);
      web.one("stream").head().part(body.slice(0, at)).part(body.slice(at));
      expect(messages).toEqual([WELCOME, '{"a":"é😀"}', '{"b":2}']);
      expect(log).toEqual(["opened"]);
      expect(link.receivedBytes).toBe(body.length);
    }
  });

  test.each([
    ["no answer", 0, true, false, "", [1006, "no answer came", "refused"]],
    ["a proxy's 502", 502, false, true, "<html>", [1006, "a proxy or another server answered 502", "refused"]],
    ["a page of somebody else", 200, false, true, "<html>", [1006, "a proxy or another server answered 200", "refused"]],
    ["407", 407, false, true, "", [1006, "a proxy or another server answered 407", "authentication"]],
    ["a refused origin", 403, true, true, '{"error":{"code":"bad_origin","message":"no"}}', [1006, "no", "origin"]],
    ["a realm that is full", 503, true, true, '{"error":{"code":"overloaded","message":"full"}}', [4100, "full", undefined]],
  ] as const)("%s", async (_name, status, ours, complete, text, end) => {
    const { web, log } = open(httpStream);
    const request = web.one("stream");
    if (status > 0) request.head(status, ours).part(text);
    request.end(complete);
    expect(log).toEqual([end]);
    await web.run(60_000);
    expect(web.open("uplink")).toHaveLength(0);
    expect(web.world.timers).toBe(0);
  });

  test.each([
    ["cleanly after 10 s", true, 10_000, "rotated"],
    ["cleanly before", true, 9_999, undefined],
    ["in the middle", false, 20_000, undefined],
  ] as const)("a stream that ends %s", async (_name, complete, after, failure) => {
    const { web, log } = open(httpStream);
    web.one("stream").head().part(`${WELCOME}\n`);
    await web.run();
    web.one("uplink").taken();
    await web.run(after);
    web.one("stream").end(complete);
    expect(log.at(-1)).toEqual([1006, complete ? "the stream ended" : "the stream broke", failure]);
  });

  test.each(["without a head", "with its head", "with its padding"])("a stream that is held back %s is found out 3 s after the realm took the probe", async (how) => {
    const { web, log } = open(httpStream);
    await web.run();
    if (how !== "without a head") web.one("stream").head();
    if (how === "with its padding") web.one("stream").part(`${" ".repeat(2047)}\n`);
    web.one("uplink").taken();
    await web.run(2_999);
    expect(log).toEqual(how === "without a head" ? [] : ["opened"]);
    await web.run(1);
    expect(log.at(-1)).toEqual([1006, "the stream is held back", "buffered"]);
    expect(web.open("stream")).toHaveLength(0);
  });

  test("it takes XMLHttpRequest where fetch gives no streams, and then rotates sooner", async () => {
    const web = new FakeWeb();
    const whole = httpStream(web).rotateBytes;
    web.stream = undefined;
    expect(httpStream(web).rotateBytes).toBeLessThan(whole);
    const { messages } = open(httpStream, {}, web);
    web.one("stream").head().part(`${WELCOME}\n`);
    expect(messages).toEqual([WELCOME]);
    web.xhr = undefined;
    expect(httpStream(web).available()).toBe(false);
  });

  test("cookies go along when they are asked for", async () => {
    for (const credentials of [true, false]) {
      const { web } = open(httpStream, { credentials });
      await web.run();
      expect([web.one("stream").credentials, web.one("uplink").credentials]).toEqual([credentials, credentials]);
    }
  });
});

describe("event-source", () => {
  const source = (): Source => {
    const last = Source.all.at(-1);
    if (last === undefined) throw new Error("there is no EventSource");
    return last;
  };

  test("a message per event", async () => {
    const { web, messages, log, link } = open(eventSource, { credentials: true });
    expect(Object.fromEntries(source().url.searchParams)).toMatchObject({ as: "event-stream", n: "1", m: `${CONNECT}\n` });
    expect(source().withCredentials).toBe(true);
    await web.run();
    expect(web.one("uplink").body).toBe(`${PING}\n`);
    source().onopen?.();
    source().onmessage?.({ data: WELCOME });
    expect([messages, log]).toEqual([[WELCOME], ["opened"]]);
    expect(link.receivedBytes).toBe(WELCOME.length);
  });

  test("it does not come back by itself", () => {
    const { log } = open(eventSource);
    source().onopen?.();
    source().onerror?.();
    expect(source().closed).toBe(true);
    expect(log).toEqual(["opened", [1006, "the stream broke", undefined]]);
  });

  test("what the address does not hold follows by POST", async () => {
    const subscribe = `{"type":"subscribe","id":1,"channel":"${"c".repeat(2_500)}"}`;
    const { web } = open(eventSource, { first: [CONNECT, subscribe] });
    await web.run();
    expect(source().url.href.length).toBeLessThanOrEqual(URL_BYTES_MAX);
    const said = `${source().url.searchParams.get("m")}${web.one("uplink").body}`;
    expect(said).toBe(`${CONNECT}\n${subscribe}\n${PING}\n`);
    expect(web.one("uplink").query("n")).toBe("2");
  });
});

describe("iframe-stream", () => {
  test("a message per post of its own frame", async () => {
    const { web, messages, log } = open(iframeStream);
    await web.run();
    expect(Object.fromEntries(web.frame.url.searchParams)).toMatchObject({ as: "script", origin: "https://page.test", n: "1", m: `${CONNECT}\n` });
    expect(web.one("uplink").body).toBe(`${PING}\n`);
    web.frame.post({});
    expect([messages, log]).toEqual([[PING.replace("ping", "pong")], ["opened"]]);
  });

  test.each([
    ["another window", { source: {} }],
    ["another origin", { origin: "https://evil.test" }],
    ["another link", { data: { throughline: "f".repeat(32), data: WELCOME } }],
    ["something else", { data: "hello" }],
    ["nothing", { data: null }],
    ["no text", { data: { throughline: "1".padStart(32, "0"), data: { type: "welcome" } } }],
  ])("posts from %s are ignored", async (_name, post) => {
    const { web, messages, log } = open(iframeStream);
    await web.run();
    web.frame.post(post);
    expect([messages, log]).toEqual([[], []]);
  });

  test("it waits until the page is loaded, which it would otherwise hinder", async () => {
    const web = new FakeWeb();
    const loaded = web.loading();
    const { link } = open(iframeStream, {}, web);
    const other = open(iframeStream, {}, web);
    await web.run(1_000);
    expect([web.frames, web.requests]).toEqual([[], []]);
    other.link.close(1000, "");
    loaded();
    await web.run();
    expect(web.frames).toHaveLength(1);
    link.close(1000, "");
    expect(web.frame.removed).toBe(true);
  });

  test("the end of its document is the end of the link, after what was posted before", async () => {
    const { web, messages, log } = open(iframeStream);
    await web.run();
    web.frame.ended();
    web.frame.post({});
    expect(messages).toHaveLength(1);
    await web.run(100);
    expect(log).toEqual(["opened", [1006, "the stream broke", undefined]]);
    expect(web.frame.removed).toBe(true);
  });

  test("a frame that shows something else is a refusal", async () => {
    const { web, log } = open(iframeStream);
    await web.run();
    web.frame.ended();
    await web.run(100);
    expect(log).toEqual([[1006, "no answer came", "refused"]]);
  });

  test("there is none without a page", () => {
    const web = new FakeWeb();
    expect(iframeStream(web).available()).toBe(true);
    web.page = undefined;
    expect(iframeStream(web).available()).toBe(false);
  });
});
