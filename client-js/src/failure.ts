// What became of a link, in words: what is known, and the way out. Browsers tell a page next to nothing, so the moment counts.

import type { Failure, TransportName } from "./transports/transport.js";

/** A link, or an attempt at one, that went wrong. */
export interface PathFailure {
  readonly transport: TransportName;
  readonly failure: Failure;
  /** Age of the link then, milliseconds. */
  readonly after: number;
  /** What else is known: of the server's or proxy's own telling. */
  readonly detail: string | undefined;
}

/** What a table holds per failure; the build with WebSocket alone meets only these. */
export type Words = Readonly<Partial<Record<Failure, string>>>;

export const WORDS: Words = {
  refused: "could not be opened: no realm is there, or it does not allow this page's origin, or a proxy does not pass it "
    + "(https often helps)",
  silent: "did not answer: the address is wrong, or something swallows the connection",
  cut: "was cut: the realm restarted, or something between ends connections",
  swallowed: "opened, but no message came: a proxy does not pass them, or the server is no realm",
  idle: "fell silent or was cut: the network changed, or something forgot the connection",
};

/** A sentence for people. */
export function describe(url: string, { transport, failure, after, detail }: PathFailure, words = WORDS): string {
  const told = detail === undefined ? "" : ` (${detail})`;
  return `${transport} at ${url} ${words[failure] ?? failure} after ${(after / 1000).toFixed(1)} s${told}`;
}
