/** Codes with which the server refuses a request: PROTOCOL.md sections 4.3 and 9.4. */
export const ERROR_CODES = [
  "bad_channel_name",
  "unknown_channel",
  "already_subscribed",
  "not_subscribed",
  "too_many_subscriptions",
  "bad_position",
  "event_too_large",
  "bad_event",
  "not_persistent",
  "publish_number",
  "store_full",
  "store_failed",
  "overloaded",
  "channel_deleted",
  "draining",
] as const;

/** A code of the server, or one of this library: `closed`, `queue_full`, `bad_address`, `bad_option`. */
export type ErrorCode = (typeof ERROR_CODES)[number] | "closed" | "queue_full" | "bad_address" | "bad_option" | (string & {});

/** Throws `bad_option` when one of `options` is none of those that there are: a misspelt one would pass for its default. */
export function checkNames(options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new ThroughlineError("bad_option", `option "${name}" is none of ${names.join(", ")}`);
  }
}

/** Every failure that this library reports. `message` says what is at fault and what to do. */
export class ThroughlineError extends Error {
  /** What went wrong, for programs. */
  readonly code: ErrorCode;
  /** The limit that was passed, when one was. */
  readonly limit: number | undefined;

  constructor(code: ErrorCode, message: string, limit?: number) {
    super(message);
    this.name = "ThroughlineError";
    this.code = code;
    this.limit = limit;
  }
}
