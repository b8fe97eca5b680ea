// What a link over HTTP is, whatever its downlink.

import { NO_CODE } from "../close.js";
import { Addresses, type Ask, type Verdict, judge, posting, scripting } from "./requests.js";
import type { Failure, Link, LinkHandlers, LinkOptions } from "./transport.js";
import { Uplink } from "./uplink.js";
import type { Send, Web } from "./web.js";

/** Streams: after the realm has taken what was sent, its answer is there within this time, or something holds it back. */
const BUFFERED_MS = 3_000;
/** A stream that somebody ended after this time was ended on purpose. */
const ROTATED_MS = 10_000;

/** A server's `close` is the last message: there is nobody left to take leave of. */
const CLOSED = /^{"type":"close"/;

export class HttpLink implements Link {
  receivedBytes = 0;
  readonly web: Web;
  readonly options: LinkOptions;
  readonly addresses: Addresses;
  readonly ask: Ask;
  readonly uplink: Uplink;
  /** Script tags do everything. */
  readonly scripted: boolean;
  /** Ends the downlink. */
  stop: () => void = () => undefined;
  readonly #handlers: LinkHandlers;
  readonly #startedAt: number;
  #opened = false;
  #heard = false;
  #over = false;
  /** The realm knows this link, and has not ended it. */
  #known = false;
  #calm: (() => void) | undefined;

  /** Without `send` script tags do everything. */
  constructor(web: Web, base: URL, handlers: LinkHandlers, options: LinkOptions, send: Send | undefined) {
    this.web = web;
    this.options = options;
    this.scripted = send === undefined;
    this.addresses = new Addresses(base, web);
    this.ask = send === undefined ? scripting(this.addresses, web) : posting(this.addresses, send, web, options.credentials);
    this.uplink = new Uplink(web, this.addresses, this.ask, this.scripted, {
      taken: (partial) => this.#taken(partial),
      failed: (verdict) => this.fail(verdict),
      known: () => this.#opened,
    });
    this.#handlers = handlers;
    this.#startedAt = web.now();
    for (const frame of options.first) this.uplink.push(String(frame));
  }

  get over(): boolean {
    return this.#over;
  }

  /** The address of the stream, with the first piece in it unless a body carries that. */
  stream(as: string, query: Record<string, string>): string {
    const all = { as, ...query };
    return this.addresses.of("stream", all, this.uplink.first("stream", all, true));
  }

  /** The head of the answer came. */
  open(): void {
    if (this.#opened || this.#over) return;
    this.#opened = this.#known = true;
    this.#handlers.opened();
  }

  /** A message came. */
  message(text: string): void {
    if (this.#over) return;
    this.open();
    this.#heard = true;
    this.#calm?.();
    if (CLOSED.test(text)) this.#known = false;
    this.#handlers.message(text);
  }

  /** The downlink ended, by whomever; `cleanly` if that can be known. */
  ended(cleanly: boolean): void {
    const late = this.web.now() - this.#startedAt >= ROTATED_MS;
    const failure = this.#opened ? (cleanly && late ? "rotated" : undefined) : "refused";
    this.lost(!this.#opened ? "no answer came" : cleanly ? "the stream ended" : "the stream broke", failure);
  }

  /** The link cannot go on, and the realm need not be told. */
  lost(reason: string, failure?: Failure): void {
    this.fail({ code: NO_CODE, reason, ...(failure && { failure }) });
  }

  /** An answer that is not the wished one ends the link. */
  refused(status: number, ours: boolean, text: string): void {
    const verdict = judge({ status, ours, text });
    if (verdict === undefined) this.lost(`a proxy or another server answered ${status}`, "refused");
    else this.fail(verdict);
  }

  fail({ code, reason, failure }: Verdict): void {
    if (this.#over) return;
    this.#end();
    this.#handlers.closed(code, reason, failure);
  }

  send(frame: string | Uint8Array): void {
    if (!this.#over) this.uplink.push(String(frame));
  }

  close(): void {
    if (this.#over) return;
    this.#end(this.#known);
  }

  #end(leave = false): void {
    this.#over = true;
    this.#calm?.();
    this.stop();
    if (leave) this.uplink.leave();
    else this.uplink.stop();
  }

  #taken(partial: boolean): void {
    this.#known = true;
    if (partial && !this.#over) this.#handlers.moved?.();
    if (partial || this.#heard || this.#over || this.#calm !== undefined) return;
    this.#calm = this.web.after(BUFFERED_MS, () => this.lost("the stream is held back", "buffered"));
  }
}
