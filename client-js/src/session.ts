// A session over all its links, as a pure state machine: no sockets, no timers, no clock. Times are milliseconds of any
// steady clock. After every call, take what `transmit`, `takeOutputs`, `link` and `deadline` have to say.

import { CloseCode, reconnectAfter, reconnectDelay } from "./close.js";
import { ThroughlineError } from "./errors.js";
import {
  type Body,
  type ClientMessage,
  type Eid,
  type EventMessage,
  type From,
  type GapMessage,
  type Limits,
  type Position,
  type Reply,
  type ServerMessage,
  type Welcome,
  checkChannelName,
  checkFrom,
  compareEids,
} from "./messages.js";
import { Outbox } from "./outbox.js";
import { Pulse } from "./pulse.js";

/** `connecting`: a link is being opened; `open`: welcomed; `waiting`: until the next attempt; `closed`: for good. */
export type State = "connecting" | "open" | "waiting" | "closed";

/** Bounds of a session; every one has a default. */
export interface SessionSettings {
  /** Name and version told to the operator; at most 64 bytes. */
  readonly client?: string | undefined;
  /** How long a link may take to be welcomed, milliseconds; default 10,000. */
  readonly openTimeoutMs?: number | undefined;
  /** Publishes that may wait for their answer, default 10,000. */
  readonly queueEventsMax?: number | undefined;
  /** Bytes of their data, default 16 MiB. */
  readonly queueBytesMax?: number | undefined;
  /** Uniform in 0 to 1. */
  readonly random: () => number;
}

/** Where the session wants its link: `close` and `open` are to be done, the others stand. */
export type LinkWish =
  | { readonly do: "nothing" }
  | { readonly do: "open" }
  | { readonly do: "close"; readonly code: number; readonly reason: string };

/** What happened, for whoever drives the session. */
export type Output =
  | { readonly type: "state"; readonly state: State; readonly error: ThroughlineError | undefined }
  | { readonly type: "subscribed"; readonly sub: Sub }
  | { readonly type: "event"; readonly sub: Sub; readonly event: EventMessage }
  | { readonly type: "gap"; readonly sub: Sub; readonly gap: GapMessage }
  | { readonly type: "ended"; readonly sub: Sub; readonly error: ThroughlineError }
  | { readonly type: "published"; readonly key: number; readonly eid: Eid; readonly duplicate: boolean }
  | { readonly type: "refused"; readonly key: number; readonly error: ThroughlineError }
  | { readonly type: "drain"; readonly after: number }
  | { readonly type: "rtt"; readonly rtt: number };

/** A subscription as the state machine keeps it; owned by the session until it has ended. */
export interface Sub {
  readonly channel: string;
  /** Where to begin while there is no position yet. */
  readonly from: From;
  /** The cursor, sent with every new link. */
  position: Position | undefined;
  /** Asked for no events at present; see {@link SessionCore.pause}. */
  paused: boolean;
  /** Number on the present link, once the server has told it. */
  number: number | undefined;
  /** Another epoch than the cursor's was answered, and its gap has not come yet. */
  newEpoch: string | undefined;
}

/** How long a welcomed link must live for failures before it to be forgotten. */
const STEADY_MS = 10_000;
/** First delay's exponent for close codes that mean "later". */
const LATER = 3;

const OPEN_TIMEOUT_MS = 10_000;

export class SessionCore {
  state: State = "waiting";
  /** Secret id, known after the first welcome. */
  id: string | undefined;
  limits: Limits | undefined;
  /** Links that failed since one was steady. */
  attempts = 0;
  /** Of the next delay: section 7's n. */
  #exponent = 0;

  readonly #settings: SessionSettings;
  readonly #outbox: Outbox;
  readonly #subs = new Map<string, Sub>();
  /** Subscriptions by their number on the present link. */
  readonly #numbers = new Map<number, Sub>();
  /** Subscribe requests of the present link that were not answered. */
  readonly #asked = new Map<number, Sub>();
  /** Requests that go out before any publish; filled only while a link is up. */
  #control: ClientMessage[] = [];
  #outputs: Output[] = [];
  #lastId = 0;

  /** `up`: messages may be sent. */
  #link: "none" | "wanted" | "opening" | "up" | "doomed" = "none";
  #doom: { readonly code: number; readonly reason: string } | undefined;
  #attemptAt = 0;
  #openedAt = 0;
  #welcomedAt: number | undefined;
  #pulse = new Pulse(0);
  #drainAfter: number | undefined;

  constructor(settings: SessionSettings, now: number) {
    this.#settings = settings;
    this.#outbox = new Outbox(settings.queueEventsMax, settings.queueBytesMax);
    this.#attemptAt = now;
  }

  // What the application asks for.

  /** Throws for bad names and positions, and when the channel has a subscription already. */
  subscribe(channel: string, from: From): Sub {
    this.#checkOpen();
    checkChannelName(channel);
    checkFrom(from);
    if (this.#subs.has(channel)) {
      const text = `this session is subscribed to "${channel}" already: close that subscription first, or use a second session`;
      throw new ThroughlineError("already_subscribed", text);
    }
    const position = typeof from === "string" ? undefined : from;
    const sub: Sub = { channel, from, position, paused: false, number: undefined, newEpoch: undefined };
    this.#subs.set(channel, sub);
    this.#ask(sub);
    return sub;
  }

  unsubscribe(sub: Sub): void {
    if (this.#subs.get(sub.channel) !== sub) return;
    this.pause(sub);
    this.#subs.delete(sub.channel);
  }

  /** Stops the flow. Nothing is lost: {@link resume} goes on at the cursor. */
  pause(sub: Sub): void {
    if (sub.paused) return;
    sub.paused = true;
    this.#forget(sub);
    if (this.#link === "up") this.#control.push({ type: "unsubscribe", id: this.#nextId(), channel: sub.channel });
  }

  resume(sub: Sub): void {
    if (!sub.paused || this.#subs.get(sub.channel) !== sub) return;
    sub.paused = false;
    this.#ask(sub);
  }

  /** Takes an event for publishing; its key, which is not the id on the wire, comes back in `published` or `refused`. Throws `queue_full`. */
  publish(channel: string, body: Body, persistent: boolean | undefined): number {
    this.#checkOpen();
    return this.#outbox.add(channel, body, persistent, this.limits?.event_bytes);
  }

  /** Publishes that have no answer yet. */
  get unanswered(): number {
    return this.#outbox.size;
  }

  /** Asks for a round trip; an `rtt` output follows. */
  ping(now: number): void {
    if (this.state !== "open") return;
    this.#control.push({ type: "ping" });
    this.#pulse.pinged(now);
  }

  /** The network may have changed: tries at once, or asks the link whether it still lives. */
  hint(now: number): void {
    if (this.state === "waiting") this.#attemptAt = now;
    if (this.state === "open" && this.#pulse.probe(now)) this.ping(now);
  }

  close(reason = "closed by the application"): void {
    if (this.state === "closed") return;
    this.#dropLink(CloseCode.normal, reason);
    this.fail(new ThroughlineError("closed", `the session is closed: ${reason}`));
  }

  /** Ends the session for a fault that trying again does not mend. */
  fail(error: ThroughlineError): void {
    if (this.state === "closed") return;
    this.#reset();
    this.#link = "doomed";
    this.#setState("closed", error);
    for (const sub of [...this.#subs.values()]) this.#drop(sub, error);
    for (const key of this.#outbox.drain()) this.#outputs.push({ type: "refused", key, error });
  }

  // What happens to the link.

  /** The transport is ready to carry messages. */
  opened(now: number): void {
    if (this.#link !== "opening") return;
    this.#link = "up";
    this.#openedAt = now;
    this.#pulse = new Pulse(now);
    this.#control = [{ type: "connect", session: this.id, client: this.#settings.client }];
    for (const sub of this.#subs.values()) this.#ask(sub);
  }

  input(now: number, message: ServerMessage): void {
    if (this.#link !== "up") return;
    this.#pulse.heard(now);
    if (this.#welcomedAt === undefined && message.type !== "welcome" && message.type !== "close") {
      return this.broken(now, `${message.type} came before welcome`);
    }
    switch (message.type) {
      case "event":
        return this.#event(message);
      case "reply":
        return this.#reply(message);
      case "gap":
        return this.#gap(message);
      case "welcome":
        return this.#welcome(now, message);
      case "end":
        return this.#end(message.channel, message.reason);
      case "ping":
        this.#control.push({ type: "pong" });
        return;
      case "pong": {
        const rtt = this.#pulse.ponged(now);
        if (rtt !== undefined) this.#outputs.push({ type: "rtt", rtt });
        return;
      }
      case "drain":
        this.#drainAfter = message.after;
        this.#outputs.push({ type: "drain", after: message.after });
        return;
      case "close":
        this.#dropLink(CloseCode.normal, "");
        return this.#lost(now, message.code, message.reason);
    }
  }

  /** What came cannot be understood: leaves the link, and comes back later. */
  broken(now: number, fault: string): void {
    this.#dropLink(CloseCode.bad_message, fault);
    this.#lost(now, CloseCode.internal, fault);
  }

  /** The link has ended, or could not be opened; `code` as in section 7, 1006 when there is none. */
  lost(now: number, code: number, reason: string): void {
    if (this.#link === "opening" || this.#link === "up") this.#lost(now, code, reason);
  }

  /** Time has passed. */
  tick(now: number): void {
    if (this.#link === "none" && this.state === "waiting" && now >= this.#attemptAt) {
      this.#link = "wanted";
      this.#openedAt = now;
      this.#setState("connecting");
    }
    const timeout = this.#settings.openTimeoutMs ?? OPEN_TIMEOUT_MS;
    if (this.state === "connecting" && now >= this.#openedAt + timeout) {
      this.#dropLink(CloseCode.heartbeat, "not welcomed in time");
      this.#lost(now, CloseCode.heartbeat, `no welcome within ${timeout} ms`);
    }
    if (this.state === "open") this.#heartbeats(now);
  }

  // What there is to do.

  /** The next message for the link, until there is none. To be polled after every call. */
  transmit(): ClientMessage | undefined {
    if (this.#link !== "up") return undefined;
    const control = this.#control.shift();
    if (control !== undefined) return control;
    // Before a session id is known, a repeated publish could not be recognised as one.
    if (this.id === undefined || this.limits === undefined) return undefined;
    return this.#outbox.next(this.limits.publishes_max, () => this.#nextId());
  }

  /** What happened since the last time. */
  takeOutputs(): Output[] {
    const outputs = this.#outputs;
    if (outputs.length > 0) this.#outputs = [];
    return outputs;
  }

  /** What is to be done with the link; each wish is told once. */
  link(): LinkWish {
    if (this.#doom !== undefined) {
      const { code, reason } = this.#doom;
      this.#doom = undefined;
      return { do: "close", code, reason };
    }
    if (this.#link !== "wanted") return { do: "nothing" };
    this.#link = "opening";
    return { do: "open" };
  }

  /** When {@link tick} is due. */
  deadline(): number | undefined {
    switch (this.state) {
      case "waiting":
        return this.#attemptAt;
      case "connecting":
        return this.#openedAt + (this.#settings.openTimeoutMs ?? OPEN_TIMEOUT_MS);
      case "open":
        return this.#pulse.deadline();
      case "closed":
        return undefined;
    }
  }

  // The rest is private.

  #checkOpen(): void {
    if (this.state === "closed") {
      throw new ThroughlineError("closed", "the session is closed: make a new one");
    }
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  #setState(state: State, error?: ThroughlineError): void {
    this.state = state;
    this.#outputs.push({ type: "state", state, error });
  }

  #ask(sub: Sub): void {
    if (this.#link !== "up" || sub.paused) return;
    const id = this.#nextId();
    this.#asked.set(id, sub);
    this.#control.push({ type: "subscribe", id, channel: sub.channel, from: sub.position ?? sub.from });
  }

  /** Takes the subscription off the present link. */
  #forget(sub: Sub): void {
    if (sub.number !== undefined) this.#numbers.delete(sub.number);
    for (const [id, asked] of this.#asked) if (asked === sub) this.#asked.delete(id);
    sub.number = undefined;
    sub.newEpoch = undefined;
  }

  #welcome(now: number, welcome: Welcome): void {
    if (this.#welcomedAt !== undefined) return this.broken(now, "a second welcome came");
    if (welcome.version !== 1) {
      const text = `the server chose protocol version ${welcome.version}, this client speaks 1: update one of them`;
      this.#dropLink(CloseCode.version, text);
      return this.fail(new ThroughlineError("version_not_supported", text));
    }
    if (this.id !== undefined && this.id !== welcome.session) {
      // Under another session the realm would take repeated publishes for new ones.
      return this.broken(now, "the server answered with another session than the one presented");
    }
    this.#welcomedAt = now;
    this.#pulse.interval = Math.max(1, welcome.heartbeat);
    this.id = welcome.session;
    this.limits = welcome.limits;
    this.#outputs.push({ type: "rtt", rtt: now - this.#openedAt });
    this.#setState("open");
  }

  #reply(reply: Reply): void {
    const sub = this.#asked.get(reply.id);
    if (sub !== undefined) {
      this.#asked.delete(reply.id);
      return this.#subscribed(sub, reply);
    }
    const { id, error, eid, duplicate } = reply;
    if (!this.#outbox.awaits(id)) return;
    // Kept in its place when the realm drains: it is repeated on the next link, before what is held back until then.
    if (error?.code === "draining") return this.#outbox.hold();
    const key = this.#outbox.answered(id);
    if (key === undefined) return;
    if (error === undefined && eid !== undefined) {
      this.#outputs.push({ type: "published", key, eid, duplicate });
    } else {
      const fault = error ?? new ThroughlineError("bad_message", "the server answered a publish without an EID");
      this.#outputs.push({ type: "refused", key, error: fault });
    }
  }

  #subscribed(sub: Sub, { error, number, epoch, eid }: Reply): void {
    if (error?.code === "draining") return;
    if (error !== undefined) return this.#drop(sub, error);
    if (number === undefined || epoch === undefined || eid === undefined) {
      return this.#drop(sub, new ThroughlineError("bad_message", "the server answered a subscribe without a cursor"));
    }
    sub.number = number;
    this.#numbers.set(number, sub);
    // A cursor of ours stands until an event or a gap moves it: were the reply's taken, and the link lost before the gap,
    // nobody would ever be told of the gap.
    if (sub.position === undefined) sub.position = { after: eid, epoch };
    else if (sub.position.epoch !== epoch) sub.newEpoch = epoch;
    this.#outputs.push({ type: "subscribed", sub });
  }

  #event(event: EventMessage): void {
    const sub = this.#numbers.get(event.channel);
    // No subscription: it was on its way when the subscription was left.
    if (sub?.position === undefined) return;
    if (sub.newEpoch !== undefined) this.#epochGap(sub, sub.newEpoch, event.channel);
    const { after, epoch } = sub.position;
    if (compareEids(event.eid, after) <= 0) return;
    sub.position = { after: event.eid, epoch };
    this.#outputs.push({ type: "event", sub, event });
  }

  /** A server that changes the epoch without a word still may not lose events in silence. */
  #epochGap(sub: Sub, epoch: string, channel: number): void {
    const from = String(BigInt(sub.position?.after ?? "0") + 1n);
    this.#gap({ type: "gap", channel, from, to: "0", epoch, reason: "epoch" });
  }

  #gap(gap: GapMessage): void {
    const sub = this.#numbers.get(gap.channel);
    if (sub?.position === undefined) return;
    if (gap.reason === "epoch") {
      sub.newEpoch = undefined;
      sub.position = { after: "0", epoch: gap.epoch };
    } else {
      if (sub.newEpoch !== undefined) this.#epochGap(sub, sub.newEpoch, gap.channel);
      const { after } = sub.position;
      if (compareEids(gap.to, after) <= 0) return;
      sub.position = { after: gap.to, epoch: gap.epoch };
    }
    this.#outputs.push({ type: "gap", sub, gap });
  }

  #end(number: number, reason: string): void {
    const sub = this.#numbers.get(number);
    if (sub === undefined) return;
    const code = reason === "deleted" ? "channel_deleted" : reason;
    this.#drop(sub, new ThroughlineError(code, `the subscription to "${sub.channel}" is over: ${reason}`));
  }

  #drop(sub: Sub, error: ThroughlineError): void {
    this.#forget(sub);
    if (this.#subs.get(sub.channel) === sub) this.#subs.delete(sub.channel);
    this.#outputs.push({ type: "ended", sub, error });
  }

  #heartbeats(now: number): void {
    const due = this.#pulse.check(now);
    if (due === "ping") this.ping(now);
    if (due !== "dead") return;
    const text = `nothing was heard for ${this.#pulse.silence(now)} ms`;
    this.#dropLink(CloseCode.heartbeat, text);
    this.#lost(now, CloseCode.heartbeat, text);
  }

  #dropLink(code: number, reason: string): void {
    if (this.#link === "opening" || this.#link === "up") this.#doom = { code, reason };
    this.#link = "doomed";
  }

  #lost(now: number, code: number, reason: string): void {
    if (this.state === "closed") return;
    const steady = this.#welcomedAt !== undefined && now - this.#welcomedAt >= STEADY_MS;
    this.#reset();
    const what = `the link ended with ${code}${reason === "" ? "" : ` (${reason})`}`;
    const next = reconnectAfter(code);
    if (next === "never") return this.fail(new ThroughlineError("closed", `${what}; coming back would not help`));
    this.#attemptAt = now + this.#delay(next === "later", steady);
    this.#setState("waiting", new ThroughlineError("link_lost", what));
  }

  #delay(later: boolean, steady: boolean): number {
    const random = this.#settings.random();
    if (steady) {
      this.attempts = 0;
      this.#exponent = 0;
    }
    this.attempts += 1;
    if (this.#drainAfter !== undefined) {
      const after = this.#drainAfter;
      this.#drainAfter = undefined;
      return Math.floor(random * after);
    }
    const n = later ? Math.max(this.#exponent, LATER) : this.#exponent;
    this.#exponent = n + 1;
    return reconnectDelay(n, random);
  }

  /** Forgets all that holds on one link only. */
  #reset(): void {
    this.#link = "none";
    this.#welcomedAt = undefined;
    this.#control = [];
    for (const sub of this.#subs.values()) this.#forget(sub);
    this.#outbox.rewind();
  }
}
