// Checks that go on for a while: streamed answers, WebSockets, silence, sessions.

import { type Scene, addressOf, answerOf, ask, isGood, json } from "./ask.js";
import type { Diagnosis, Seen, Trial } from "./observations.js";
import { trial } from "./requests.js";
import type { Head, Wire } from "./wire.js";

export type StreamKind = "chunk" | "sse" | "iframe";

/** Messages of a stream, their distance in milliseconds, and their bytes: enough for the blocks of common proxies to show. */
export const STREAM = { n: 36, gap: 100, size: 1_024 };
/** What comes within so many milliseconds came at once. */
const AT_ONCE_MS = 20;
/** Bytes of the messages that a WebSocket has to bring back. */
const ECHOES = [16, 1_024, 16, 65_536, 16];
/** Bytes of an answer that is none of a realm's which are waited for. */
const FOREIGN_BYTES_MAX = 65_536;
const PROTOCOL = "throughline.v1";

interface Told {
  readonly n: number;
  readonly at: number;
}

/** The messages of a stream as they come. */
class Messages {
  readonly arrivals: [at: number, came: number][] = [];
  #rest = "";
  #foreign = "";

  /** Lines, whole or not. */
  lines(text: string, came: number): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") this.message(line, came);
  }

  message(text: string, came: number): void {
    const told = json<Told>(text);
    if (typeof told?.n !== "number" || typeof told.at !== "number") return;
    const last = this.arrivals.at(-1)?.[1];
    this.arrivals.push([told.at, last !== undefined && came - last < AT_ONCE_MS ? last : came]);
  }

  /** Keeps what a foreign answer says; true when that is enough. */
  foreign(text: string): boolean {
    this.#foreign += text;
    return this.#foreign.length > FOREIGN_BYTES_MAX;
  }

  get said(): string {
    return this.#foreign;
  }
}

interface Query {
  readonly n: number;
  readonly gap: number;
  readonly size: number;
}

function streamUrl(scene: Scene, kind: StreamKind, query: Query): string {
  const origin = kind === "iframe" ? { origin: scene.means.origin } : {};
  return addressOf(scene, "probe/stream", { type: kind, ...query, ...origin });
}

function openStream(scene: Scene, kind: StreamKind, query: Query): Wire {
  const { means } = scene;
  const url = streamUrl(scene, kind, query);
  return kind === "chunk" ? means.request(url) : kind === "sse" ? means.events(url) : means.frame(url);
}

interface Heard {
  readonly messages: Messages;
  readonly fault?: string | undefined;
  readonly detail?: string | undefined;
  readonly head?: Head | undefined;
  readonly head_ms?: number | undefined;
}

/** Hears a stream until it has said so much, ends, or is silent for too long. */
async function hear(wire: Wire, kind: StreamKind, count: number, within: number): Promise<Heard> {
  const messages = new Messages();
  let head: Head | undefined;
  let head_ms: number | undefined;
  const failed = (fault: string, detail?: string): Heard => ({ messages, head, head_ms, fault, detail });
  for (;;) {
    const happening = await wire.next(within);
    // A frame whose document was cut is not told of it: what had begun and did not end was cut.
    if (happening === undefined && kind === "iframe" && messages.arrivals.length > 0) return failed("cut");
    if (happening === undefined) return failed(head_ms === undefined && messages.arrivals.length === 0 ? "silent" : "mute");
    const bad = head !== undefined && !isGood(head);
    if (happening.kind === "open") [head, head_ms] = [happening.head, happening.at];
    else if (happening.kind === "data") {
      if (bad ? messages.foreign(happening.text) : false) return failed("answered");
      if (kind === "chunk") messages.lines(happening.text, happening.at);
      else messages.message(happening.text, happening.at);
      if (messages.arrivals.length >= count) return { messages, head, head_ms };
    } else if (bad) return failed("answered");
    else return failed(head_ms === undefined && messages.arrivals.length === 0 ? "failed" : "cut", happening.detail);
  }
}

/** A stream of small messages: whether they come one by one. */
export async function stream(scene: Scene, kind: StreamKind): Promise<Trial> {
  const made = await streamOf(scene, kind);
  if (kind === "chunk" || (made.fault !== "failed" && made.fault !== "silent")) return made;
  // Neither frames nor event sources say what was answered to them; a plain request for the same does.
  const asked = await ask(scene, streamUrl(scene, kind, { n: 1, gap: 0, size: STREAM.size }));
  if (asked.fault === "failed") return { ...made, fault: "failed" };
  return asked.fault === "answered" ? { ...made, fault: "answered", answer: asked.answer } : made;
}

async function streamOf(scene: Scene, kind: StreamKind): Promise<Trial> {
  const wire = openStream(scene, kind, STREAM);
  try {
    const { messages, fault, detail, head, head_ms } = await hear(wire, kind, STREAM.n, STREAM.n * STREAM.gap + scene.limits.silent_ms);
    const { arrivals } = messages;
    const answer = head && answerOf(head, messages.said);
    const after_ms = fault === undefined ? undefined : fault === "cut" ? (arrivals.at(-1)?.[1] ?? wire.elapsed) : wire.elapsed;
    const made = trial(scene, "stream", kind, { fault, detail: fault === "cut" ? undefined : detail, answer, head_ms, after_ms });
    return { ...made, first_ms: arrivals[0]?.[1], size: STREAM.size, arrivals: arrivals.length > 0 ? arrivals : undefined };
  } finally {
    wire.close();
  }
}

/** A stream that says one word, and after a long silence another. */
export async function idleStream(scene: Scene): Promise<Trial> {
  const { idle_s, silent_ms } = scene.limits;
  const wire = openStream(scene, "chunk", { n: 2, gap: idle_s * 1_000, size: 64 });
  try {
    const { messages, fault } = await hear(wire, "chunk", 2, idle_s * 1_000 + silent_ms);
    const lost = fault === "mute" ? "silent" : fault;
    const after_ms = fault === undefined ? undefined : wire.elapsed;
    return { ...trial(scene, "idle", "stream", { fault: lost, after_ms }), first_ms: messages.arrivals[0]?.[1], idle_s };
  } finally {
    wire.close();
  }
}

interface Greeted {
  readonly wire: Wire;
  readonly id: string;
  readonly seen?: Seen | undefined;
  readonly head_ms?: number | undefined;
  readonly first_ms?: number | undefined;
  readonly fault?: string | undefined;
  readonly detail?: string | undefined;
}

/** Opens a WebSocket and waits for the realm's hello. */
async function greet(scene: Scene, secure: boolean): Promise<Greeted> {
  const id = scene.means.unique();
  const base = { ...scene, url: scene.url.replace(/^https?/, secure ? "wss" : "ws") };
  const wire = scene.means.socket(addressOf(base, "probe/websocket", { hello: 1, id }), PROTOCOL);
  const opened = await wire.next(scene.limits.silent_ms);
  if (opened === undefined) return { wire, id, fault: "silent" };
  if (opened.kind !== "open") return { wire, id, fault: "failed", detail: opened.kind === "end" ? opened.detail : undefined };
  const head_ms = opened.at;
  const hello = await wire.next(head_ms + scene.limits.silent_ms);
  if (hello === undefined) return { wire, id, head_ms, fault: "mute" };
  if (hello.kind !== "data") return { wire, id, head_ms, fault: "cut" };
  const seen = json<Seen>(hello.text);
  if (seen === undefined || !Array.isArray(seen.headers)) return { wire, id, head_ms, fault: "altered", detail: "its first message is no JSON" };
  return { wire, id, head_ms, first_ms: hello.at, seen };
}

/** A WebSocket: its handshake, its first message, and messages that it has to bring back as they were. */
export async function websocket(scene: Scene, secure: boolean): Promise<Trial> {
  const { wire, id, ...greeted } = await greet(scene, secure);
  try {
    const echoed = greeted.fault === undefined ? await echo(scene, wire) : greeted;
    const { fault, detail } = echoed;
    const after_ms = fault === undefined ? undefined : wire.elapsed - (fault === "cut" ? (greeted.head_ms ?? 0) : 0);
    const diagnose = fault === "failed" || fault === "silent" ? await diagnosed(scene, id) : undefined;
    const made = trial(scene, "websocket", "13", { fault, detail, head_ms: greeted.head_ms, after_ms });
    const sent = [["Sec-WebSocket-Protocol", PROTOCOL] as const];
    const round_trip_ms = "round_trip_ms" in echoed ? echoed.round_trip_ms : undefined;
    return { ...made, secure, first_ms: greeted.first_ms, round_trip_ms, sent, seen: greeted.seen, diagnose };
  } finally {
    wire.close();
  }
}

interface Echoed {
  readonly fault?: string;
  readonly detail?: string;
  readonly round_trip_ms?: number;
}

async function echo(scene: Scene, wire: Wire): Promise<Echoed> {
  let round_trip_ms: number | undefined;
  for (const size of ECHOES) {
    const text = scene.means.unique().padEnd(size, " throughline").slice(0, size);
    const began = wire.elapsed;
    wire.send(text);
    const back = await wire.next(began + scene.limits.silent_ms);
    if (back === undefined) return { fault: "mute" };
    if (back.kind !== "data") return { fault: "cut" };
    if (back.text !== text) return { fault: "altered", detail: `${back.text.length} characters came back of ${size}` };
    round_trip_ms = Math.min(round_trip_ms ?? Infinity, back.at - began);
  }
  return { ...(round_trip_ms !== undefined && { round_trip_ms }) };
}

/** What the realm says became of a handshake, if anything can be asked. */
async function diagnosed(scene: Scene, id: string): Promise<Diagnosis | undefined> {
  const asked = await ask(scene, addressOf(scene, "diagnose", { id }));
  const told = asked.fault === undefined ? json<Diagnosis>(asked.text) : undefined;
  return typeof told?.seen === "boolean" ? told : undefined;
}

/** A WebSocket in which nothing passes for a while. */
export async function idleWebsocket(scene: Scene): Promise<Trial> {
  const { idle_s, silent_ms } = scene.limits;
  const { wire, ...greeted } = await greet(scene, scene.url.startsWith("https:"));
  const told = (fault?: string): Trial => {
    const after_ms = fault === undefined ? undefined : wire.elapsed;
    return { ...trial(scene, "idle", "websocket", { fault, after_ms }), idle_s };
  };
  try {
    if (greeted.fault !== undefined) return told(greeted.fault);
    const until = wire.elapsed + idle_s * 1_000;
    if ((await wire.next(until)) !== undefined) return told("cut");
    wire.send(scene.means.unique());
    const back = await wire.next(until + silent_ms);
    return told(back === undefined ? "silent" : back.kind === "data" ? undefined : "cut");
  } finally {
    wire.close();
  }
}

/** A session over one transport, for what no probe can show. */
export async function session(scene: Scene, transport: string): Promise<Trial> {
  const wire = scene.means.session(scene.url, transport);
  try {
    const opened = await wire.next(scene.limits.silent_ms);
    const fault = opened === undefined ? "silent" : opened.kind === "open" ? undefined : "failed";
    const detail = opened?.kind === "end" ? opened.detail : undefined;
    const head_ms = opened?.kind === "open" ? opened.at : undefined;
    return trial(scene, "session", transport, { fault, detail, head_ms, after_ms: fault === undefined ? undefined : wire.elapsed });
  } finally {
    wire.close();
  }
}
