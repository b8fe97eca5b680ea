// Virtual time, seeded chance, and links that can be cut at any moment.

import type { Environment } from "../src/environment.js";
import type { Frame } from "../src/messages.js";
import type { LinkHandlers, Transport } from "../src/transports/transport.js";

/** mulberry32: the same seed gives the same numbers. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The far end of a link, as a server sees it. */
export interface Peer {
  /** Set by the server. */
  onFrame: (frame: Frame) => void;
  onGone: () => void;
  send(frame: Frame): void;
  /** Closes with a code that the client is told, after what was sent. */
  close(code: number, reason?: string): void;
  /** Breaks the link: what is on its way is lost, both ends learn of it. */
  cut(): void;
  readonly alive: boolean;
  /** How the client closed it. */
  readonly closed: { readonly code: number; readonly reason: string } | undefined;
}

export class World {
  time = 0;
  /** Round trips take twice this; changed by tests. */
  latency = (): number => 1;
  accept: (peer: Peer) => void = () => undefined;
  /** What `open` does: `accept`, `refuse` (closed before it opened) or `swallow` (nothing ever comes). */
  door: "accept" | "refuse" | "swallow" = "accept";
  peers: Peer[] = [];
  hint: () => void = () => undefined;

  readonly random: () => number;
  readonly environment: Environment;
  #timers: { at: number; order: number; call: () => void }[] = [];
  #order = 0;

  constructor(seed = 1) {
    this.random = seeded(seed);
    this.environment = {
      transport: this.#transport(),
      place: { script: undefined, page: "http://realm.test/" },
      now: () => this.time,
      random: this.random,
      after: (ms, call) => this.at(this.time + ms, call),
      watch: (call) => {
        this.hint = call;
        return () => {
          this.hint = () => undefined;
        };
      },
    };
  }

  /** Timers that wait. */
  get timers(): number {
    return this.#timers.length;
  }

  at(at: number, call: () => void): () => void {
    const timer = { at, order: (this.#order += 1), call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer);
    };
  }

  /** Lets `ms` pass, and whatever falls due in them happen, promises included. */
  async run(ms: number): Promise<void> {
    const end = this.time + ms;
    await settle();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.time = Math.max(this.time, next.at);
      next.call();
      await settle();
    }
    this.time = end;
  }

  get peer(): Peer {
    const peer = this.peers.at(-1);
    if (peer === undefined) throw new Error("no link was opened yet");
    return peer;
  }

  #next(end: number): { at: number; order: number; call: () => void } | undefined {
    const due = this.#timers.filter((t) => t.at <= end);
    return due.sort((a, b) => a.at - b.at || a.order - b.order)[0];
  }

  #transport(): Transport {
    return {
      name: "websocket",
      binary: true,
      rotateBytes: Infinity,
      available: () => true,
      open: (_base, handlers) => {
        const peer = new Wire(this, handlers);
        this.peers.push(peer);
        if (this.door === "accept") {
          this.at(this.time + this.latency(), () => peer.arrive());
        } else if (this.door === "refuse") {
          this.at(this.time + this.latency(), () => peer.cut());
        }
        return { receivedBytes: 0, send: (frame) => peer.up(frame), close: (code, reason) => peer.left(code, reason) };
      },
    };
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 12; i += 1) await Promise.resolve();
}

class Wire implements Peer {
  onFrame: (frame: Frame) => void = () => undefined;
  onGone: () => void = () => undefined;
  alive = true;
  closed: { readonly code: number; readonly reason: string } | undefined;
  readonly #world: World;
  readonly #handlers: LinkHandlers;
  /** Frames of one direction stay in order. */
  #upAt = 0;
  #downAt = 0;

  constructor(world: World, handlers: LinkHandlers) {
    this.#world = world;
    this.#handlers = handlers;
  }

  arrive(): void {
    if (!this.alive) return;
    this.#world.accept(this);
    this.#handlers.opened();
  }

  up(frame: Frame): void {
    this.#upAt = Math.max(this.#upAt, this.#world.time + this.#world.latency());
    this.#world.at(this.#upAt, () => this.alive && this.onFrame(frame));
  }

  send(frame: Frame): void {
    this.#down(() => this.#handlers.message(frame));
  }

  close(code: number, reason = ""): void {
    this.#down(() => {
      this.alive = false;
      this.#handlers.closed(code, reason);
      this.onGone();
    });
  }

  cut(): void {
    if (!this.alive) return;
    this.alive = false;
    this.onGone();
    this.#handlers.closed(1006, "");
  }

  left(code: number, reason: string): void {
    this.closed = { code, reason };
    this.alive = false;
    this.onGone();
  }

  #down(call: () => void): void {
    this.#downAt = Math.max(this.#downAt, this.#world.time + this.#world.latency());
    this.#world.at(this.#downAt, () => this.alive && call());
  }
}
