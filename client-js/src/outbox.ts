// Publishes from the call until the answer, over all links.

import { ThroughlineError } from "./errors.js";
import { type Body, type Limits, type Publish, checkChannelName, dataBytes } from "./messages.js";

interface Queued {
  /** What the caller knows it by. */
  readonly key: number;
  /**
   * The publish number; 0 until it is first sent. Given late, because ids only ever increase over a session, and
   * subscribing on a new link takes ids while publishes wait.
   */
  id: number;
  readonly channel: string;
  readonly body: Body;
  readonly persistent: boolean | undefined;
  readonly bytes: number;
}

const EVENTS_MAX = 10_000;
const BYTES_MAX = 16 * 1024 * 1024;

export type Refuse = (key: number, error: ThroughlineError) => void;

export class Outbox {
  readonly #refuse: Refuse;
  readonly #eventsMax: number;
  readonly #bytesMax: number;
  /** Sent on the present link, by id; and still to be sent on it, by key. Each in the order of the calls. */
  #flying = new Map<number, Queued>();
  #waiting = new Map<number, Queued>();
  #bytes = 0;
  #lastKey = 0;
  /** The realm takes no more on this link. */
  #held = false;

  /** `refuse` is told of those that are taken out without an answer. */
  constructor(refuse: Refuse, eventsMax = EVENTS_MAX, bytesMax = BYTES_MAX) {
    this.#refuse = refuse;
    this.#eventsMax = eventsMax;
    this.#bytesMax = bytesMax;
  }

  /** Publishes that have no answer yet. */
  get size(): number {
    return this.#flying.size + this.#waiting.size;
  }

  /** Whether any was sent on the present link and has no answer. */
  get flying(): boolean {
    return this.#flying.size > 0;
  }

  /** Gives the key. Throws when there is no room. */
  add(channel: string, body: Body, persistent: boolean | undefined): number {
    checkChannelName(channel);
    const bytes = dataBytes(body.data);
    this.#checkRoom(bytes);
    this.#lastKey += 1;
    const key = this.#lastKey;
    this.#waiting.set(key, { key, id: 0, channel, body, persistent, bytes });
    this.#bytes += bytes;
    return key;
  }

  /**
   * The next one to be sent, unless `publishes_max` are unanswered; `nextId` numbers what was never sent before. What is
   * over the limits of the realm that the link leads to is refused.
   */
  next({ publishes_max, event_bytes }: Limits, nextId: () => number): Publish | undefined {
    for (const next of this.#waiting.values()) {
      if (this.#held || this.#flying.size >= publishes_max) break;
      this.#waiting.delete(next.key);
      const { channel, body, persistent, bytes } = next;
      if (bytes > event_bytes) {
        this.#bytes -= bytes;
        this.#refuse(next.key, new ThroughlineError("event_too_large", `the data have ${bytes} bytes, this realm takes ${event_bytes}: split them`, event_bytes));
        continue;
      }
      const id = (next.id ||= nextId());
      this.#flying.set(id, next);
      return { type: "publish", id, channel, body, persistent };
    }
    return undefined;
  }

  /** Nothing more is to be sent on this link. */
  hold(): void {
    this.#held = true;
  }

  /** Whether `id` was sent on this link and has no answer. */
  awaits(id: number): boolean {
    return this.#flying.has(id);
  }

  /** Takes out what was sent as `id` on this link; gives its key. */
  answered(id: number): number | undefined {
    const done = this.#flying.get(id);
    this.#flying.delete(id);
    this.#bytes -= done?.bytes ?? 0;
    return done?.key;
  }

  /** The link is gone: whatever has no answer is sent again on the next one, before anything new. */
  rewind(): void {
    const all = [...this.#flying.values(), ...this.#waiting.values()];
    this.#waiting = new Map(all.map((queued) => [queued.key, queued]));
    this.#flying = new Map();
    this.#held = false;
  }

  /** Refuses all that never had an answer. */
  drain(error: ThroughlineError): void {
    this.rewind();
    for (const key of this.#waiting.keys()) this.#refuse(key, error);
    this.#waiting.clear();
    this.#bytes = 0;
  }

  #checkRoom(bytes: number): void {
    const full = (option: string, max: number): ThroughlineError => {
      const text = `${option}: ${max} wait: await some of the promises that publish returned`;
      return new ThroughlineError("queue_full", text, max);
    };
    if (this.size >= this.#eventsMax) throw full("queueEventsMax", this.#eventsMax);
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax) throw full("queueBytesMax", this.#bytesMax);
  }
}
