// How the messages of a stream came.

import type { Trial } from "../observations.js";

/** Messages that came in one read make a group; so many of them in the usual group are no accident of timing. */
const GROUP_MIN = 3;
/**
 * Whoever gathers bytes lets half of the messages wait for longer than this, milliseconds. What lets them wait for less goes by
 * a clock: the 200 ms for which systems hold back a packet that is not full make groups of three.
 */
const BLOCK_WAIT_MS_MIN = 150;
/** A usual delay above this is told, milliseconds. */
const DELAY_MS_MIN = 60;

/** One by one; some time after they were written; in groups of about so many bytes; all at the end. */
export type Flow =
  | { readonly kind: "live" }
  | { readonly kind: "delayed"; readonly ms: number }
  | { readonly kind: "blocks"; readonly bytes: number }
  | { readonly kind: "held" };

const LIVE: Flow = { kind: "live" };

/**
 * Judges a stream by when its messages were written and when they came. Single stalls do not count: what half of the
 * messages met does.
 */
export function flow({ arrivals = [], size }: Trial): Flow {
  const [first, last] = [arrivals[0], arrivals.at(-1)];
  if (first === undefined || last === undefined || size === undefined) return LIVE;
  const usual = middle(arrivals.map(([, came]) => arrivals.filter(([, other]) => other === came).length)) ?? 1;
  if (arrivals.length >= GROUP_MIN && first[1] >= last[0]) return { kind: "held" };
  const taken = arrivals.map(([written, came]) => Math.max(0, came - written));
  const least = Math.min(...taken);
  const lags = arrivals.map(([written, came]) => Math.max(0, came - written - least));
  const wait = middle(lags) ?? 0;
  if (usual >= GROUP_MIN && wait > BLOCK_WAIT_MS_MIN) return { kind: "blocks", bytes: usual * size };
  return wait >= DELAY_MS_MIN ? { kind: "delayed", ms: Math.max(...lags) } : LIVE;
}

function middle(numbers: readonly number[]): number | undefined {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
