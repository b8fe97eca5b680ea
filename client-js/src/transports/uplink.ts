// What the client says on HTTP transports: one stream of lines, cut into numbered pieces, one of them under way at a time.

import { NO_CODE } from "../close.js";
import { type Addresses, type Answer, type Ask, type Piece, type Verdict, bodyful, judge, refusal } from "./requests.js";
import type { Web } from "./web.js";

/** The answer to a piece may be held back while the realm takes no more. */
const ANSWER_MS_MAX = 15_000;
/** Tries of one piece in a row. */
const TRIES_MAX = 6;
const RETRY_MS_FIRST = 250;
const RETRY_MS_MAX = 2_000;

const CLOSE = '{"type":"close"}\n';

export interface UplinkEvents {
  /** The realm has taken a piece; one that is `partial` ends within a message. */
  taken(partial: boolean): void;
  failed(verdict: Verdict): void;
  /** Whether the link's downlink has begun: until then the realm need not know the link. */
  known(): boolean;
}

/** Delay before try `n`, with jitter. */
export function backoff(n: number, random: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** n) * (0.5 + random / 2);
}

export class Uplink {
  readonly #web: Web;
  readonly #addresses: Addresses;
  readonly #ask: Ask;
  /** Pieces are part of the address, and so are short. */
  readonly #short: boolean;
  readonly #events: UplinkEvents;
  /** What waits, in whole messages but for a first one that was begun. */
  #text = "";
  #n = 0;
  #flying: Piece | undefined;
  #tries = 0;
  #held = false;
  #due = false;
  #leaving = false;
  #cancel: () => void = () => undefined;

  constructor(web: Web, addresses: Addresses, ask: Ask, short: boolean, events: UplinkEvents) {
    this.#web = web;
    this.#addresses = addresses;
    this.#ask = ask;
    this.#short = short;
    this.#events = events;
  }

  /** Takes a message; those of one turn go together. */
  push(line: string): void {
    this.#text += `${line}\n`;
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#next();
    });
  }

  /** The first piece, for a request of another kind that carries it; see {@link hold}. */
  first(path: string, query: Record<string, string | number>, short: boolean): Piece {
    return this.#cut(short ? (text) => this.#addresses.fitting(text, path, query) : bodyful);
  }

  /** Whether the next piece has to wait for what is not this object's to know. */
  hold(held: boolean): void {
    this.#held = held;
    this.#next();
  }

  /** Nothing more is sent, or heard. */
  stop(): void {
    this.#cancel();
    this.#held = true;
  }

  /** Says what waits and a `close`, and nothing more; asks for no answer, so that it works while the page goes away. */
  leave(): void {
    this.#text += CLOSE;
    this.#leaving = true;
    this.#next();
  }

  #cut(front: (text: string) => string): Piece {
    const text = front(this.#text);
    this.#text = this.#text.slice(text.length);
    this.#n += 1;
    return { n: this.#n, text };
  }

  #next(): void {
    if (this.#held || this.#flying !== undefined || this.#text === "") return;
    const piece = this.first("uplink", {}, this.#short);
    if (this.#leaving && this.#text === "") this.#farewell(piece);
    else this.#send(piece);
  }

  #farewell(piece: Piece): void {
    this.#held = true;
    const sent = !this.#short && this.#web.beacon(this.#addresses.of("uplink", { n: piece.n }), piece.text);
    if (!sent) this.#ask("uplink", {}, piece, ANSWER_MS_MAX, () => undefined);
  }

  #send(piece: Piece): void {
    this.#flying = piece;
    this.#cancel = this.#ask("uplink", {}, piece, ANSWER_MS_MAX, (answer) => this.#answered(piece, answer));
  }

  #answered(piece: Piece, answer: Answer): void {
    if (answer.status === 200 && answer.ours && refusal(answer.text) === undefined) {
      this.#flying = undefined;
      this.#tries = 0;
      this.#events.taken(!piece.text.endsWith("\n"));
      return this.#next();
    }
    if (this.#leaving) return;
    // A realm that takes no more for now is as patient as this client is to be.
    const full = answer.status === 503 && answer.ours;
    this.#tries = full ? 1 : this.#tries + 1;
    // The request that opens the link may still be on its way.
    const early = answer.status === 404 && !this.#events.known();
    const verdict = early || full ? undefined : judge(answer);
    if (verdict !== undefined) return this.#events.failed(verdict);
    if (this.#tries >= TRIES_MAX) {
      return this.#events.failed({ code: NO_CODE, reason: `${TRIES_MAX} tries to send failed (${answer.status || "no answer"})` });
    }
    // With its number a piece that was taken is not taken twice.
    this.#cancel = this.#web.after(backoff(this.#tries - 1, this.#web.random()), () => this.#send(piece));
  }
}
