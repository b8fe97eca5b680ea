// What is known of networks: which transport won there, and how much silence their paths bear. Kept for an hour.

import type { Environment } from "./environment.js";
import { isObject } from "./properties.js";
import { RANKS } from "./ladder.js";
import type { TransportName } from "./transports/transport.js";

/** What a session remembers for the next one. */
export interface Memory {
  /** The transport that won on the network where this client was last. */
  readonly transport: TransportName | undefined;
  /** The heartbeat interval to ask for; undefined: the server's own. */
  readonly heartbeat: number | undefined;
  /** How long polls may be held. */
  readonly holdMs: number;
  /** A link was adopted on that network. */
  adopted(network: string | undefined, transport: TransportName): void;
  /** Polls have learned how long they may be held. */
  held(holdMs: number): void;
  /** A link with that heartbeat interval survived so many silent ones, or died of silence. */
  ended(interval: number, survived: number, silence: boolean): void;
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

export class PathMemory implements Memory {
  readonly #environment: Environment;
  readonly #key: string;
  /** The network where this client was last comes first. */
  #known: Known[];

  constructor(environment: Environment, base: URL) {
    this.#environment = environment;
    this.#key = `throughline:${base.href}`;
    this.#known = this.#load();
  }

  get transport(): TransportName | undefined {
    return this.#last?.transport;
  }

  get heartbeat(): number | undefined {
    return this.#last?.heartbeat;
  }

  get holdMs(): number {
    return this.#last?.holdMs ?? HOLD_MS;
  }

  adopted(network = "", transport: TransportName): void {
    const before = this.#known.find((known) => known.network === network);
    this.#keep({ network, at: 0, transport, heartbeat: before?.heartbeat, holdMs: before?.holdMs ?? HOLD_MS });
  }

  held(holdMs: number): void {
    const last = this.#last;
    if (last !== undefined && last.holdMs !== holdMs) this.#keep({ ...last, holdMs });
  }

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
    this.#known = [{ ...known, at: this.#environment.date() }, ...others].slice(0, NETWORKS_MAX);
    this.#environment.store.set(this.#key, JSON.stringify(this.#known));
  }

  #load(): Known[] {
    try {
      const json: unknown = JSON.parse(this.#environment.store.get(this.#key) ?? "[]");
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
    const age = typeof at === "number" ? this.#environment.date() - at : Infinity;
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
