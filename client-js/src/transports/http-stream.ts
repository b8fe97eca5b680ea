// One answer that does not end, a message per line; by fetch, or by XMLHttpRequest where fetch gives no streams.

import { Lines } from "./lines.js";
import { HttpLink } from "./link.js";
import type { Transport } from "./transport.js";
import type { Send, Web } from "./web.js";

const MIB = 1024 * 1024;

export function httpStream(web: Web): Transport {
  const send = web.stream ?? web.xhr;
  return {
    name: "http-stream",
    binary: false,
    rotateBytes: web.stream === undefined ? MIB : 64 * MIB,
    available: () => send !== undefined,
    open(base, handlers, options) {
      const link = new HttpLink(web, base, handlers, options, send);
      if (send !== undefined) listen(link, send);
      return link;
    },
  };
}

function listen(link: HttpLink, send: Send): void {
  const { n, text } = link.uplink.first("stream", {}, false);
  const lines = new Lines();
  let status = 0;
  let ours = false;
  let refusal = "";
  link.stop = send(link.addresses.of("stream", { as: "lines", n }), text, link.options.credentials, {
    head(...head): void {
      [status, ours] = head;
      if (status === 200 && ours) link.open();
    },
    part(part, bytes): void {
      link.receivedBytes += bytes;
      if (status !== 200 || !ours) refusal += part;
      else for (const line of lines.push(part)) link.message(line);
    },
    end(complete): void {
      if (status === 0 || (status === 200 && ours)) link.ended(complete);
      else link.refused(status, ours, refusal);
    },
  });
  link.uplink.push(String(link.options.probe));
}
