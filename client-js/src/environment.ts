// The one place where this library touches the browser: clock, timers, chance, the page's life.

import type { Place } from "./address.js";
import type { PathFailure } from "./failure.js";
import type { SessionCore } from "./session.js";
import type { ClientMessage } from "./messages.js";
import type { TransportName } from "./transports/transport.js";

/**
 * What the page hears of: `wake`: the network may have come back, or the page was asleep; `hide`: it is put away, for
 * good or to come back with `wake`.
 */
export type Hint = "wake" | "hide";

/** What the links of a session are made from. */
export interface LinksSetup {
  readonly environment: Environment;
  readonly base: URL;
  readonly core: SessionCore;
  /** Those that may be used; undefined: all. */
  readonly transports: readonly TransportName[] | undefined;
  /** How long a candidate may take to prove itself, milliseconds; default 8,000. */
  readonly openTimeoutMs: number | undefined;
  readonly credentials: boolean;
  /** Something came or ended: time to look what there is to do. */
  pump(): void;
  /** A link was adopted, or the one there was is gone. */
  changed(): void;
  failed(failure: PathFailure): void;
}

/** The links of a session in the real world: what opens them, and brings what comes to the session's state machine. */
export interface Links {
  /** Of the present link, or the last; undefined before the first. */
  readonly transport: TransportName | undefined;
  readonly url: string;
  readonly network: string | undefined;
  /** Heartbeat interval of the present link, milliseconds. */
  readonly heartbeat: number | undefined;
  /** Links that were adopted. */
  readonly adopted: number;
  /** Why the last link ended, or could not be opened. */
  readonly sentence: string | undefined;
  /** The last ten failures, newest last. */
  readonly failures: readonly PathFailure[];
  /** Does what is due and what the session wishes. */
  work(): void;
  deadline(): number;
  /** On the session's link. */
  send(message: ClientMessage): void;
  /** A round trip was measured. */
  rtt(rtt: number): void;
  /** The realm is stopping. */
  drain(): void;
  /** Ends all candidates. */
  stop(): void;
}

/** What differs between the builds of this library. */
export interface Parts {
  links(setup: LinksSetup): Links;
}

/** What a session needs of the world; tests give their own. */
export interface Environment {
  readonly parts: Parts;
  readonly place: Place;
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Uniform in 0 to 1. */
  random(): number;
  /** Calls once, after `ms`; the result cancels it. */
  after(ms: number, call: () => void): () => void;
  /** Calls with what the page hears of; the result ends that. */
  watch(call: (hint: Hint) => void): () => void;
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
    ...["online", "offline", "pageshow"].map((type) => listen(globalThis, type, wake)),
    ...["visibilitychange", "resume"].map((type) => listen(document, type, wake)),
    listen(globalThis, "pagehide", () => call("hide")),
  ];
  return () => ends.forEach((end) => end());
}

function listen(target: EventTarget, type: string, call: () => void): () => void {
  target.addEventListener(type, call);
  return () => target.removeEventListener(type, call);
}

/** The real one. */
export function browser(): Environment {
  const page = typeof document === "undefined" ? undefined : document.baseURI;
  return {
    // Every entry point tells them.
    parts: parts as Parts,
    place: { script, page },
    now: () => performance.now(),
    random: () => Math.random(),
    after(ms, call): () => void {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
    watch,
  };
}
