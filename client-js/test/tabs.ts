// Tabs and their shared worker in a browser of virtual time, before the model server.

import { Session } from "../src/client.js";
import { type ConnectOptions, connect } from "../src/shared/connect.js";
import { Hub } from "../src/shared/hub.js";
import type { WorkerLike } from "../src/shared/port.js";
import { reading } from "../src/shared/replay.js";
import type { PortLike } from "../src/shared/talk.js";
import { Realm } from "./realm.js";
import { World } from "./world.js";

/** One end of a channel between a tab and the worker. */
class Port implements PortLike {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  other: Port | undefined;
  closed = false;
  /** The tab is frozen, or gone without a word. */
  dead = false;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  postMessage(message: unknown): void {
    const copy = structuredClone(message);
    if (this.closed || this.dead) return;
    this.#world.at(this.#world.time, () => this.other?.dead === false && this.other.onmessage?.({ data: copy }));
  }

  close(): void {
    this.closed = true;
  }
}

export class Browser {
  readonly world = new World(3);
  readonly realm = new Realm();
  readonly ports: Port[] = [];
  readonly started: string[] = [];
  readonly workers: (WorkerLike & { onerror: unknown })[] = [];
  readonly reads: string[] = [];
  #secrets = 0;
  hub = this.#worker();
  pageMax = 3;
  /** The worker's script runs. */
  runs = true;

  constructor() {
    this.world.accept = this.realm.accept;
    this.world.answer = (url) => {
      this.reads.push(url);
      return new Promise((resolve) => this.world.at(this.world.time + 1, () => resolve(this.#page(new URL(url)))));
    };
  }

  tab(options: ConnectOptions = {}): Session {
    return connect({ shared: true, url: "http://realm.test", ...options }, this.world.environment, (script, name) => this.#start(script, name));
  }

  /** The worker is ended, and another one takes its place. */
  crash(): void {
    for (const port of this.ports) port.dead = true;
    for (const peer of this.world.peers) peer.cut();
    this.hub = this.#worker();
  }

  #worker(): Hub {
    const environment = { ...this.world.environment, watch: () => () => undefined };
    const { after, random } = environment;
    return new Hub({
      session: () => new Session("http://realm.test", {}, environment),
      read: reading(new URL("http://realm.test"), { after, random, fetch: (url) => this.world.answer(url) }),
      after,
      secret: () => (this.#secrets += 1).toString(16).padStart(32, "f"),
    });
  }

  #start(script: string, name: string): WorkerLike {
    this.started.push(`${script} ${name}`);
    const [tab, worker] = [new Port(this.world), new Port(this.world)];
    tab.other = worker;
    worker.other = tab;
    this.ports.push(tab, worker);
    const started = { port: tab, onerror: null };
    this.workers.push(started);
    if (this.runs) this.hub.join(worker);
    return started;
  }

  #page(url: URL): string {
    const name = /channels\/(.*)\/events$/.exec(url.pathname)?.[1] ?? "";
    const { epoch, events, dropped, last } = this.realm.channel(name);
    const asked = url.searchParams.get("from");
    const from = asked === "all" ? dropped + 1 : Number(asked);
    if (from > last + 1) return JSON.stringify({ error: { code: "bad_position", message: "from the future" } });
    const found = events.filter(({ eid }) => eid >= from);
    const page = found.slice(0, this.pageMax).map(({ eid, header }) => ({ eid: String(eid), time: 1_700_000_000_000 + eid, ...header }));
    const next = Number(page.at(-1)?.eid ?? Math.max(from, dropped + 1) - 1) + 1;
    const gap = dropped >= from ? { gap: { from: String(from), to: String(dropped), reason: "capacity" } } : {};
    return JSON.stringify({ channel: name, epoch, events: page, next: String(next), ...(found.length > page.length && { more: true }), ...gap });
  }
}

/** What a tab receives of a channel, by text. */
export function hear(session: Session, channel: string, from = "new"): string[] {
  const texts: string[] = [];
  session.subscribe(channel, (event) => void texts.push(event.text()), { from });
  return texts;
}
