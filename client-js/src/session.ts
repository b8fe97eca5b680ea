// A session over all its links, as a pure state machine: no sockets, no timers, no clock. Times are milliseconds of any
// steady clock. After every call, take what `transmit`, `takeOutputs`, `link` and `deadline` have to say.

import { CloseCode, reconnectAfter, reconnectDelay } from "./close.js";
import { ThroughlineError } from "./errors.js";
import { type Asked, type FeedOutput, Feeds, type Sub } from "./feeds.js";
import type { Body, ClientMessage, Eid, From, Limits, Reply, Report, ServerMessage, Welcome } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Pulse } from "./pulse.js";

export type { Sub } from "./feeds.js";

/**
 * `connecting`: a link is being looked for; `open`: there is one; `waiting`: until the next attempt; `closed`: for good.
 */
export type State = "connecting" | "open" | "waiting" | "closed";

/** Bounds of a session; every one has a default. */
export interface SessionSettings {
  /** Name and version told to the operator; at most 64 bytes. */
  readonly client?: string | undefined;
  /** Publishes that may wait for their answer, default 10,000. */
  readonly queueEventsMax?: number | undefined;
  /** Bytes of their data, default 16 MiB. */
  readonly queueBytesMax?: number | undefined;
  /** Uniform in 0 to 1. */
  readonly random: () => number;
}

/**
 * What the session wishes; each wish is told once. `seek`: it has no link, candidates are to be tried until one is
 * adopted; `doubt`: the same beside its link, which does not answer; `trust`: that has spoken again; `close` its link.
 */
export type LinkWish =
  | { readonly do: "seek" | "doubt" | "trust" }
  | { readonly do: "close"; readonly code: number; readonly reason: string };

/** What happened, for whoever drives the session. */
export type Output =
  | FeedOutput
  | { readonly type: "state"; readonly state: State; readonly error: ThroughlineError | undefined }
  | { readonly type: "published"; readonly key: number; readonly eid: Eid; readonly duplicate: boolean }
  | { readonly type: "refused"; readonly key: number; readonly error: ThroughlineError }
  | { readonly type: "drain"; readonly after: number }
  | { readonly type: "rtt"; readonly rtt: number };

/** The first flight of a candidate, and what its answers will mean. */
export interface Greeting {
  readonly session: string | undefined;
  readonly messages: readonly ClientMessage[];
  readonly asked: ReadonlyMap<number, Asked>;
}

/** How long a link must live for failures before it to be forgotten. */
const STEADY_MS = 10_000;
/** First delay's exponent for close codes that mean "later". */
const LATER = 3;
const STRAIN_MAX = 16;
/** Longest delay that a realm can ask for. */
const AFTER_MS_MAX = 300_000;

export class SessionCore {
  state: State = "waiting";
  /** Secret id, known after the first welcome. */
  id: string | undefined;
  limits: Limits | undefined;
  /** Links that failed since one was steady. */
  attempts = 0;
  /** Of the present link, or the last: its heartbeat interval, and how many silent ones it has survived. */
  heartbeat: { readonly interval: number; readonly survived: number } | undefined;
  /** Of the next delay: section 7's n. */
  #exponent = 0;

  readonly #settings: SessionSettings;
  readonly #outbox: Outbox;
  readonly #feeds: Feeds;
  /** Requests that go out before any publish; filled only while there is a link. */
  #control: ClientMessage[] = [];
  #outputs: Output[] = [];
  /** What came before the link was adopted; taken in one by one, so that a full buffer stops the flow in time. */
  #backlog: ServerMessage[] = [];
  #wishes: LinkWish[] = [];
  #lastId = 0;

  #attemptAt: number;
  /** Of the adopted link. */
  #pulse: Pulse | undefined;
  #adoptedAt = 0;
  #doubted = false;
  /** Doubles when a link is left in doubt, until something is answered: or a large event on a slow line would be begun for ever. */
  #strain = 1;
  #drainAfter: number | undefined;

  constructor(settings: SessionSettings, now: number) {
    this.#settings = settings;
    this.#outbox = new Outbox((key, error) => this.#refuse(key, error), settings.queueEventsMax, settings.queueBytesMax);
    this.#feeds = new Feeds(() => this.#nextId(), (output) => this.#outputs.push(output));
    this.#attemptAt = now;
  }

  // What the application asks for.

  /** Throws for bad names and positions, and when the channel has a subscription already. */
  subscribe(channel: string, from: From): Sub {
    this.#checkOpen();
    const sub = this.#feeds.add(channel, from);
    this.#ask(sub);
    return sub;
  }

  unsubscribe(sub: Sub): void {
    if (!this.#feeds.has(sub)) return;
    this.pause(sub);
    this.#feeds.remove(sub);
  }

  /** Stops the flow. Nothing is lost: {@link resume} goes on at the cursor. */
  pause(sub: Sub): void {
    if (sub.paused) return;
    sub.paused = true;
    if (this.#pulse === undefined) this.#feeds.forget(sub);
    else this.#control.push(this.#feeds.leave(sub));
  }

  resume(sub: Sub): void {
    if (!sub.paused || !this.#feeds.has(sub)) return;
    sub.paused = false;
    this.#ask(sub);
  }

  /** Takes an event for publishing; its key, which is not the id on the wire, comes back in `published` or `refused`. Throws `queue_full`. */
  publish(channel: string, body: Body, persistent: boolean | undefined): number {
    this.#checkOpen();
    return this.#outbox.add(channel, body, persistent);
  }

  /** Publishes that have no answer yet. */
  get unanswered(): number {
    return this.#outbox.size;
  }

  /** Asks for a round trip; an `rtt` output follows. */
  ping(now: number): void {
    if (this.#pulse === undefined) return;
    this.#control.push({ type: "ping" });
    this.#pulse.pinged(now);
  }

  /** Tells the realm's operator what went wrong on the way; only while there is a link. */
  report(report: Report): void {
    this.#control.push(report);
  }

  /** The network may have changed: tries at once, or asks the link whether it still lives. */
  hint(now: number): void {
    if (this.state === "waiting") this.#attemptAt = now;
    if (this.#pulse?.probe(now) === true) this.ping(now);
  }

  /** The page is put away: its link is closed, and the next one waits for a {@link hint}. */
  suspend(): void {
    if (this.state === "closed") return;
    this.#dropLink(CloseCode.normal, "put away");
    this.#attemptAt = Infinity;
    if (this.state !== "waiting") this.#setState("waiting");
  }

  close(): void {
    if (this.state === "closed") return;
    this.#dropLink(CloseCode.normal, "closed by the application");
    this.fail(new ThroughlineError("closed", "closed by the application"));
  }

  /** Ends the session for a fault that trying again does not mend. */
  fail(error: ThroughlineError): void {
    if (this.state === "closed") return;
    this.#reset();
    this.#setState("closed", error);
    this.#feeds.dropAll(error);
    this.#outbox.drain(error);
  }

  // What happens to links.

  /** What a candidate for the session's link says first. With a link alive, the candidate only has to prove itself. */
  greet(heartbeat: number | undefined): Greeting {
    const connect: ClientMessage = { type: "connect", session: this.id, client: this.#settings.client, heartbeat };
    const { messages, asked } = this.#pulse === undefined ? this.#feeds.greeting() : { messages: [], asked: new Map<number, Asked>() };
    return { session: this.id, messages: [connect, ...messages], asked };
  }

  /**
   * A proven candidate becomes the link, in place of the one before if there is one; `kept` came through it since its
   * welcome.
   */
  adopt(now: number, greeting: Greeting, welcome: Welcome, kept: readonly ServerMessage[], rtt: number): void {
    if (this.state === "closed") return;
    this.#outbox.rewind();
    this.#control = this.#feeds.move(greeting.asked);
    if (this.#doubted) this.#strain = Math.min(STRAIN_MAX, 2 * this.#strain);
    this.#pulse = new Pulse(now, Math.max(1, welcome.heartbeat), rtt, this.#strain);
    this.heartbeat = this.#pulse;
    this.#adoptedAt = now;
    this.#doubted = false;
    this.#drainAfter = undefined;
    this.id = welcome.session;
    this.limits = welcome.limits;
    this.#outputs.push({ type: "rtt", rtt });
    if (this.state !== "open") this.#setState("open");
    this.#backlog = [...kept];
  }

  input(now: number, message: ServerMessage): void {
    if (this.#pulse === undefined) return;
    this.moved(now);
    switch (message.type) {
      case "event":
        return this.#feeds.event(message);
      case "reply":
        this.#strain = 1;
        return this.#reply(message);
      case "gap":
        return this.#feeds.gap(message);
      case "welcome":
        return this.broken(now, "a second welcome came");
      case "end":
        return this.#feeds.end(message.channel, message.reason);
      case "ping":
        this.#control.push({ type: "pong" });
        return;
      case "pong": {
        this.#strain = 1;
        const rtt = this.#pulse.ponged(now);
        if (rtt !== undefined) this.#outputs.push({ type: "rtt", rtt });
        return;
      }
      case "drain":
        this.#drainAfter = Math.min(message.after, AFTER_MS_MAX);
        this.#outputs.push({ type: "drain", after: message.after });
        return;
      case "close":
        this.#dropLink(CloseCode.normal, "");
        return this.#lost(now, message.code, message.reason);
    }
  }

  /** The link lives: a message came, or part of a long one of ours arrived. */
  moved(now: number): void {
    this.#pulse?.heard(now);
    if (this.#doubted) this.#wishes.push({ do: "trust" });
    this.#doubted = false;
  }

  /** What came cannot be understood: leaves the link, and comes back later. */
  broken(now: number, fault: string): void {
    this.#dropLink(CloseCode.bad_message, fault);
    this.#lost(now, CloseCode.internal, fault);
  }

  /** The link has ended; `code` as in section 7, 1006 when there is none. */
  lost(now: number, code: number, reason: string): void {
    if (this.#pulse !== undefined) this.#lost(now, code, reason);
  }

  /** No candidate got through; `code` is the most telling of what they ended with. */
  unreached(now: number, code: number, reason: string): void {
    if (this.state === "connecting") this.#lost(now, code, reason);
  }

  /** Time has passed. */
  tick(now: number): void {
    if (this.state === "waiting" && now >= this.#attemptAt) {
      this.#wishes.push({ do: "seek" });
      this.#setState("connecting");
    }
    if (this.#pulse !== undefined) this.#heartbeats(now, this.#pulse);
  }

  // What there is to do.

  /** The next message for the link, until there is none. To be polled after every call. */
  transmit(now: number): ClientMessage | undefined {
    if (this.#pulse === undefined || this.limits === undefined) return undefined;
    const message = this.#control.shift() ?? this.#outbox.next(this.limits, () => this.#nextId());
    this.#pulse.owed(now, this.#feeds.asked.size > 0 || this.#outbox.flying);
    return message;
  }

  /** What happened since the last time. To be taken until there is nothing. */
  takeOutputs(now: number): Output[] {
    while (this.#outputs.length === 0) {
      const message = this.#backlog.shift();
      if (message === undefined) break;
      this.input(now, message);
    }
    const outputs = this.#outputs;
    if (outputs.length > 0) this.#outputs = [];
    return outputs;
  }

  /** What is to be done about links, until there is nothing. */
  link(): LinkWish | undefined {
    return this.#wishes.shift();
  }

  /** When {@link tick} is due. */
  deadline(): number {
    if (this.state === "waiting") return this.#attemptAt;
    return this.#pulse?.deadline() ?? Infinity;
  }

  // The rest is private.

  #checkOpen(): void {
    if (this.state === "closed") {
      throw new ThroughlineError("closed", "the session is closed: make a new one");
    }
  }

  #refuse(key: number, error: ThroughlineError): void {
    this.#outputs.push({ type: "refused", key, error });
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
    if (this.#pulse !== undefined) this.#control.push(this.#feeds.ask(sub));
  }

  #reply(reply: Reply): void {
    if (this.#feeds.reply(reply)) return;
    const { id, error, eid, duplicate } = reply;
    if (!this.#outbox.awaits(id)) return;
    // Kept in its place when the realm drains: it is repeated on the next link, before what is held back until then.
    if (error?.code === "draining") return this.#outbox.hold();
    const key = this.#outbox.answered(id);
    if (key === undefined) return;
    if (error === undefined && eid !== undefined) {
      this.#outputs.push({ type: "published", key, eid, duplicate });
    } else {
      this.#refuse(key, error ?? new ThroughlineError("bad_message", "the server answered a publish without an EID"));
    }
  }

  #heartbeats(now: number, pulse: Pulse): void {
    const due = pulse.check(now);
    if (due === "ping") this.ping(now);
    if (due === "doubt") {
      this.#doubted = true;
      this.#wishes.push({ do: "doubt" });
    }
    if (due !== "dead") return;
    const text = `nothing heard for ${pulse.silence(now)} ms`;
    this.#dropLink(CloseCode.heartbeat, text);
    this.#lost(now, CloseCode.heartbeat, text);
  }

  /** Wishes for the end of the link and forgets all that holds on it only. */
  #dropLink(code: number, reason: string): void {
    if (this.#pulse !== undefined) this.#wishes.push({ do: "close", code, reason });
    this.#reset();
  }

  #lost(now: number, code: number, reason: string): void {
    if (this.state === "closed") return;
    const steady = this.state === "open" && now - this.#adoptedAt >= STEADY_MS;
    this.#reset();
    const what = `the link ended with ${code}${reason === "" ? "" : ` (${reason})`}`;
    const next = reconnectAfter(code);
    if (next === "never") return this.fail(new ThroughlineError("closed", `${what}; coming back does not help`));
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

  #reset(): void {
    this.#pulse = undefined;
    this.#doubted = false;
    this.#control = [];
    this.#backlog = [];
    this.#feeds.reset();
    this.#outbox.rewind();
  }
}
