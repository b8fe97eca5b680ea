// The one place where this library touches the browser: clock, timers, chance, network hints.

import { ThroughlineError } from "./errors.js";
import type { Place } from "./address.js";
import { type SocketConstructor, websocket } from "./transports/websocket.js";
import type { Transport } from "./transports/transport.js";

/** What a session needs of the world; tests give their own. */
export interface Environment {
  readonly transport: Transport;
  readonly place: Place;
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Uniform in 0 to 1. */
  random(): number;
  /** Calls once, after `ms`; the result cancels it. */
  after(ms: number, call: () => void): () => void;
  /** Calls whenever the network may have come back; the result ends that. */
  watch(call: () => void): () => void;
}

let script: string | undefined;

/** Told by the entry points, which alone can know it. */
export function setScript(address: string | undefined): void {
  script = address;
}

function watch(call: () => void): () => void {
  if (typeof addEventListener !== "function" || typeof document === "undefined") return () => undefined;
  const visible = (): void => {
    if (document.visibilityState === "visible") call();
  };
  addEventListener("online", call);
  document.addEventListener("visibilitychange", visible);
  return () => {
    removeEventListener("online", call);
    document.removeEventListener("visibilitychange", visible);
  };
}

/** The real one. Throws when there is no WebSocket. */
export function browser(): Environment {
  const { WebSocket: Socket } = globalThis as { readonly WebSocket?: unknown };
  if (typeof Socket !== "function") {
    throw new ThroughlineError("bad_address", "there is no WebSocket here: Node has one from version 22 on, or set globalThis.WebSocket");
  }
  const page = typeof document === "undefined" ? undefined : document.baseURI;
  return {
    transport: websocket(Socket as unknown as SocketConstructor),
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
