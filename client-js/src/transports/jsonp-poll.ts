// Polls by script tags, for pages that can do nothing else.

import { PollLink } from "./poll.js";
import type { Transport } from "./transport.js";
import type { Web } from "./web.js";

export function jsonpPoll(web: Web): Transport {
  const { page } = web;
  return {
    name: "jsonp-poll",
    binary: false,
    rotateBytes: Infinity,
    available: () => page !== undefined,
    open(base, handlers, options) {
      const link = new PollLink(web, base, handlers, options, undefined);
      page?.loaded(() => link.over || link.start());
      return link;
    },
  };
}
