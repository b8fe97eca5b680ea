// What a session learns of its path and passes on: to its next links, to later sessions, to the realm's operator.

import { type Diagnosis, diagnosis, diagnosisUrl } from "./diagnose.js";
import type { Environment } from "./environment.js";
import { type PathFailure, WORDS, type Words } from "./failure.js";
import { Memory, type Store } from "./memory.js";
import type { Report } from "./messages.js";

/** What the journal needs of the world, besides the session's. */
export interface Outside extends Store {
  /** The text at `url`. */
  fetch(url: string): Promise<string>;
}

/** All that can go wrong. */
export const ALL_WORDS: Words = {
  ...WORDS,
  buffered: "is held back: a proxy collects answers until they are complete",
  rotated: "was ended by something that limits how long answers last",
  authentication: "needs authentication at a proxy",
  origin: "is not allowed for this page's origin: see origins.allowed of the realm",
};

const REPORTS_MAX = 8;
/** A detail may have 200 bytes, and a character three. */
const DETAIL_CHARS_MAX = 66;
/** The realm is asked what it saw of a failed WebSocket at most so often, and so long. */
const DIAGNOSE_EVERY_MS = 60_000;
const DIAGNOSE_MS = 3_000;

export class Journal extends Memory {
  readonly #environment: Environment;
  readonly #base: URL;
  readonly #outside: Outside;
  #reports: PathFailure[] = [];
  #diagnosedAt = -Infinity;

  constructor(environment: Environment, base: URL, outside: Outside) {
    super(outside, base);
    this.#environment = environment;
    this.#base = base;
    this.#outside = outside;
  }

  /** Scripts never see why a WebSocket failed: where HTTP passes, the realm tells what it saw of `attempt`. */
  note(failure: PathFailure, attempt: string | undefined, told: (failure: PathFailure) => void): void {
    const record = (seen: Diagnosis | undefined): void => {
      const whole = { ...failure, ...seen };
      this.#reports = [...this.#reports, whole].slice(-REPORTS_MAX);
      told(whole);
    };
    const now = this.#environment.now();
    if (attempt === undefined || now - this.#diagnosedAt < DIAGNOSE_EVERY_MS) return record(undefined);
    this.#diagnosedAt = now;
    void this.#ask(attempt).catch(() => undefined).then(record);
  }

  reports(): Report[] {
    return this.#reports.splice(0).map(({ detail, ...report }) => ({ type: "report", ...report, detail: detail?.slice(0, DETAIL_CHARS_MAX) }));
  }

  async #ask(attempt: string): Promise<Diagnosis | undefined> {
    let cancel = (): void => undefined;
    const late = new Promise<undefined>((resolve) => {
      cancel = this.#environment.after(DIAGNOSE_MS, () => resolve(undefined));
    });
    const text = await Promise.race([this.#outside.fetch(diagnosisUrl(this.#base, attempt, this.#environment.random())), late]).finally(cancel);
    return text === undefined ? undefined : diagnosis(text);
  }
}

/** A page may be forbidden to keep anything: then the very name throws. */
function guarded<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}

/** The browser's. */
export const outside: Outside = {
  date: () => Date.now(),
  get: (key) => guarded(() => localStorage.getItem(key)) ?? undefined,
  set: (key, text) => guarded(() => localStorage.setItem(key, text)),
  fetch: async (url) => (await fetch(url, { cache: "no-store" })).text(),
};
