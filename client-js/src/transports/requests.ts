// The requests of one link: their addresses, and answers taken as a whole.

import { CloseCode, NO_CODE } from "../close.js";
import type { Failure } from "./transport.js";
import type { Send, Web } from "./web.js";

/** What came of a request. */
export interface Answer {
  /** HTTP status; 0 when no complete answer came. */
  readonly status: number;
  /** A realm made it, not something between. */
  readonly ours: boolean;
  readonly text: string;
}

/** A numbered part of what the client says. */
export interface Piece {
  readonly n: number;
  readonly text: string;
}

/** Makes a request; `done` is called once, unless the result was called before. */
export type Ask = (path: string, query: Query, piece: Piece | undefined, timeoutMs: number, done: (answer: Answer) => void) => () => void;

export type Query = Readonly<Record<string, string | number>>;

/** Longer addresses fail on common proxies. */
export const URL_BYTES_MAX = 2_000;
/** Room in an address for a callback's name, and for counters that grow. */
const RESERVE_BYTES = 48;
/** Characters of a body: few enough that one is answered before a slow path looks like a dead one. */
const BODY_LENGTH_MAX = 64 * 1024;

const NOTHING: Answer = { status: 0, ours: false, text: "" };

/** Addresses below `base`, each of them unique. */
export class Addresses {
  readonly link: string;
  readonly #base: URL;
  #count = 0;

  constructor(base: URL, web: Web) {
    this.#base = base;
    this.link = web.secret();
  }

  get origin(): string {
    return this.#base.origin;
  }

  of(path: string, query: Query, piece?: Piece): string {
    const url = new URL(`throughline/v1/${path}`, this.#base);
    this.#count += 1;
    const all = { link: this.link, ...query, u: this.#count, ...(piece && { n: piece.n }) };
    for (const [name, value] of Object.entries(all)) url.searchParams.set(name, String(value));
    return piece === undefined ? url.href : `${url.href}&m=${percent(piece.text)}`;
  }

  /** What of `text` fits into the address of such a request. */
  fitting(text: string, path: string, query: Query): string {
    return cut(text, URL_BYTES_MAX - this.of(path, query, { n: 2 ** 40, text: "" }).length - RESERVE_BYTES);
  }
}

/** Characters that a query may hold as they are, and that messages are full of. */
const PLAIN = /%(?:2C|2F|3A)/g;

function percent(text: string): string {
  return encodeURIComponent(text).replace(PLAIN, decodeURIComponent);
}

/** The longest beginning of whole characters whose percent-encoded form has at most `room` bytes. */
function cut(text: string, room: number): string {
  let end = 0;
  for (const character of text) {
    room -= percent(character).length;
    if (room < 0) break;
    end += character.length;
  }
  return text.slice(0, end);
}

/** The beginning of `text` that goes into one body. */
export function bodyful(text: string): string {
  const last = text.charCodeAt(BODY_LENGTH_MAX - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? BODY_LENGTH_MAX - 1 : BODY_LENGTH_MAX);
}

/** Requests whose piece is the body of a POST. */
export function posting(addresses: Addresses, send: Send, web: Web, credentials: boolean): Ask {
  return (path, query, piece, timeoutMs, done) => {
    let status = 0;
    let ours = false;
    let text = "";
    const finish = (answer: Answer): void => {
      calm();
      done(answer);
    };
    const numbered = piece === undefined ? query : { ...query, n: piece.n };
    const abort = send(addresses.of(path, numbered), piece?.text ?? "", credentials, {
      head(...head): void {
        [status, ours] = head;
      },
      part(part): void {
        text += part;
      },
      end: (complete) => finish(complete ? { status, ours, text } : NOTHING),
    });
    const calm = web.after(timeoutMs, () => {
      abort();
      done(NOTHING);
    });
    return () => {
      calm();
      abort();
    };
  };
}

/** Errors that the answer to a script tag can tell, which has no status. */
const STATUS: Readonly<Record<string, number>> = { unknown_link: 404, conflict: 409, bad_origin: 403, draining: 503, overloaded: 503 };

let scripts = 0;

/** Requests by script tags, whose piece is a part of the address. */
export function scripting(addresses: Addresses, web: Web): Ask {
  return (path, query, piece, timeoutMs, done) => {
    const { page } = web;
    scripts += 1;
    const callback = `throughline_${scripts}`;
    let over = false;
    const finish = (answer: Answer): void => {
      if (over) return;
      over = true;
      calm();
      done(answer);
    };
    const calm = web.after(timeoutMs, () => finish(NOTHING));
    if (page !== undefined) {
      page.callbacks[callback] = (text: unknown): void => {
        const error = refusal(String(text));
        finish({ status: error === undefined ? 200 : (STATUS[error.code] ?? 400), ours: true, text: String(text) });
      };
      page.script(addresses.of(path, { ...query, callback }, piece), () => {
        // A script that comes late must still find its callback, so that it goes only now.
        delete page.callbacks[callback];
        finish(NOTHING);
      });
    }
    return () => {
      over = true;
      calm();
    };
  };
}

interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** The error that an answer of the realm tells. */
export function refusal(text: string): Refusal | undefined {
  try {
    return (JSON.parse(text) as { readonly error?: Refusal }).error;
  } catch {
    return undefined;
  }
}

/** How the reason begins when the realm is there, and the address is wrong in spite of that. */
export const REALM = "the realm answered";

/** Why a link cannot go on. */
export interface Verdict {
  readonly code: number;
  readonly reason: string;
  readonly failure?: Failure;
}

/** What an answer other than the wished one means for the link; undefined when another try may help. */
export function judge({ status, ours, text }: Answer): Verdict | undefined {
  if (ours) {
    const { code, message: reason = `status ${status}` } = refusal(text) ?? {};
    if (code === "not_found") {
      return { code: NO_CODE, reason: `${REALM}, but nothing is at this path: a wrong prefix, or one that the proxy has to take away` };
    }
    if (status === 403) return { code: NO_CODE, reason, failure: "origin" };
    return { code: status === 503 ? CloseCode.overloaded : status === 413 ? CloseCode.too_big : NO_CODE, reason };
  }
  if (status === 0 || status === 408 || status === 429 || status > 500) return undefined;
  const reason = `a proxy or another server answered ${status}`;
  return { code: NO_CODE, reason, failure: status === 401 || status === 407 ? "authentication" : "refused" };
}
