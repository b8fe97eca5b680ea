// The forever frame: a hidden document that does not end, whose scripts post a message each.

import { HttpLink } from "./link.js";
import type { Transport } from "./transport.js";
import type { Page, Posted, Web } from "./web.js";

/** The frame's document keeps all of it. */
const ROTATE_BYTES = 1024 * 1024;
/** What was posted last may be on its way when the document ends. */
const LINGER_MS = 20;

export function iframeStream(web: Web): Transport {
  const send = web.stream ?? web.xhr;
  const { page } = web;
  return {
    name: "iframe-stream",
    binary: false,
    rotateBytes: ROTATE_BYTES,
    available: () => page !== undefined && send !== undefined,
    open(base, handlers, options) {
      const link = new HttpLink(web, base, handlers, options, send);
      if (page === undefined) return link;
      link.uplink.hold(true);
      page.loaded(() => link.over || listen(link, page));
      return link;
    },
  };
}

function listen(link: HttpLink, page: Page): void {
  const { addresses, uplink } = link;
  const posted = ({ source, origin, data }: Posted): void => {
    if (source !== frame.source || origin !== addresses.origin) return;
    const { throughline, data: text } = (data ?? {}) as { readonly throughline?: unknown; readonly data?: unknown };
    if (throughline !== addresses.link || typeof text !== "string") return;
    link.receivedBytes += text.length;
    link.message(text);
  };
  const frame = page.frame(link.stream("script", { origin: page.origin }), posted, () => {
    link.web.after(LINGER_MS, () => link.ended(false));
  });
  link.stop = () => frame.remove();
  uplink.push(String(link.options.probe));
  uplink.hold(false);
}
