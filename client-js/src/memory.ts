// What is known of networks: which transport won there, and how much silence their paths bear. Kept for an hour.

import { isObject } from "./properties.js";
import { RANKS } from "./ladder.js";
import type { TransportName } from "./transports/transport.js";

/** What the memory needs of the world. */
export interface Store {
  /** Milliseconds since 1970. */
  date(): number;
  get(key: string): string | undefined;
  set(key: string, text: string): void;
}

/** How long polls are held while nothing is known. */
export const HOLD_MS = 12_000;

const EXPIRY_MS = 3_600_000;
const NETWORKS_MAX = 8;
const HEARTBEAT_MS = 10_000;
const HEARTBEAT_MS_MIN = 5_000;
const HEARTBEAT_MS_MAX = 25_000;
const HEARTBEAT_STEP_MS = 5_000;
/** Silent intervals survived before a longer one is dared. */
const SURVIVALS = 3;

interface Known {
  /** Name of the network. */
  readonly network: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly transport: TransportName;
  readonly heartbeat: number | undefined;
  readonly holdMs: number;
}

export class Memory {
  readonly #store: Store;
  readonly #key: string;
  /** The network where this client was last comes first. */
  #known: Known[];

  constructor(store: Store, base: URL) {
    this.#store = store;
    this.#key = `throughline:${base.href}`;
    this.#known = this.#load();
  }

  /** What won on the network where this client was last. */
  get transport(): TransportName | undefined {
    return this.#last?.transport;
  }

  /** The heartbeat interval to ask for; undefined: the server's own. */
  get heartbeat(): number | undefined {
    return this.#last?.heartbeat;
  }

  /** How long polls may be held. */
  get holdMs(): number {
    return this.#last?.holdMs ?? HOLD_MS;
  }

  /** A link was adopted on that network. */
  adopted(network = "", transport: TransportName): void {
    const before = this.#known.find((known) => known.network === network);
    this.#keep({ network, at: 0, transport, heartbeat: before?.heartbeat, holdMs: before?.holdMs ?? HOLD_MS });
  }

  /** Polls have learned how long they may be held. */
  held(holdMs: number): void {
    const last = this.#last;
    if (last !== undefined && last.holdMs !== holdMs) this.#keep({ ...last, holdMs });
  }

  /** A link with that heartbeat interval survived so many silent ones, or died of silence. */
  ended(interval: number, survived: number, silence: boolean): void {
    const last = this.#last;
    if (last === undefined) return;
    const longer = survived >= SURVIVALS ? Math.min(HEARTBEAT_MS_MAX, interval + HEARTBEAT_STEP_MS) : interval;
    const heartbeat = silence ? Math.max(HEARTBEAT_MS_MIN, Math.floor((interval * 2) / 3)) : longer;
    if (heartbeat !== (last.heartbeat ?? HEARTBEAT_MS)) this.#keep({ ...last, heartbeat });
  }

  get #last(): Known | undefined {
    return this.#known[0];
  }

  #keep(known: Known): void {
    const others = this.#known.filter(({ network }) => network !== known.network);
    this.#known = [{ ...known, at: this.#store.date() }, ...others].slice(0, NETWORKS_MAX);
    this.#store.set(this.#key, JSON.stringify(this.#known));
  }

  #load(): Known[] {
    try {
      const json: unknown = JSON.parse(this.#store.get(this.#key) ?? "[]");
      return Array.isArray(json) ? json.map((known) => this.#read(known)).filter((known) => known !== undefined) : [];
    } catch {
      return [];
    }
  }

  /** Whoever shares the origin could have written it. */
  #read(json: unknown): Known | undefined {
    if (!isObject(json)) return undefined;
    const { network, at, transport, heartbeat, holdMs } = json as Partial<Record<keyof Known, unknown>>;
    const name = RANKS.find((rank) => rank === transport);
    const age = typeof at === "number" ? this.#store.date() - at : Infinity;
    if (typeof network !== "string" || name === undefined || !(age >= 0 && age < EXPIRY_MS)) return undefined;
    return {
      network,
      at: Number(at),
      transport: name,
      heartbeat: typeof heartbeat === "number" ? heartbeat : undefined,
      holdMs: typeof holdMs === "number" ? holdMs : HOLD_MS,
    };
  }
}
