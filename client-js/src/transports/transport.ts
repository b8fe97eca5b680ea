// What a way to carry a session has to offer. One file per transport stands beside this one.

import type { Frame } from "../messages.js";

export type TransportName = "websocket" | "http-stream" | "event-source" | "iframe-stream" | "long-poll" | "jsonp-poll";

/** What went wrong with a link, in one word: PROTOCOL.md tells what each means. */
export type Failure =
  | "refused"
  | "silent"
  | "cut"
  | "swallowed"
  | "buffered"
  | "idle"
  | "rotated"
  | "authentication"
  | "origin"
  | "unreachable";

/** What a link reports. After `closed` it reports nothing more. */
export interface LinkHandlers {
  /** The handshake is done, or the head of the answer came. */
  opened(): void;
  message(frame: Frame): void;
  /** Part of a message was taken that is not whole yet: the path lives, though nothing can be answered. */
  moved?(): void;
  /**
   * Once: the link ended or could not be opened. `code` is a close code, 1006 when there was none; `failure` is given
   * when the transport itself knows what it was.
   */
  closed(code: number, reason: string, failure?: Failure): void;
}

/** What a link is opened with. */
export interface LinkOptions {
  /** Client messages, encoded, of the first flight: in the first request on HTTP transports, right after the opening on WebSocket. */
  readonly first: readonly Frame[];
  /** An encoded `ping` that must travel the link's usual way up: piece 2 on streams, just behind `first` on the others. */
  readonly probe: Frame;
  /** Random id of the attempt, by which the server can be asked what it saw of it. */
  readonly attempt: string;
  /** How long the server may hold a poll, milliseconds. */
  readonly holdMs: number;
  /** Whether cookies go along to another origin. */
  readonly credentials: boolean;
}

/** One live use of a transport. */
export interface Link {
  send(frame: Frame): void;
  /** Ends the link; its handlers hear nothing from then on. */
  close(code: number, reason: string): void;
  readonly receivedBytes: number;
  /** What polls have learned: how long one may be held on this path, milliseconds. */
  readonly holdMs?: number;
}

/** A way to carry a session. */
export interface Transport {
  readonly name: TransportName;
  /** False where the environment lacks what it needs. */
  available(): boolean;
  /** Whether it carries binary messages; else bytes go as base64 in text. */
  readonly binary: boolean;
  /** After so many bytes received the client opens another link and closes this one. */
  readonly rotateBytes: number;
  /** Opens a link to the realm at `base`, an http or https address that ends with a slash. May throw `bad_address`. */
  open(base: URL, handlers: LinkHandlers, options: LinkOptions): Link;
}
