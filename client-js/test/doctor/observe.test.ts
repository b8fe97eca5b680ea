// What the doctor tries, and what it makes of networks that are broken in known ways.

import { expect, test } from "vitest";
import type { Limits } from "../../page/doctor/ask.js";
import { fnv1a } from "../../page/doctor/fnv.js";
import { type Judgement, judge } from "../../page/doctor/judge.js";
import type { Observations, Trial } from "../../page/doctor/observations.js";
import { CHECKS, type Check, observe } from "../../page/doctor/observe.js";
import { rowOf } from "../../page/doctor/rows.js";
import { Network } from "./network.js";

const LIMITS: Limits = { silent_ms: 6_000, hold_s: 12, idle_s: 20 };

interface Outcome extends Judgement {
  readonly observations: Observations;
  readonly done: ReadonlyMap<Check, readonly Trial[]>;
  readonly codes: readonly string[];
}

async function examine(network: Network, url = "http://realm.test"): Promise<Outcome> {
  const done = new Map<Check, readonly Trial[]>();
  const hear = (progress: { readonly check: Check; readonly done: boolean; readonly trials: readonly Trial[] }): void => {
    if (progress.done) done.set(progress.check, progress.trials);
  };
  const observations = await network.until(observe({ means: network, url, limits: LIMITS }, hear));
  const judgement = judge(observations);
  return { ...judgement, observations, done, codes: judgement.findings.map(({ code }) => code) };
}

const outcomes = ({ done }: Outcome): Record<string, string> => Object.fromEntries([...done].map(([check, trials]) => [check, rowOf(check, trials).outcome]));

test("a healthy network: everything works, and no more than four connections at a time", async () => {
  const network = new Network();
  const outcome = await examine(network);
  expect(outcome.verdict).toBe("Sessions work over WebSocket, streams and long polls.");
  expect(outcome.findings).toEqual([]);
  expect([...outcome.done.keys()].sort()).toEqual([...CHECKS].sort());
  expect(Object.values(outcomes(outcome)).filter((text) => text !== "works" && text !== "one by one")).toEqual([]);
  expect(network.most).toBeLessThanOrEqual(4);
  expect(network.open).toBe(0);
  expect(network.now()).toBeLessThan(40_000);
});

test("no two requests have the same address", async () => {
  const network = new Network();
  await examine(network);
  const marks = network.asked.map(({ searchParams }) => searchParams.get("u"));
  expect(marks.every((mark) => mark !== null && mark !== "")).toBe(true);
  expect(new Set(marks).size).toBe(marks.length);
});

test("times are whole, and each round trip is that of one message", async () => {
  const { observations } = await examine(new Network());
  const websocket = observations.trials.find(({ what, secure }) => what === "websocket" && !secure);
  expect(websocket).toMatchObject({ head_ms: 20, first_ms: 20, round_trip_ms: 20 });
  const stream = observations.trials.find(({ kind }) => kind === "chunk");
  expect(stream?.arrivals).toHaveLength(36);
  expect(stream?.arrivals?.every(([at, came]) => came === at + 20)).toBe(true);
});

test("a WebSocket that fails: the realm is asked about that very handshake", async () => {
  const network = new Network();
  network.acts["socket"] = async (wire) => {
    await network.pass(20);
    wire.end(false);
  };
  const named: string[] = [];
  network.acts["diagnose"] = (wire, url) => {
    named.push(url.searchParams.get("id") ?? "");
    return network.answer(wire, { seen: true, outcome: "refused", code: "upgrade_required", upgrade: false, via: "1.1 gate" });
  };
  const outcome = await examine(network);
  const opened = network.asked.filter(({ pathname }) => pathname.endsWith("probe/websocket")).map(({ searchParams }) => searchParams.get("id"));
  expect(named.sort()).toEqual(opened.sort());
  expect(outcome.codes).toEqual(["upgrade-removed"]);
  expect(outcome.findings[0]?.sentence).toContain("Via: 1.1 gate");
  expect(outcome.done.get("idle-websocket")).toEqual([]);
});

test.each([
  ["is accepted and mute", "websocket-mute", (network: Network) => network.pass(20)],
  ["is swallowed", "upgrade-silent", (network: Network) => network.pass(90_000)],
])("a WebSocket that %s", async (_, code, before) => {
  const network = new Network();
  network.acts["socket"] = async (wire) => {
    await before(network);
    wire.open();
  };
  const outcome = await examine(network);
  expect(outcome.codes).toEqual([code]);
  expect(outcome.works).toBe(true);
  expect(outcome.done.get("idle-websocket")).toEqual([]);
});

test("a WebSocket that is cut, and one that alters", async () => {
  const cut = new Network();
  cut.acts["socket"] = async (wire) => {
    await cut.echo(wire);
    await cut.pass(30);
    wire.end(false);
  };
  expect((await examine(cut)).codes).toEqual(["websocket-cut"]);
  const altering = new Network();
  altering.acts["socket"] = async (wire) => {
    await altering.echo(wire);
    wire.send = (text) => void altering.pass(20).then(() => wire.data(text.toUpperCase()));
  };
  expect((await examine(altering)).codes).toEqual(["websocket-altered"]);
});

test.each([
  [Infinity, "stream-held", "held to the end"],
  [16_384, "stream-blocks", "held, comes in blocks"],
])("streams that are held back until %d bytes have come together", async (bytes, code, words) => {
  const network = new Network();
  network.acts["stream"] = (wire, url) => network.stream(wire, url, bytes);
  const outcome = await examine(network);
  expect(outcome.codes[0]).toBe(code);
  expect(outcome.findings[0]?.transports).toEqual(["chunk", "sse", "iframe"]);
  expect(outcomes(outcome)).toMatchObject({ chunk: words, sse: words, iframe: words, websocket: "works", poll: "works" });
});

test("a frame that fails: a plain request for the same tells why", async () => {
  const network = new Network();
  const { stream } = network.acts;
  network.acts["stream"] = (wire, url, ask) => {
    if (url.searchParams.get("type") !== "iframe") return stream?.(wire, url, ask);
    if (url.searchParams.get("n") !== "1") return wire.end(false);
    return network.answer(wire, { error: { code: "bad_origin", message: "not allowed" } }, 403);
  };
  const outcome = await examine(network);
  expect(outcome.codes).toEqual(["origin-refused"]);
  expect(outcome.findings[0]?.transports).toEqual(["iframe"]);
});

test("a frame that is cut, which nobody tells it: what had begun and does not end", async () => {
  const network = new Network();
  const { stream } = network.acts;
  network.acts["stream"] = async (wire, url, ask) => {
    if (url.searchParams.get("type") !== "iframe") return stream?.(wire, url, ask);
    await network.pass(20);
    wire.data(JSON.stringify({ type: "probe", n: 1, at: 0 }));
  };
  const outcome = await examine(network);
  expect(outcome.codes).toEqual(["stream-cut"]);
});

test("silence that is not survived", async () => {
  const network = new Network();
  network.acts["socket"] = async (wire) => {
    await network.echo(wire);
    const { send } = wire;
    wire.send = (text) => wire.elapsed < 15_000 && send(text);
  };
  const outcome = await examine(network);
  expect(outcome.codes).toEqual(["idle-dropped"]);
  expect(outcome.findings[0]?.sentence).toBe("WebSockets in which nothing passes are dropped within 20 s.");
  expect(rowOf("idle-websocket", outcome.done.get("idle-websocket") ?? [])).toMatchObject({ state: "fails", detail: "lost within 20 s" });
});

test("polls that are not waited for are tried once more, shorter", async () => {
  const network = new Network();
  network.acts["poll"] = async (wire, url) => {
    if (Number(url.searchParams.get("hold")) > 5) return network.answer(wire, "too late", 504, new Map([["server", "gate"]]));
    return network.answer(wire, {});
  };
  const outcome = await examine(network);
  expect(outcome.done.get("poll")?.map(({ hold_s, fault }) => [hold_s, fault])).toEqual([[12, "answered"], [3, undefined]]);
  expect(rowOf("poll", outcome.done.get("poll") ?? [])).toMatchObject({ state: "limited", detail: "held for 3 s, not for 12 s" });
  expect(outcome.codes).toEqual(["poll-cut"]);
});

test("bodies and addresses that are too long for something on the way", async () => {
  const network = new Network();
  const { post, inspect } = network.acts;
  network.acts["post"] = (wire, url, ask) => ((ask.body?.length ?? 0) > 10_000 ? network.answer(wire, "no", 413, new Map()) : post?.(wire, url, ask));
  network.acts["inspect"] = (wire, url, ask) => (url.href.length > 3_000 ? network.answer(wire, "no", 414, new Map()) : inspect?.(wire, url, ask));
  const outcome = await examine(network);
  expect(outcome.codes).toEqual(["body-limit", "address-limit"]);
  expect(rowOf("post", outcome.done.get("post") ?? [])).toMatchObject({ state: "limited", detail: "4,096 bytes pass, 65,536 bytes do not" });
  expect(rowOf("address", outcome.done.get("address") ?? [])).toMatchObject({ state: "limited", detail: "2,048 bytes pass, 4,096 bytes do not" });
});

test("bodies that come altered", async () => {
  const network = new Network();
  network.acts["post"] = (wire, _, { body = "" }) => network.answer(wire, { bytes: body.length, fnv1a: fnv1a(new TextEncoder().encode(`${body.slice(1)}!`)) });
  const outcome = await examine(network);
  expect(outcome.codes).toEqual(["post-altered"]);
  expect(outcome.verdict).toMatch(/^Sessions work over WebSocket; /);
});

test("a realm without probes: sessions are tried in their place", async () => {
  const network = new Network();
  network.acts["inspect"] = (wire) => network.answer(wire, { error: { code: "not_found", message: "probes are switched off" } }, 404);
  network.acts["session"] = async (wire, url) => {
    await network.pass(20);
    if (url.pathname.endsWith("websocket")) wire.end(false, "silent");
    else wire.open();
  };
  const outcome = await examine(network);
  expect(outcome.codes).toContain("probes-off");
  expect(outcomes(outcome)).toMatchObject({ websocket: "fails", chunk: "works", sse: "works", iframe: "works", poll: "works", jsonp: "works", post: "not tried" });
});

test("no realm below the prefix, but one at the root", async () => {
  const network = new Network();
  for (const kind of ["inspect", "post", "poll", "stream"]) network.acts[kind] = (wire) => network.answer(wire, "no", 404, new Map([["server", "nginx"]]));
  const { diagnose } = network.acts;
  network.acts["diagnose"] = (wire, url, ask) => (url.pathname.startsWith("/live") ? network.answer(wire, "no", 404, new Map()) : diagnose?.(wire, url, ask));
  network.acts["socket"] = (wire) => wire.end(false);
  const outcome = await examine(network, "http://realm.test/live");
  expect(outcome.findings[0]).toMatchObject({ code: "wrong-prefix", severity: "broken" });
  expect(outcome.done.get("post")).toEqual([]);
});

test("a network in which nothing is ever answered is examined in bounded time", async () => {
  const network = new Network();
  for (const kind of Object.keys(network.acts)) network.acts[kind] = () => undefined;
  const outcome = await examine(network);
  expect(outcome.works).toBe(false);
  expect(outcome.codes).toContain("http-silent");
  expect(network.now()).toBeLessThan(60_000);
  expect(network.open).toBe(0);
});

test("a network in which every request fails", async () => {
  const network = new Network();
  for (const kind of Object.keys(network.acts)) network.acts[kind] = (wire) => wire.end(false, "Failed to fetch");
  const outcome = await examine(network);
  expect(outcome.codes).toEqual(["http-lost"]);
  expect(outcome.verdict).toBe("No session gets through to http://realm.test, because no request gets through.");
});

test("an examination that is stopped ends at once and leaves nothing open", async () => {
  const network = new Network();
  network.after(1_000, () => network.stop());
  await examine(network);
  expect(network.open).toBe(0);
});

test.each([["", "cbf29ce484222325"], ["a", "af63dc4c8601ec8c"], ["foobar", "85944171f73967e8"]])("FNV-1a of %j", (text, hash) => {
  expect(fnv1a(new TextEncoder().encode(text))).toBe(hash);
});
