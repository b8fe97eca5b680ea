// What happens on one request, WebSocket, event source or frame, in order, for a check that waits for it step by step.

/** The head of an answer. */
export interface Head {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** `open`: the answer's head, or a good handshake; `data`: a message or a part of a body; `end`: nothing more will come. */
export type Happening =
  | { readonly kind: "open"; readonly at: number; readonly head?: Head }
  | { readonly kind: "data"; readonly at: number; readonly text: string }
  | { readonly kind: "end"; readonly at: number; readonly complete: boolean; readonly detail?: string | undefined };

/** What a wire needs of the world. */
export interface Clock {
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Calls once; the result cancels it. */
  after(ms: number, call: () => void): () => void;
}

export class Wire {
  readonly #clock: Clock;
  readonly #began: number;
  #heard: Happening[] = [];
  #wake: (() => void) | undefined;
  /** What ends it, and what sends a message on it; given by whoever opened it. */
  close: () => void = () => undefined;
  send: (text: string) => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.now();
  }

  open(head?: Head): void {
    this.#tell({ kind: "open", at: this.elapsed, ...(head && { head }) });
  }

  data(text: string): void {
    this.#tell({ kind: "data", at: this.elapsed, text });
  }

  end(complete: boolean, detail?: string): void {
    this.#tell({ kind: "end", at: this.elapsed, complete, detail });
  }

  /** The next thing that happens, or undefined when nothing does within so many milliseconds since the wire began. */
  async next(until: number): Promise<Happening | undefined> {
    if (this.#heard.length === 0) {
      await new Promise<void>((resolve) => {
        const calm = this.#clock.after(Math.max(0, until - this.elapsed), resolve);
        this.#wake = (): void => {
          calm();
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const [first] = this.#heard;
    // What never ends has its time too.
    return first === undefined || first.at > until ? undefined : this.#heard.shift();
  }

  /** Milliseconds since the wire began. */
  get elapsed(): number {
    return Math.round(this.#clock.now() - this.#began);
  }

  #tell(happening: Happening): void {
    this.#heard.push(happening);
    this.#wake?.();
  }
}
