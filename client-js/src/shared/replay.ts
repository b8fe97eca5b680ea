// Older events of a channel, by plain HTTP: PROTOCOL.md section 9.2.

import { ThroughlineError } from "../errors.js";
import { backoff } from "../transports/uplink.js";
import type { Read, Replay } from "./feed.js";

export interface ReplaySettings {
  /** The body of the answer; rejects when there is none, after some time at the latest. */
  readonly fetch: (url: string) => Promise<string>;
  readonly after: (ms: number, call: () => void) => () => void;
  readonly random: () => number;
}

interface Answer extends Partial<Replay> {
  readonly error?: { readonly code: string; readonly message: string; readonly limit?: number };
}

/** Reads from the realm at `base`. */
export function reading(base: URL, { fetch, after, random }: ReplaySettings): Read {
  return async (channel, from, wanted) => {
    for (let n = 0; wanted(); n += 1) {
      const url = new URL(`throughline/v1/channels/${channel}/events?from=${from}&limit=1000`, base);
      const answer = await fetch(url.href).then((text) => JSON.parse(text) as Answer, () => undefined).catch(() => undefined);
      const { error } = answer ?? {};
      if (error !== undefined && error.code !== "draining") throw new ThroughlineError(error.code, error.message, error.limit);
      if (answer?.events !== undefined) return answer as Replay;
      await new Promise<void>((resolve) => after(backoff(n, random()), resolve));
    }
    return undefined;
  };
}
