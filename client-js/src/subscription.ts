import { Emitter, report } from "./emitter.js";
import { ThroughlineError } from "./errors.js";
import type { ThroughlineEvent } from "./event.js";
import { type Eid, type From, type GapReason, type Position, dataBytes } from "./messages.js";

/** Events that will not come, as far as they existed. */
export interface Gap {
  readonly channel: string;
  /** First EID that is missed. */
  readonly from: Eid;
  /** Last EID that is missed; "0" when the history is another one and nobody can tell. */
  readonly to: Eid;
  readonly reason: GapReason;
}

/** What a subscription is told about. */
export interface SubscriptionEvents {
  gap: Gap;
  /** It is over and not by `close`; the session drops it. */
  error: ThroughlineError;
}

export interface SubscribeOptions {
  /** Default `new`. */
  readonly from?: From | undefined;
  /** Events that may wait for a slow consumer before the flow is stopped; default 1,000. */
  readonly bufferEventsMax?: number | undefined;
  /** Bytes of their data, default 4 MiB. */
  readonly bufferBytesMax?: number | undefined;
}

export const SUBSCRIBE_OPTIONS: (keyof SubscribeOptions)[] = ["from", "bufferEventsMax", "bufferBytesMax"];

/** Called with each event, in order. While a promise it returned is pending, no other event is handed out. */
export type Callback = (event: ThroughlineEvent) => unknown;

/** What a subscription asks of its session. */
export interface Flow {
  pause(): void;
  resume(): void;
  close(): void;
}

type Entry =
  | { readonly event: ThroughlineEvent; readonly epoch: string; readonly bytes: number }
  | { readonly gap: Gap; readonly position: Position };

type Reader = PromiseWithResolversLike<IteratorResult<ThroughlineEvent, undefined>>;

interface PromiseWithResolversLike<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

const BUFFER_EVENTS_MAX = 1_000;
const BUFFER_BYTES_MAX = 4 * 1024 * 1024;

/**
 * A subscription to one channel: by callback, or as an async iterator. A consumer that is slow never loses events: once
 * its buffer is full the flow is stopped at the realm, and goes on at the cursor when three quarters of it are free.
 */
export class Subscription extends Emitter<SubscriptionEvents> implements AsyncIterable<ThroughlineEvent, undefined> {
  readonly channel: string;
  /** Settles when the realm has accepted the subscription, or refused it. */
  readonly ready: Promise<void>;

  readonly #callback: Callback | undefined;
  readonly #eventsMax: number;
  readonly #bytesMax: number;
  readonly #flow: Flow;
  #position: Position | undefined;
  #buffer: Entry[] = [];
  /** Where the buffer begins: entries before it have been consumed. */
  #head = 0;
  #bytes = 0;
  #paused = false;
  /** A callback's promise is pending. */
  #busy = false;
  #readers: Reader[] = [];
  #over: { readonly error: ThroughlineError | undefined } | undefined;
  #settle!: PromiseWithResolversLike<void>;

  /** Made by `Session.subscribe`. */
  constructor(channel: string, callback: Callback | undefined, options: SubscribeOptions, flow: Flow) {
    super("gap", "error");
    this.channel = channel;
    this.#callback = callback;
    this.#eventsMax = Math.max(1, options.bufferEventsMax ?? BUFFER_EVENTS_MAX);
    this.#bytesMax = Math.max(1, options.bufferBytesMax ?? BUFFER_BYTES_MAX);
    this.#flow = flow;
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Whoever does not look at `ready` is told by "error" instead.
    this.ready.catch(() => undefined);
  }

  /** EID of the last event that was consumed; "0" when there was none yet, undefined before `ready`. */
  get cursor(): Eid | undefined {
    return this.#position?.after;
  }

  /** The cursor with its epoch: as `from` of another subscription it goes on exactly here. */
  get position(): Position | undefined {
    return this.#position;
  }

  /** True until it was closed or has failed. */
  get open(): boolean {
    return this.#over === undefined;
  }

  /** Events that wait for the consumer. */
  get buffered(): number {
    return this.#buffer.length - this.#head;
  }

  /** Ends the subscription. Events that still wait in its buffer are dropped. */
  close(): void {
    if (this.#over === undefined) this.#flow.close();
    this.#finish(undefined);
  }

  [Symbol.asyncIterator](): AsyncIterator<ThroughlineEvent, undefined> {
    return {
      next: () => this.#next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  // The session calls these.

  /** @internal */
  accepted(position: Position): void {
    this.#position ??= position;
    this.#settle.resolve();
  }

  /** @internal */
  deliver(event: ThroughlineEvent, epoch: string): void {
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      this.#position = { after: event.eid, epoch };
      reader.resolve({ done: false, value: event });
    } else if (this.#callback !== undefined && !this.#busy) {
      this.#call(this.#callback, event, epoch);
    } else {
      this.#keep({ event, epoch, bytes: dataBytes(event.data) });
    }
  }

  /** @internal */
  missed(gap: Gap, epoch: string): void {
    const position = { after: gap.reason === "epoch" ? "0" : gap.to, epoch };
    if (this.buffered > 0 || this.#busy) this.#keep({ gap, position });
    else this.#tellGap(gap, position);
  }

  /** @internal */
  failed(error: ThroughlineError): boolean {
    const heard = this.hears("error") || this.#readers.length > 0;
    this.#finish(error);
    // A callback is told after the events that came before the fault.
    if (!this.#busy) this.emit("error", error);
    return heard;
  }

  #tellGap(gap: Gap, position: Position): void {
    this.#position = position;
    this.emit("gap", gap);
  }

  #keep(entry: Entry): void {
    this.#buffer.push(entry);
    if ("bytes" in entry) this.#bytes += entry.bytes;
    if (this.#paused || (this.buffered < this.#eventsMax && this.#bytes < this.#bytesMax)) return;
    this.#paused = true;
    this.#flow.pause();
  }

  /** The oldest event of the buffer; gaps before it are told on the way. */
  #take(): ThroughlineEvent | undefined {
    while (this.#head < this.#buffer.length) {
      const entry = this.#buffer[this.#head];
      this.#head += 1;
      if (entry === undefined) continue;
      if ("gap" in entry) {
        this.#tellGap(entry.gap, entry.position);
        continue;
      }
      this.#bytes -= entry.bytes;
      this.#position = { after: entry.event.eid, epoch: entry.epoch };
      this.#room();
      return entry.event;
    }
    this.#room();
    return undefined;
  }

  /** Gives consumed entries back, and starts the flow again when there is room. */
  #room(): void {
    if (this.#head === this.#buffer.length || this.#head >= this.#eventsMax) {
      this.#buffer = this.#buffer.slice(this.#head);
      this.#head = 0;
    }
    if (!this.#paused || this.buffered > this.#eventsMax / 4 || this.#bytes > this.#bytesMax / 4) return;
    this.#paused = false;
    this.#flow.resume();
  }

  #next(): Promise<IteratorResult<ThroughlineEvent, undefined>> {
    const event = this.#take();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#over?.error !== undefined) return Promise.reject(this.#over.error);
    if (this.#over !== undefined) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  #call(callback: Callback, event: ThroughlineEvent, epoch: string): void {
    this.#position = { after: event.eid, epoch };
    const result = run(callback, event);
    if (!(result as Partial<PromiseLike<unknown>> | undefined)?.then) return;
    this.#busy = true;
    void Promise.resolve(result).catch(report).then(() => this.#drain(callback));
  }

  async #drain(callback: Callback): Promise<void> {
    for (let event = this.#take(); event !== undefined; event = this.#take()) {
      await Promise.resolve(run(callback, event)).catch(report);
    }
    this.#busy = false;
    if (this.#over?.error !== undefined) this.emit("error", this.#over.error);
  }

  /** With an error the buffer is kept for the consumer, until it closes. */
  #finish(error: ThroughlineError | undefined): void {
    this.#over = { error };
    this.#settle.reject(error ?? new ThroughlineError("closed", "closed before it was accepted"));
    if (error === undefined) {
      this.#buffer = [];
      this.#head = 0;
    }
    for (const reader of this.#readers.splice(0)) {
      if (error === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(error);
    }
  }
}

function run(callback: Callback, event: ThroughlineEvent): unknown {
  try {
    return callback(event);
  } catch (error) {
    report(error);
    return undefined;
  }
}
