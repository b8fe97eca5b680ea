// A chain of requests, each held by the realm until there is something to tell; by POST, or by script tags.

import { HttpLink } from "./link.js";
import { type Answer, type Piece, judge } from "./requests.js";
import type { LinkHandlers, LinkOptions } from "./transport.js";
import { backoff } from "./uplink.js";
import type { Send, Web } from "./web.js";

const HOLD_MS_MIN = 3_000;
const HOLD_MS_MAX = 25_000;
const HOLD_MS_STEP = 4_000;
/** Polls in a row that must have been held to their end before one is held longer. */
const PROVEN = 3;
/** What an answer may take beyond the hold. */
const GRACE_MS = 6_000;
/** Failures in a row. */
const TRIES_MAX = 4;
/** An empty answer that came sooner is no hold, but somebody's haste. */
const HASTE_MS = 250;
/** A poll that broke sooner was not broken for being held. */
const HELD_MS = 1_000;

export class PollLink extends HttpLink {
  holdMs: number;
  /** Number of the last answer that was heard. */
  #ack = 0;
  /** Polls that were held to their end. */
  #held = 0;
  /** Failures in a row. */
  #tries = 0;
  #first: Piece | undefined;

  constructor(web: Web, base: URL, handlers: LinkHandlers, options: LinkOptions, send: Send | undefined) {
    super(web, base, handlers, options, send);
    this.holdMs = options.holdMs;
    this.uplink.push(String(options.probe));
    this.uplink.hold(true);
  }

  /** Begins. The first poll says the first piece; what follows waits for its answer. */
  start(): void {
    this.#first = this.uplink.first("poll", this.#query(), this.scripted);
    this.#poll();
  }

  #query(): { ack: number; hold: number } {
    // Quoted, as names that go over the wire must be where the build shortens them.
    return { "ack": this.#ack, "hold": this.holdMs };
  }

  #poll(): void {
    if (this.over) return;
    const sentAt = this.web.now();
    this.stop = this.ask("poll", this.#query(), this.#first, this.holdMs + GRACE_MS, (answer) => {
      const tookMs = this.web.now() - sentAt;
      const good = answer.status === 200 && answer.ours ? read(answer.text) : undefined;
      if (good === undefined) this.#failed(answer, tookMs);
      else this.#answered(good, tookMs);
    });
  }

  #answered({ number, messages }: Numbered, tookMs: number): void {
    if (number !== this.#ack && number !== this.#ack + 1) return this.lost(`answer ${number} came after answer ${this.#ack}`);
    this.#tries = 0;
    if (this.#first !== undefined) {
      this.#first = undefined;
      this.open();
      this.uplink.hold(false);
    }
    if (number > this.#ack) {
      this.#ack = number;
      for (const message of messages) this.message(message);
    } else if (tookMs >= 0.9 * this.holdMs) {
      this.#survived();
    } else if (tookMs < HASTE_MS) {
      return this.#again(HASTE_MS);
    }
    this.#poll();
  }

  #survived(): void {
    this.#held += 1;
    if (this.#held < PROVEN) return;
    this.#held = 0;
    this.holdMs = Math.min(HOLD_MS_MAX, this.holdMs + HOLD_MS_STEP);
  }

  #failed({ status, ours, text }: Answer, tookMs: number): void {
    if (tookMs >= HELD_MS) {
      this.#held = 0;
      this.holdMs = Math.max(HOLD_MS_MIN, Math.round(this.holdMs / 2));
    }
    this.#tries += 1;
    // An answer of the realm that is not whole was cut on its way.
    const verdict = status === 200 && ours ? undefined : judge({ status, ours, text });
    if (verdict !== undefined) return this.fail(verdict);
    if (this.#first !== undefined) return this.lost(`the first poll failed (${status || "no answer"})`, "refused");
    if (this.#tries >= TRIES_MAX) return this.lost(`${TRIES_MAX} polls in a row failed (${status || "no answer"})`);
    this.#again(backoff(this.#tries - 1, this.web.random()));
  }

  #again(ms: number): void {
    this.stop = this.web.after(ms, () => this.#poll());
  }
}

interface Numbered {
  readonly number: number;
  readonly messages: readonly string[];
}

/** An answer that is whole: its number, how many messages there are, then a message per line. */
function read(text: string): Numbered | undefined {
  const [head = "", ...lines] = text.split("\n");
  // What follows the last LF is nothing, or a message that was cut.
  lines.pop();
  try {
    const { number, messages } = JSON.parse(head) as { readonly number: number; readonly messages?: unknown };
    return messages === lines.length ? { number, messages: lines } : undefined;
  } catch {
    return undefined;
  }
}
