// The one place where this library touches the browser: clock, timers, chance, storage, the page's life.

import type { Place } from "./address.js";
import type { Failure, Transport } from "./transports/transport.js";
import type { Memory } from "./memory.js";
import type { Steering, SteeringOptions } from "./steering.js";

/**
 * What the page hears of: `wake`: the network may have come back, or the page was asleep; `hide`: it is put away, for
 * good or to come back with `wake`.
 */
export type Hint = "wake" | "hide";

/** What differs between the builds of this library. */
export interface Parts {
  /** All that are there, best first. */
  transports(): readonly Transport[];
  steer(options: SteeringOptions): Steering;
  /** What is known of networks from earlier sessions with the realm at `base`. */
  memory?(environment: Environment, base: URL): Memory;
  /** Asks the realm what it saw of the WebSocket attempt `id`. */
  diagnose?(environment: Environment, base: URL, id: string): Promise<{ readonly failure?: Failure; readonly detail: string } | undefined>;
}

/** What a session needs of the world; tests give their own. */
export interface Environment {
  readonly parts: Parts;
  readonly place: Place;
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Milliseconds since 1970. */
  date(): number;
  /** Uniform in 0 to 1. */
  random(): number;
  /** Calls once, after `ms`; the result cancels it. */
  after(ms: number, call: () => void): () => void;
  /** Calls with what the page hears of; the result ends that. */
  watch(call: (hint: Hint) => void): () => void;
  /** The text at `url`. */
  fetch(url: string, credentials: boolean): Promise<string>;
  /** Keeps text over pages and days; what fails there, fails in silence. */
  readonly store: { get(key: string): string | undefined; set(key: string, text: string): void };
}

let script: string | undefined;
let parts: Parts | undefined;

/** Told by the entry points, which alone can know it. */
export function setScript(address: string | undefined): void {
  script = address;
}

/** Told by the entry points, which are what differs between builds. */
export function setParts(own: Parts): void {
  parts = own;
}

function watch(call: (hint: Hint) => void): () => void {
  if (typeof addEventListener !== "function" || typeof document === "undefined") return () => undefined;
  const wake = (): void => {
    if (document.visibilityState === "visible") call("wake");
  };
  const ends = [
    listen(globalThis, "online", () => call("wake")),
    listen(globalThis, "offline", () => call("wake")),
    listen(globalThis, "pageshow", (event) => (event as PageTransitionEvent).persisted && call("wake")),
    listen(globalThis, "pagehide", () => call("hide")),
    listen(document, "visibilitychange", wake),
    listen(document, "resume", () => call("wake")),
  ];
  return () => ends.forEach((end) => end());
}

function listen(target: EventTarget, type: string, call: (event: Event) => void): () => void {
  target.addEventListener(type, call);
  return () => target.removeEventListener(type, call);
}

/** A page may be forbidden to keep anything: then the very name throws. */
function guarded<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}

/** The real one. */
export function browser(): Environment {
  if (parts === undefined) throw new Error("this build has no transports");
  const page = typeof document === "undefined" ? undefined : document.baseURI;
  return {
    parts,
    place: { script, page },
    now: () => performance.now(),
    date: () => Date.now(),
    random: () => Math.random(),
    after(ms, call): () => void {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
    watch,
    async fetch(url, credentials): Promise<string> {
      const answer = await fetch(url, { credentials: credentials ? "include" : "same-origin", cache: "no-store" });
      return answer.text();
    },
    store: {
      get: (key) => guarded(() => localStorage.getItem(key)) ?? undefined,
      set: (key, text) => guarded(() => localStorage.setItem(key, text)),
    },
  };
}
