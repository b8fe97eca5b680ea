// The WebSocket transport: PROTOCOL.md section 2.

import { CloseCode } from "../close.js";
import { ThroughlineError } from "../errors.js";
import type { Frame } from "../messages.js";
import type { Link, LinkHandlers, LinkOptions, Transport } from "./transport.js";

/** The part of a browser's WebSocket that is used here. */
export interface SocketLike {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(data: Frame): void;
  close(code?: number, reason?: string): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

/** A reason may have 123 bytes, and a character three. */
const REASON_CHARS_MAX = 41;

/** The address of the WebSocket below `base`. */
export function websocketUrl(base: URL): URL {
  const url = new URL("throughline/v1/websocket", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** The browser's own, if it has one. */
export function sockets(): readonly Transport[] {
  const { WebSocket: Socket } = globalThis as { readonly WebSocket?: unknown };
  return typeof Socket === "function" ? [websocket(Socket as unknown as SocketConstructor)] : [];
}

/** A transport over sockets that `Socket` makes. */
export function websocket(Socket: SocketConstructor): Transport {
  return {
    name: "websocket",
    binary: true,
    rotateBytes: Infinity,
    available: () => true,
    open(base, handlers, options): Link {
      const url = websocketUrl(base);
      url.searchParams.set("id", options.attempt);
      let socket: SocketLike;
      try {
        socket = new Socket(url.href, ["throughline.v1"]);
      } catch (error) {
        const text = `the browser refuses ${url.href} (${String(error)}): an https page needs an https address`;
        throw new ThroughlineError("bad_address", text);
      }
      return attach(socket, handlers, options);
    },
  };
}

function attach(socket: SocketLike, handlers: LinkHandlers, { first, probe }: LinkOptions): Link {
  let receivedBytes = 0;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    for (const frame of [...first, probe]) socket.send(frame);
    handlers.opened();
  };
  socket.onmessage = ({ data }) => {
    const frame = typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer);
    receivedBytes += frame.length;
    handlers.message(frame);
  };
  socket.onclose = ({ code, reason }) => handlers.closed(code, reason);
  return {
    get receivedBytes(): number {
      return receivedBytes;
    },
    send: (frame) => socket.send(frame),
    close(code, reason): void {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      // Browsers let a page name 1000 and 3000 to 4999 only.
      socket.close(code >= 3000 ? code : CloseCode.normal, reason.slice(0, REASON_CHARS_MAX));
    },
  };
}
