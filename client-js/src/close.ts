/** Close codes and what a client does after them: PROTOCOL.md section 7. */
export const CloseCode = {
  normal: 1000,
  going_away: 1001,
  protocol: 1002,
  unsupported: 1003,
  invalid_payload: 1007,
  too_big: 1009,
  drain: 4000,
  heartbeat: 4001,
  overloaded: 4100,
  internal: 4101,
  connect_timeout: 4102,
  bad_message: 4200,
  version: 4201,
  connect_expected: 4202,
} as const;

/** What a transport reports when a link broke, or could not be opened: no close code came. */
export const NO_CODE = 1006;

/** `now`: at once, with jitter. `later`: with growing delay. `never`: the same would happen again. */
export type Reconnect = "now" | "later" | "never";

const NEVER: readonly number[] = [
  CloseCode.protocol,
  CloseCode.unsupported,
  CloseCode.invalid_payload,
  CloseCode.too_big,
];

/** What follows close code `code`, which may be one that this version does not know. */
export function reconnectAfter(code: number): Reconnect {
  // A proxy may make 1000 of a connection that broke; after an end that it asked for no client reads this.
  if (code <= CloseCode.going_away || code === NO_CODE || (code >= 4000 && code < 4100)) return "now";
  return NEVER.includes(code) || (code >= 4200 && code < 4300) ? "never" : "later";
}

/** First and longest delay, milliseconds, between two attempts. */
const DELAY_MS_FIRST = 250;
const DELAY_MS_MAX = 30_000;

/** The delay before attempt `n`; `random` is in 0 to 1. */
export function reconnectDelay(n: number, random: number): number {
  return Math.floor(random * Math.min(DELAY_MS_MAX, DELAY_MS_FIRST * 2 ** n));
}
