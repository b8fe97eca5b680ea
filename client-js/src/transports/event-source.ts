// Server-sent events: a message per event.

import { HttpLink } from "./link.js";
import type { Transport } from "./transport.js";
import type { Web } from "./web.js";

const ROTATE_BYTES = 64 * 1024 * 1024;

export function eventSource(web: Web): Transport {
  const send = web.stream ?? web.xhr;
  const { EventSource: Source } = web;
  return {
    name: "event-source",
    binary: false,
    rotateBytes: ROTATE_BYTES,
    available: () => Source !== undefined && send !== undefined,
    open(base, handlers, options) {
      const link = new HttpLink(web, base, handlers, options, send);
      if (Source === undefined) return link;
      const source = new Source(link.stream("event-stream", {}), { withCredentials: options.credentials });
      source.onopen = () => link.open();
      source.onmessage = ({ data }) => {
        link.receivedBytes += String(data).length;
        link.message(String(data));
      };
      // It would come back by itself, under a name that is used up.
      source.onerror = () => link.ended(false);
      link.stop = () => source.close();
      link.uplink.push(String(options.probe));
      return link;
    },
  };
}
