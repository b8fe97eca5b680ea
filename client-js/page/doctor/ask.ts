// One request and its whole answer, and what went wrong with it.

import type { Answer } from "./observations.js";
import type { Ask, Means } from "./means.js";
import type { Head } from "./wire.js";

/** Characters of a foreign answer that are kept: enough to know who wrote it. */
const BODY_CHARS_MAX = 400;
/** Names that every answer of the realm may have, or that say nothing about who is on the way. */
const ORDINARY = ["throughline", "server", "via", "content-encoding"];
/** The realm's own mark. */
export const MARKER = "throughline";

/** Where and how things are tried. */
export interface Scene {
  readonly means: Means;
  /** The realm's address, without a slash at its end. */
  readonly url: string;
  readonly limits: Limits;
}

/** How long things may take, and how much is tried. */
export interface Limits {
  /** What an answer, a handshake or a message may take, milliseconds. */
  readonly silent_ms: number;
  /** How long a poll is held, seconds. */
  readonly hold_s: number;
  /** How long nothing passes, seconds. */
  readonly idle_s: number;
}

export interface Asked {
  readonly url: string;
  readonly fault?: string | undefined;
  readonly detail?: string | undefined;
  readonly answer?: Answer | undefined;
  readonly head_ms?: number | undefined;
  readonly after_ms?: number | undefined;
  /** Until the answer was complete. */
  readonly whole_ms: number;
  readonly text: string;
}

/** The address of something below the realm, unlike every other. */
export function addressOf({ means, url }: Scene, path: string, query: Readonly<Record<string, string | number>> = {}): string {
  const all = new URLSearchParams({ u: means.unique() });
  for (const [name, value] of Object.entries(query)) all.append(name, String(value));
  return `${url}/throughline/v1/${path}?${all.toString()}`;
}

/** Asks, and waits for the whole answer: its head and its body may each take `within` milliseconds. */
export async function ask(scene: Scene, url: string, how: Ask = {}, within = scene.limits.silent_ms): Promise<Asked> {
  const wire = scene.means.request(url, how);
  let head: Head | undefined;
  let head_ms: number | undefined;
  let text = "";
  const result = (fault?: string, detail?: string): Asked => {
    const after_ms = fault === undefined ? undefined : wire.elapsed;
    return { url, fault, detail, answer: head && answerOf(head, text), head_ms, after_ms, whole_ms: wire.elapsed, text };
  };
  try {
    for (;;) {
      const happening = await wire.next((head_ms ?? 0) + within);
      if (happening === undefined) return result(head === undefined ? "silent" : "mute");
      if (happening.kind === "data") text += happening.text;
      else if (happening.kind === "open") [head, head_ms] = [happening.head, happening.at];
      else if (!happening.complete) return head === undefined ? result("failed", happening.detail) : result("cut");
      else return head !== undefined && isGood(head) ? result() : result("answered");
    }
  } finally {
    wire.close();
  }
}

/** It is the realm's own, and no refusal. */
export function isGood({ status, headers }: Head): boolean {
  return status >= 200 && status < 300 && headers.has(MARKER);
}

export function answerOf({ status, headers }: Head, text: string): Answer {
  const ours = headers.has(MARKER);
  const { code, message } = (ours && status >= 400 ? json<{ readonly error?: { readonly code?: string; readonly message?: string } }>(text)?.error : undefined) ?? {};
  const names = [...headers.keys()].filter((name) => !ORDINARY.includes(name)).sort();
  const kept = ours || text === "" ? undefined : text.slice(0, BODY_CHARS_MAX);
  const [server, via, encoding] = ["server", "via", "content-encoding"].map((name) => headers.get(name));
  return { status, ours, server, via, encoding, code, message, headers: names, body: kept };
}

/** Undefined when it is no JSON. */
export function json<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}
