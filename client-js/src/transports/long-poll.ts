// Polls by fetch or XMLHttpRequest.

import { PollLink } from "./poll.js";
import type { Transport } from "./transport.js";
import type { Web } from "./web.js";

export function longPoll(web: Web): Transport {
  const send = web.stream ?? web.xhr;
  return {
    name: "long-poll",
    binary: false,
    rotateBytes: Infinity,
    available: () => send !== undefined,
    open(base, handlers, options) {
      const link = new PollLink(web, base, handlers, options, send);
      link.start();
      return link;
    },
  };
}
