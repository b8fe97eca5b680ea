// The subscriptions of a session, and what they are called on its present link.

import { ThroughlineError } from "./errors.js";
import {
  type ClientMessage,
  type EventMessage,
  type From,
  type GapMessage,
  type Position,
  type Reply,
  checkChannelName,
  checkFrom,
  compareEids,
} from "./messages.js";

/** A subscription as the state machine keeps it; owned by the session until it has ended. */
export interface Sub {
  readonly channel: string;
  /** Where to begin while there is no position yet. */
  readonly from: From;
  /** The cursor, sent with every new link. */
  position: Position | undefined;
  /** Asked for no events at present; see {@link Feeds.pause}. */
  paused: boolean;
  /** Number on the present link, once the server has told it. */
  number: number | undefined;
  /** Another epoch than the cursor's was answered, and its gap has not come yet. */
  newEpoch: string | undefined;
}

export type FeedOutput =
  | { readonly type: "subscribed"; readonly sub: Sub }
  | { readonly type: "event"; readonly sub: Sub; readonly event: EventMessage }
  | { readonly type: "gap"; readonly sub: Sub; readonly gap: GapMessage }
  | { readonly type: "ended"; readonly sub: Sub; readonly error: ThroughlineError };

/** A subscribe request: which subscription it is for, and where that was to begin. */
export interface Asked {
  readonly sub: Sub;
  readonly from: From;
}

export class Feeds {
  /** Subscribe requests of the present link that were not answered. */
  asked = new Map<number, Asked>();
  readonly #subs = new Map<string, Sub>();
  /** Subscriptions by their number on the present link. */
  readonly #numbers = new Map<number, Sub>();
  readonly #nextId: () => number;
  readonly #tell: (output: FeedOutput) => void;

  constructor(nextId: () => number, tell: (output: FeedOutput) => void) {
    this.#nextId = nextId;
    this.#tell = tell;
  }

  /** Throws for bad names and positions, and when the channel has a subscription already. */
  add(channel: string, from: From): Sub {
    checkChannelName(channel);
    checkFrom(from);
    if (this.#subs.has(channel)) {
      const text = `this session is subscribed to "${channel}" already: close that subscription first, or use a second session`;
      throw new ThroughlineError("already_subscribed", text);
    }
    const position = typeof from === "string" ? undefined : from;
    const sub: Sub = { channel, from, position, paused: false, number: undefined, newEpoch: undefined };
    this.#subs.set(channel, sub);
    return sub;
  }

  remove(sub: Sub): void {
    this.#subs.delete(sub.channel);
  }

  has(sub: Sub): boolean {
    return this.#subs.get(sub.channel) === sub;
  }

  ask(sub: Sub): ClientMessage {
    const id = this.#nextId();
    const from = sub.position ?? sub.from;
    this.asked.set(id, { sub, from });
    return { type: "subscribe", id, channel: sub.channel, from };
  }

  leave(sub: Sub): ClientMessage {
    this.forget(sub);
    return { type: "unsubscribe", id: this.#nextId(), channel: sub.channel };
  }

  /** What a candidate says in its first flight while there is no link; its answers are known by `asked`. */
  greeting(): { readonly messages: ClientMessage[]; readonly asked: Map<number, Asked> } {
    const before = this.asked;
    this.asked = new Map();
    const messages = this.#active().map((sub) => this.ask(sub));
    const { asked } = this;
    this.asked = before;
    return { messages, asked };
  }

  /** Moves to a link on which `asked` was asked for: what else is to be said on it. */
  move(asked: ReadonlyMap<number, Asked>): ClientMessage[] {
    this.reset();
    const messages: ClientMessage[] = [];
    const settled = new Set<Sub>();
    for (const [id, { sub, from }] of asked) {
      const now = sub.position ?? sub.from;
      // Events that came over another link in the meantime moved the cursor: fine, if this one began at a cursor too, and
      // in the same history.
      const same = from === now || (typeof from !== "string" && from.epoch === sub.position?.epoch);
      if (this.has(sub) && !sub.paused && same) {
        this.asked.set(id, { sub, from });
        settled.add(sub);
      } else {
        messages.push({ type: "unsubscribe", id: this.#nextId(), channel: sub.channel });
      }
    }
    for (const sub of this.#active()) if (!settled.has(sub)) messages.push(this.ask(sub));
    return messages;
  }

  /** There is no link. */
  reset(): void {
    for (const sub of this.#subs.values()) this.forget(sub);
    this.asked = new Map();
  }

  /** Takes the subscription off the present link. */
  forget(sub: Sub): void {
    if (sub.number !== undefined) this.#numbers.delete(sub.number);
    for (const [id, asked] of this.asked) if (asked.sub === sub) this.asked.delete(id);
    sub.number = undefined;
    sub.newEpoch = undefined;
  }

  drop(sub: Sub, error: ThroughlineError): void {
    this.forget(sub);
    if (this.has(sub)) this.remove(sub);
    this.#tell({ type: "ended", sub, error });
  }

  dropAll(error: ThroughlineError): void {
    for (const sub of [...this.#subs.values()]) this.drop(sub, error);
  }

  /** Whether it was the answer to a subscribe. */
  reply({ id, error, number, epoch, eid }: Reply): boolean {
    const sub = this.asked.get(id)?.sub;
    if (sub === undefined) return false;
    this.asked.delete(id);
    if (error?.code === "draining") return true;
    if (error !== undefined) {
      this.drop(sub, error);
    } else if (number === undefined || epoch === undefined || eid === undefined) {
      this.drop(sub, new ThroughlineError("bad_message", "the server answered a subscribe without a cursor"));
    } else {
      sub.number = number;
      this.#numbers.set(number, sub);
      // A cursor of ours stands until an event or a gap moves it: were the reply's taken, and the link lost before the gap,
      // nobody would ever be told of the gap.
      if (sub.position === undefined) sub.position = { after: eid, epoch };
      else if (sub.position.epoch !== epoch) sub.newEpoch = epoch;
      this.#tell({ type: "subscribed", sub });
    }
    return true;
  }

  event(event: EventMessage): void {
    const sub = this.#numbers.get(event.channel);
    // No subscription: it was on its way when the subscription was left.
    if (sub?.position === undefined) return;
    if (sub.newEpoch !== undefined) this.#epochGap(sub.newEpoch, event.channel);
    const { after, epoch } = sub.position;
    if (compareEids(event.eid, after) <= 0) return;
    sub.position = { after: event.eid, epoch };
    this.#tell({ type: "event", sub, event });
  }

  gap(gap: GapMessage): void {
    const sub = this.#numbers.get(gap.channel);
    if (sub?.position === undefined) return;
    const renewed = gap.reason === "epoch";
    if (!renewed && sub.newEpoch !== undefined) this.#epochGap(sub.newEpoch, gap.channel);
    const { after } = sub.position;
    if (renewed) sub.newEpoch = undefined;
    else if (compareEids(gap.to, after) <= 0) return;
    sub.position = { after: renewed ? "0" : gap.to, epoch: gap.epoch };
    // Asked for with an older cursor, while another link went on to give events.
    const from = String(BigInt(after) + 1n);
    this.#tell({ type: "gap", sub, gap: compareEids(gap.from, from) < 0 ? { ...gap, from } : gap });
  }

  end(number: number, reason: string): void {
    const sub = this.#numbers.get(number);
    if (sub === undefined) return;
    const code = reason === "deleted" ? "channel_deleted" : reason;
    this.drop(sub, new ThroughlineError(code, `the subscription to "${sub.channel}" is over: ${reason}`));
  }

  #active(): Sub[] {
    return [...this.#subs.values()].filter((sub) => !sub.paused);
  }

  /** A server that changes the epoch without a word still may not lose events in silence. */
  #epochGap(epoch: string, channel: number): void {
    this.gap({ type: "gap", channel, from: "0", to: "0", epoch, reason: "epoch" });
  }
}
