// Publishes from the call until the answer, over all links.

import { ThroughlineError } from "./errors.js";
import { type Body, type Publish, checkChannelName, dataBytes } from "./messages.js";

interface Queued extends Publish {
  readonly bytes: number;
}

const EVENTS_MAX = 10_000;
const BYTES_MAX = 16 * 1024 * 1024;

export class Outbox {
  readonly #eventsMax: number;
  readonly #bytesMax: number;
  /** Sent on the present link, and still to be sent on it; each in the order of the ids. */
  #flying = new Map<number, Queued>();
  #waiting = new Map<number, Queued>();
  #bytes = 0;

  constructor(eventsMax = EVENTS_MAX, bytesMax = BYTES_MAX) {
    this.#eventsMax = eventsMax;
    this.#bytesMax = bytesMax;
  }

  /** Publishes that have no answer yet. */
  get size(): number {
    return this.#flying.size + this.#waiting.size;
  }

  /** Throws when there is no room, or when the data are over what the realm takes. */
  add(nextId: () => number, channel: string, body: Body, persistent: boolean | undefined, eventBytesMax: number | undefined): number {
    checkChannelName(channel);
    const bytes = dataBytes(body.data);
    this.#checkRoom(bytes, eventBytesMax);
    const id = nextId();
    this.#waiting.set(id, { type: "publish", id, channel, body, persistent, bytes });
    this.#bytes += bytes;
    return id;
  }

  /** The next one to be sent, unless `publishesMax` are unanswered. */
  next(publishesMax: number): Publish | undefined {
    if (this.#flying.size >= publishesMax) return undefined;
    const [next] = this.#waiting.values();
    if (next === undefined) return undefined;
    this.#waiting.delete(next.id);
    this.#flying.set(next.id, next);
    return next;
  }

  /** Whether `id` was sent on this link and has no answer. */
  awaits(id: number): boolean {
    return this.#flying.has(id);
  }

  answered(id: number): void {
    this.#bytes -= this.#flying.get(id)?.bytes ?? 0;
    this.#flying.delete(id);
  }

  /** The link is gone: whatever has no answer is sent again on the next one, before anything new. */
  rewind(): void {
    this.#waiting = new Map([...this.#flying, ...this.#waiting]);
    this.#flying = new Map();
  }

  /** Empties it; gives the ids that never had an answer. */
  drain(): number[] {
    this.rewind();
    const ids = [...this.#waiting.keys()];
    this.#waiting.clear();
    this.#bytes = 0;
    return ids;
  }

  #checkRoom(bytes: number, eventBytesMax: number | undefined): void {
    if (eventBytesMax !== undefined && bytes > eventBytesMax) {
      const text = `the data have ${bytes} bytes, this realm takes ${eventBytesMax}: split them`;
      throw new ThroughlineError("event_too_large", text, eventBytesMax);
    }
    const way = "await some of the promises that publish returned";
    if (this.size >= this.#eventsMax) {
      const text = `queueEventsMax: ${this.#eventsMax} events wait to be published: ${way}`;
      throw new ThroughlineError("queue_full", text, this.#eventsMax);
    }
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax) {
      const text = `queueBytesMax: ${this.#bytesMax} bytes wait to be published: ${way}`;
      throw new ThroughlineError("queue_full", text, this.#bytesMax);
    }
  }
}
