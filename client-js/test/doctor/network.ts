// A network of the tests' own: virtual time, and a realm's probes that a test can change one by one.

import { fnv1a } from "../../page/doctor/fnv.js";
import type { Ask, Means, Timing } from "../../page/doctor/means.js";
import { Wire } from "../../page/doctor/wire.js";

export const MARK = new Map([["throughline", "1"]]);
const RTT_MS = 20;

/** What becomes of something that was asked for: says it on the wire, at its own time. */
export type Act = (wire: Wire, url: URL, ask: Ask) => void | Promise<void>;

export class Network implements Means {
  readonly origin = "http://realm.test";
  /** By the last part of a request's path, or `socket`, `session`. */
  readonly acts: Record<string, Act> = {};
  readonly asked: URL[] = [];
  /** Connections under way, and the most there were. */
  open = 0;
  most = 0;
  #now = 0;
  #count = 0;
  #timers: { readonly at: number; readonly call: () => void }[] = [];
  readonly #wires = new Set<Wire>();

  constructor() {
    Object.assign(this.acts, {
      inspect: (wire: Wire, url: URL) => this.answer(wire, { type: "inspect", http: "1.1", target: url.pathname, headers: [], secure: false }),
      diagnose: (wire: Wire) => this.answer(wire, { seen: false }),
      post: (wire: Wire, _: URL, { body = "" }: Ask) => this.answer(wire, { bytes: body.length, fnv1a: fnv1a(new TextEncoder().encode(body)) }),
      poll: async (wire: Wire, url: URL) => {
        await this.pass(Number(url.searchParams.get("hold")) * 1_000);
        return this.answer(wire, { held_ms: 0 });
      },
      stream: (wire: Wire, url: URL) => this.stream(wire, url),
      socket: (wire: Wire) => this.echo(wire),
      session: async (wire: Wire) => {
        await this.pass(RTT_MS);
        wire.open();
      },
    });
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#now + ms, call };
    this.#timers.push(timer);
    return () => (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  unique(): string {
    return `n${(this.#count += 1)}`;
  }

  request(url: string, ask: Ask = {}): Wire {
    return this.#make(url, new URL(url).pathname.split("/").at(-1) ?? "", ask);
  }

  socket(url: string): Wire {
    return this.#make(url, "socket");
  }

  events(url: string): Wire {
    return this.#make(url, "stream");
  }

  frame(url: string): Wire {
    return this.#make(url, "stream");
  }

  session(url: string, transport: string): Wire {
    return this.#make(`${url}/${transport}?u=${this.unique()}`, "session");
  }

  timing(): Timing | undefined {
    return undefined;
  }

  stop(): void {
    for (const wire of this.#wires) wire.end(false, "stopped");
  }

  /** Waits in virtual time. */
  pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  async answer(wire: Wire, json: unknown, status = 200, headers: ReadonlyMap<string, string> = MARK): Promise<void> {
    await this.pass(RTT_MS);
    wire.open({ status, headers });
    wire.data(typeof json === "string" ? json : JSON.stringify(json));
    wire.end(true);
  }

  /** The messages of a probe's stream; `hold` keeps them until so many bytes have come together. */
  async stream(wire: Wire, url: URL, hold = 0): Promise<void> {
    const [n, gap, size] = ["n", "gap", "size"].map((name) => Number(url.searchParams.get(name))) as [number, number, number];
    const lines = url.searchParams.get("type") === "chunk";
    await this.pass(RTT_MS);
    if (hold === 0) wire.open({ status: 200, headers: MARK });
    let held: string[] = [];
    for (let at = 0; at < n; at += 1) {
      if (at > 0) await this.pass(gap);
      held.push(JSON.stringify({ type: "probe", n: at + 1, at: at * gap, of: n, pad: "" }));
      if (held.length * size < hold && at + 1 < n) continue;
      if (lines) wire.data(held.map((text) => `${text}\n`).join(""));
      else for (const text of held) wire.data(text);
      held = [];
    }
    wire.end(true);
  }

  async echo(wire: Wire): Promise<void> {
    await this.pass(RTT_MS);
    wire.send = (text) => void this.pass(RTT_MS).then(() => wire.data(text));
    wire.open();
    wire.data(JSON.stringify({ type: "hello", http: "1.1", target: "/", headers: [["Sec-WebSocket-Protocol", "throughline.v1"]], secure: false }));
  }

  /** Runs until `over` is settled; fails when nothing is left that could settle it. */
  async until<T>(over: Promise<T>): Promise<T> {
    let done = false;
    void over.finally(() => (done = true)).catch(() => undefined);
    for (;;) {
      for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
      if (done) return over;
      const [next] = this.#timers.sort((a, b) => a.at - b.at);
      if (next === undefined) throw new Error("nothing is left to happen");
      this.#timers.shift();
      this.#now = next.at;
      next.call();
    }
  }

  #make(url: string, kind: string, ask: Ask = {}): Wire {
    const wire = new Wire(this);
    this.asked.push(new URL(url));
    this.#wires.add(wire);
    this.open += 1;
    this.most = Math.max(this.most, this.open);
    wire.close = () => {
      if (this.#wires.delete(wire)) this.open -= 1;
    };
    void this.acts[kind]?.(wire, new URL(url), ask);
    return wire;
  }
}
