// What a way to carry a session has to offer. One file per transport stands beside this one.

import type { Frame } from "../messages.js";

/** What a link reports. After `closed` it reports nothing more. */
export interface LinkHandlers {
  /** Messages may be sent. */
  opened(): void;
  message(frame: Frame): void;
  /** The link ended or could not be opened; `code` is a close code, 1006 when there was none. */
  closed(code: number, reason: string): void;
}

/** One live use of a transport. */
export interface Link {
  send(frame: Frame): void;
  /** Ends the link; its handlers hear nothing from then on. */
  close(code: number, reason: string): void;
}

/** A way to carry a session. */
export interface Transport {
  readonly name: "websocket";
  /** Opens a link to the realm at `base`, an http or https address that ends with a slash. May throw `bad_address`. */
  open(base: URL, handlers: LinkHandlers): Link;
}
