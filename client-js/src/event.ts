import type { Eid, EventMessage } from "./messages.js";
import { type Properties, utf8 } from "./properties.js";

const NONE: Properties = Object.freeze({});

/** An event as it was published, with its id and time. */
export class ThroughlineEvent {
  readonly channel: string;
  /** The event's id in its channel: decimal digits, increasing, 64 bits. */
  readonly eid: Eid;
  /** When the realm took it: milliseconds since 1970. */
  readonly time: number;
  /** Text if text was published, bytes if bytes were. */
  readonly data: string | Uint8Array<ArrayBuffer>;
  readonly tag: string | undefined;
  /** Typed properties; empty when none were published. */
  readonly properties: Properties;
  /** Time to live in milliseconds, when one was published. */
  readonly ttl: number | undefined;

  constructor(channel: string, message: EventMessage) {
    this.channel = channel;
    this.eid = message.eid;
    this.time = message.time;
    this.data = message.data;
    this.tag = message.tag;
    this.properties = message.properties ?? NONE;
    this.ttl = message.ttl;
  }

  /** {@link time} as a Date. */
  get date(): Date {
    return new Date(this.time);
  }

  /** The data as text; bytes are read as UTF-8. */
  text(): string {
    return typeof this.data === "string" ? this.data : new TextDecoder().decode(this.data);
  }

  /** The data as bytes; text in UTF-8. */
  bytes(): Uint8Array<ArrayBuffer> {
    return typeof this.data === "string" ? utf8.encode(this.data) : this.data;
  }

  /** The data read as JSON. Throws a SyntaxError when they are none. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}
