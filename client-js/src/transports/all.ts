import { eventSource } from "./event-source.js";
import { httpStream } from "./http-stream.js";
import { iframeStream } from "./iframe-stream.js";
import { jsonpPoll } from "./jsonp-poll.js";
import { longPoll } from "./long-poll.js";
import type { Transport } from "./transport.js";
import type { Web } from "./web.js";

/** The transports over HTTP, best first. */
export function httpTransports(web: Web): readonly Transport[] {
  return [httpStream, eventSource, iframeStream, longPoll, jsonpPoll].map((make) => make(web));
}
