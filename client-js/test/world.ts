// Virtual time, seeded chance, and links that can be cut at any moment.

import type { Environment, Hint } from "../src/environment.js";
import { Journal, type Outside } from "../src/journal.js";
import { Ladder } from "../src/ladder.js";
import { Line } from "../src/line.js";
import { LadderLinks } from "../src/links.js";
import type { Frame } from "../src/messages.js";
import type { Failure, LinkHandlers, Transport, TransportName } from "../src/transports/transport.js";

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
  cut(failure?: Failure): void;
  readonly transport: TransportName;
  /** When it was opened. */
  readonly at: number;
  readonly alive: boolean;
  /** How the client closed it. */
  readonly closed: { readonly code: number; readonly reason: string } | undefined;
}

/** What stands in the way of a transport; it may change what its links do, or end them. */
export type Fault = (wire: Wire) => void;

export interface WorldOptions {
  /** Default: WebSocket alone. */
  readonly transports?: readonly TransportName[];
  /** Without a ladder, as the build with WebSocket alone. */
  readonly solo?: boolean;
}

export class World {
  time = 0;
  /** Round trips take twice this; changed by tests. */
  latency = (): number => 1;
  accept: (peer: Peer) => void = () => undefined;
  /** What `open` does: `accept`, `refuse` (closed before it opened) or `swallow` (nothing ever comes). */
  door: "accept" | "refuse" | "swallow" = "accept";
  /** Faults by transport. */
  readonly faults = new Map<TransportName, Fault>();
  peers: Wire[] = [];
  hint: (hint?: Hint) => void = () => undefined;
  /** Requests that are no links. */
  readonly fetched: string[] = [];
  answer: (url: string) => Promise<string> = () => Promise.reject(new Error("nothing answers"));
  readonly stored = new Map<string, string>();

  readonly random: () => number;
  readonly environment: Environment;
  #timers: { at: number; order: number; call: () => void }[] = [];
  #order = 0;

  constructor(seed = 1, { transports = ["websocket"], solo = false }: WorldOptions = {}) {
    this.random = seeded(seed);
    this.environment = {
      parts: {
        links: (setup) => {
          const all = transports.map((name) => this.#transport(name));
          if (solo) return new Line(setup, all[0]);
          return new LadderLinks(setup, {
            transports: all,
            steer: (options) => new Ladder(options),
            journal: (environment, base) => new Journal(environment, base, this.#outside),
          });
        },
      },
      place: { script: undefined, page: "http://realm.test/" },
      now: () => this.time,
      random: this.random,
      after: (ms, call) => this.at(this.time + ms, call),
      watch: (call) => {
        this.hint = (hint = "wake") => call(hint);
        return () => {
          this.hint = () => undefined;
        };
      },
    };
  }

  readonly #outside: Outside = {
    date: () => 1_700_000_000_000 + this.time,
    get: (key) => this.stored.get(key),
    set: (key, text) => void this.stored.set(key, text),
    fetch: (url) => {
      this.fetched.push(url);
      return this.answer(url);
    },
  };

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

  get peer(): Wire {
    const peer = this.peers.at(-1);
    if (peer === undefined) throw new Error("no link was opened yet");
    return peer;
  }

  /** Attempts since `from`. */
  attempts(from: number): number {
    return this.peers.filter(({ at }) => at >= from).length;
  }

  #next(end: number): { at: number; order: number; call: () => void } | undefined {
    const due = this.#timers.filter((t) => t.at <= end);
    return due.sort((a, b) => a.at - b.at || a.order - b.order)[0];
  }

  #transport(name: TransportName): Transport {
    return {
      name,
      binary: name === "websocket",
      rotateBytes: name === "iframe-stream" ? 10_000 : Infinity,
      available: () => true,
      open: (_base, handlers, { first, probe }) => {
        const peer = new Wire(this, name, handlers, [...first, probe]);
        this.peers.push(peer);
        if (this.door === "accept") this.at(this.time + this.latency(), () => peer.arrive());
        if (this.door === "refuse") this.at(this.time + this.latency(), () => peer.cut());
        this.faults.get(name)?.(peer);
        return {
          get receivedBytes(): number {
            return peer.receivedBytes;
          },
          send: (frame) => peer.up(frame),
          close: (code, reason) => peer.left(code, reason),
        };
      },
    };
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 12; i += 1) await Promise.resolve();
}

export class Wire implements Peer {
  onFrame: (frame: Frame) => void = () => undefined;
  onGone: () => void = () => undefined;
  alive = true;
  closed: { readonly code: number; readonly reason: string } | undefined;
  receivedBytes = 0;
  /** Nothing opens it. */
  deaf = false;
  /** Nothing passes: up, or down. */
  mute = false;
  readonly at: number;
  readonly world: World;
  readonly transport: TransportName;
  /** Frames that the client sent. */
  readonly sent: Frame[] = [];
  readonly #handlers: LinkHandlers;
  readonly #first: readonly Frame[];
  /** Frames of one direction stay in order. */
  #upAt = 0;
  #downAt = 0;

  constructor(world: World, transport: TransportName, handlers: LinkHandlers, first: readonly Frame[]) {
    this.world = world;
    this.transport = transport;
    this.at = world.time;
    this.#handlers = handlers;
    this.#first = first;
  }

  arrive(): void {
    if (!this.alive || this.deaf) return;
    this.world.accept(this);
    this.#handlers.opened();
    for (const frame of this.#first) this.up(frame);
  }

  up(frame: Frame): void {
    this.sent.push(frame);
    this.#upAt = Math.max(this.#upAt, this.world.time + this.world.latency());
    this.world.at(this.#upAt, () => this.alive && !this.mute && this.onFrame(frame));
  }

  send(frame: Frame): void {
    this.#down(() => {
      if (this.mute) return;
      this.receivedBytes += frame.length;
      this.#handlers.message(frame);
    });
  }

  close(code: number, reason = ""): void {
    this.#down(() => {
      this.alive = false;
      this.#handlers.closed(code, reason);
      this.onGone();
    });
  }

  cut(failure?: Failure): void {
    if (!this.alive) return;
    this.alive = false;
    this.onGone();
    this.#handlers.closed(1006, "", failure);
  }

  left(code: number, reason: string): void {
    this.closed = { code, reason };
    this.alive = false;
    this.onGone();
  }

  #down(call: () => void): void {
    this.#downAt = Math.max(this.#downAt, this.world.time + this.world.latency());
    this.world.at(this.#downAt, () => this.alive && call());
  }
}
