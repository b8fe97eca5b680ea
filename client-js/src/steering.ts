// What decides which links are opened, judged and adopted: the ladder of all transports, or the plain rule of one.

import type { Failure, TransportName } from "./transports/transport.js";

/** What is to be done with candidates, which the one who steers numbers. */
export type Deed =
  | { readonly do: "start"; readonly id: number; readonly transport: TransportName }
  /** The time for its proof has passed: a failure. */
  | { readonly do: "give_up"; readonly id: number }
  /** It is no longer needed: no failure. */
  | { readonly do: "abandon"; readonly id: number }
  /** Probation has passed: ask once more, the answer comes back by `answered`. */
  | { readonly do: "ping"; readonly id: number }
  /** It becomes the session's link; the one before is closed then. */
  | { readonly do: "adopt"; readonly id: number }
  /** Nothing got through: the session waits. */
  | { readonly do: "over" };

/** After every call, take what `take` and `deadline` have to say. Times are milliseconds of any steady clock. */
export interface Steering {
  /** The last round trip, milliseconds. */
  rtt: number | undefined;
  /** The session has no link and wants one. */
  begin(now: number): void;
  /** A candidate was welcomed and its ping answered. */
  proved(now: number, id: number): void;
  /** The ping after probation was answered. */
  answered(now: number, id: number): void;
  /** A candidate ended by itself. */
  failed(now: number, id: number, failure: Failure): void;
  /** The session's link ended: without a failure on purpose; `silent` when nothing had been heard for too long. */
  died(now: number, failure: Failure | undefined, silent: boolean): void;
  /** Something is outstanding on the session's link and nothing comes: look for another beside it. */
  suspect(now: number): void;
  /** The session's link spoke again. */
  calm(): void;
  /** The session's link should be replaced by one of its kind. */
  rotate(now: number): void;
  /** The realm is stopping: nothing new until a link is adopted. */
  drain(): void;
  /** Ends all candidates. */
  stop(): void;
  tick(now: number): void;
  take(): Deed | undefined;
  deadline(): number;
}

/** How a ladder is made: `list` is in the order of preference, and holds only what this environment has. */
export interface SteeringOptions {
  readonly list: readonly TransportName[];
  readonly random: () => number;
  /** How long a candidate may take to prove itself, milliseconds; default 8,000. */
  readonly giveUpMs: number | undefined;
  /** The transport that won on this network before. */
  readonly remembered: TransportName | undefined;
}

/** How long a candidate may take to prove itself. */
export const GIVE_UP_MS = 8_000;
