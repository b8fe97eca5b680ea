// Why a link failed, in words: what is known, and the way out. Browsers tell a page next to nothing, so the moment counts.

import { CloseCode } from "./close.js";

/** What was seen of a link that ended. */
export interface Ending {
  readonly url: string;
  readonly code: number;
  readonly reason: string;
  /** How far it came. */
  readonly reached: "nothing" | "opened" | "welcomed";
  readonly afterMs: number;
}

/** A sentence or two for people. */
export function describe({ url, code, reason, reached, afterMs }: Ending): string {
  const seconds = (afterMs / 1000).toFixed(1);
  const told = reason === "" ? `code ${code}` : `code ${code}, "${reason}"`;
  if (reached === "nothing" && code === CloseCode.connect_timeout) {
    return `${url} did not answer within ${seconds} s: a firewall or proxy swallows the connection, or the address is wrong.`;
  }
  if (reached === "nothing") {
    return `${url} could not be opened (${seconds} s; the browser tells no reason). Either no realm listens there, or it refuses this `
      + "page's origin (origins.allowed), or a proxy between does not pass WebSocket: it must forward the Upgrade header; https often gets through.";
  }
  if (reached === "opened") {
    return `${url} opened but the realm's welcome did not come within ${seconds} s (${told}): a proxy between accepts WebSocket but does not pass `
      + "its messages, or the server is no Throughline realm.";
  }
  if (code === CloseCode.drain || code === CloseCode.going_away) return `The realm is stopping or restarting (${told}); the session goes on with its next link.`;
  if (code === CloseCode.heartbeat) return `The link fell silent after ${seconds} s (${told}): the network changed, or something between forgot the connection.`;
  return `The link was cut after ${seconds} s (${told}); the session goes on with its next link.`;
}
