// A channel in the shared worker: one subscription for all tabs, and for each tab the events from where it asked.

import { ThroughlineError } from "../errors.js";
import type { ThroughlineEvent } from "../event.js";
import { type Eid, type Frame, type From, compareEids } from "../messages.js";
import { encodeProperties } from "../properties.js";
import type { Gap, Subscription } from "../subscription.js";

/** A page of PROTOCOL.md section 9.2. */
export interface Replay {
  readonly epoch: string;
  readonly events: readonly { readonly eid: Eid }[];
  readonly next: Eid;
  readonly more?: boolean;
  readonly gap?: { readonly from: Eid; readonly to: Eid; readonly reason: string };
}

/** Reads a page from `from` on; rejects with the realm's refusal. Tries again while the path fails and it is `wanted`. */
export type Read = (channel: string, from: string, wanted: () => boolean) => Promise<Replay | undefined>;

/** A tab's subscription. */
export interface Member {
  send(frame: Frame): void;
  /** Something cannot be told in order: the tab comes back with its cursors, and gets all anew. */
  cut(): void;
  /** The channel's subscription is over. */
  ended(reason: string): void;
  cursor: Eid;
  /** What came while older events are being read. */
  pending: Item[] | undefined;
  gone: boolean;
}

type Item = { readonly eid: Eid; readonly frame: Frame } | { readonly gap: Gap; readonly epoch: string };

/** What the tab is answered. */
export interface Accepted {
  readonly number: number;
  readonly epoch: string;
  readonly eid: Eid;
}

const utf8 = new TextEncoder();
const plus = (eid: Eid, n: bigint): Eid => String(BigInt(eid) + n);

export class Feed {
  readonly channel: string;
  readonly number: number;
  readonly #subscription: Subscription;
  readonly #read: Read;
  readonly #over: () => void;
  readonly #members = new Set<Member>();
  /** The last event that a tab of ours published: it lies before whoever subscribes to new ones after its answer. */
  #published: Eid = "0";

  /** `subscribe` opens the one subscription, with the callback it is given; `over` is called when that ends by a fault. */
  constructor(channel: string, number: number, subscribe: (call: (event: ThroughlineEvent) => void) => Subscription, read: Read, over: () => void) {
    this.channel = channel;
    this.number = number;
    this.#read = read;
    this.#over = over;
    this.#subscription = subscribe((event) => this.#event(event));
    this.#subscription.on("gap", (gap) => this.#give({ gap, epoch: this.#subscription.position?.epoch ?? "" }));
    this.#subscription.on("error", ({ code }) => this.#end(code === "channel_deleted" ? "deleted" : code));
  }

  get empty(): boolean {
    return this.#members.size === 0;
  }

  published(eid: Eid): void {
    if (compareEids(eid, this.#published) > 0) this.#published = eid;
  }

  close(): void {
    this.#subscription.close();
  }

  leave(member: Member): void {
    member.gone = true;
    this.#members.delete(member);
  }

  /** Lets a tab in; `accept` is called before it is given anything. Rejects with the refusal. */
  async join(member: Member, from: From, accept: (accepted: Accepted) => void): Promise<void> {
    this.#members.add(member);
    member.pending = [];
    await this.#subscription.ready;
    const { position } = this.#subscription;
    if (member.gone) return;
    if (position === undefined) throw new ThroughlineError("closed", "the subscription is over");
    const { after, epoch } = position;
    const accepted = (eid: Eid): void => {
      member.cursor = eid;
      accept({ number: this.number, epoch, eid });
    };
    if (from === "new") {
      accepted(compareEids(this.#published, after) > 0 ? this.#published : after);
    } else if (typeof from === "string") {
      await this.#replay(member, from, epoch, () => accepted(from === "all" ? "0" : plus(from, -1n)));
    } else if (from.epoch !== epoch) {
      await this.#replay(member, "all", epoch, () => {
        accepted("0");
        this.#tell(member, { from: plus(from.after, 1n), to: "0", reason: "epoch" }, epoch);
      });
    } else if (compareEids(from.after, after) >= 0) {
      accepted(from.after);
    } else {
      await this.#replay(member, plus(from.after, 1n), epoch, () => accepted(from.after));
    }
    const { pending } = member;
    member.pending = undefined;
    for (const item of pending ?? []) this.#pass(member, item);
  }

  /** What was published before the last page was read is in it, and what came since its reading began is pending. */
  async #replay(member: Member, from: string, epoch: string, accepted: () => void): Promise<void> {
    for (let next: string | undefined = from, first = true; next !== undefined && !member.gone; first = false) {
      member.pending = [];
      const page: Replay | undefined = await this.#read(this.channel, next, () => !member.gone).catch((error: unknown) => {
        if (first) throw error;
        // The tab was let in, and would take a refusal for the answer to something else.
        return void member.cut();
      });
      if (page === undefined || member.gone) return;
      if (page.epoch !== epoch) return member.cut();
      if (first) accepted();
      if (page.gap !== undefined) this.#tell(member, page.gap, epoch);
      for (const event of page.events) {
        this.#pass(member, { eid: event.eid, frame: JSON.stringify({ type: "event", channel: this.number, ...event }) });
      }
      next = page.more === true ? page.next : undefined;
    }
  }

  #event(event: ThroughlineEvent): void {
    this.#give({ eid: event.eid, frame: encodeEvent(this.number, event) });
  }

  #give(item: Item): void {
    for (const member of this.#members) {
      if (member.pending === undefined) this.#pass(member, item);
      else if ("gap" in item && item.gap.reason === "epoch") member.cut();
      else member.pending.push(item);
    }
  }

  #pass(member: Member, item: Item): void {
    if ("gap" in item) return this.#tell(member, item.gap, item.epoch);
    if (member.gone || compareEids(item.eid, member.cursor) <= 0) return;
    member.cursor = item.eid;
    member.send(item.frame);
  }

  #tell(member: Member, { from, to, reason }: { readonly from: Eid; readonly to: Eid; readonly reason: string }, epoch: string): void {
    if (reason === "epoch") member.cursor = "0";
    else if (compareEids(to, member.cursor) <= 0) return;
    else member.cursor = to;
    member.send(JSON.stringify({ type: "gap", channel: this.number, from, to, epoch, reason }));
  }

  #end(reason: string): void {
    this.#over();
    const members = [...this.#members];
    this.#members.clear();
    // Whoever waits for a subscription that was never accepted is refused by `join`.
    if (this.#subscription.position === undefined) return;
    for (const member of members) {
      if (member.pending === undefined) member.ended(reason);
      else member.cut();
    }
  }
}

/** An event as a realm would send it. */
function encodeEvent(channel: number, { eid, time, data, tag, ttl, properties }: ThroughlineEvent): Frame {
  const text = typeof data === "string" ? data : undefined;
  let json = JSON.stringify({ type: "event", channel, eid, time, tag, ttl, data: text });
  if (Object.keys(properties).length > 0) json = `${json.slice(0, -1)},"properties":${encodeProperties(properties)}}`;
  if (typeof data === "string") return json;
  const header = utf8.encode(json);
  const frame = new Uint8Array(4 + header.length + data.length);
  new DataView(frame.buffer).setUint32(0, header.length);
  frame.set(header, 4);
  frame.set(data, 4 + header.length);
  return frame;
}
