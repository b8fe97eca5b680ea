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

const WORDS: Readonly<Record<Failure, string>> = {
  refused: "could not be opened (the browser tells no reason). Either no realm listens there, or it refuses this page's origin (origins.allowed), or "
    + "something between does not pass it: a proxy must forward the Upgrade header for WebSocket; https often gets through",
  silent: "did not answer: a firewall or proxy swallows the connection, or the address is wrong",
  cut: "was cut: something between lets connections begin and then ends them",
  swallowed: "opened, but the realm's messages did not come: a proxy between accepts it but does not pass them, or the server is no Throughline realm",
  buffered: "is held back: a proxy between collects answers until they are complete",
  idle: "fell silent or was cut: the network changed, or something between forgot the connection",
  rotated: "was ended by something between that limits how long an answer may last",
  authentication: "needs authentication: a proxy or server between asks for credentials",
  origin: "is refused to this page's origin: add it to origins.allowed in the realm's configuration",
  unreachable: "and every other transport fail: the network is down, or the address is wrong",
};

/** A sentence for people. */
export function describe(url: string, { transport, failure, after, detail }: PathFailure): string {
  const told = detail === undefined ? "" : ` (${detail})`;
  return `${transport} at ${url} ${WORDS[failure]}; after ${(after / 1000).toFixed(1)} s${told}.`;
}
