// The public session: the state machine of session.ts, tied to a transport, timers and promises.

import { baseUrl } from "./address.js";
import { Emitter } from "./emitter.js";
import { type Environment, type Links, browser } from "./environment.js";
import { ThroughlineError, checkNames } from "./errors.js";
import { ThroughlineEvent } from "./event.js";
import type { PathFailure } from "./failure.js";
import { type Eid, type Limits, type PublishOptions, body, checkText } from "./messages.js";
import { type Output, SessionCore, type State, type Sub } from "./session.js";
import { type Callback, type Gap, SUBSCRIBE_OPTIONS, type SubscribeOptions, Subscription } from "./subscription.js";
import type { TransportName } from "./transports/transport.js";

export interface SessionOptions {
  /** Name of the application, shown to the realm's operator; at most 64 bytes. */
  readonly client?: string | undefined;
  /** Transports that may be used, in any order; default: all that this build and the browser have. */
  readonly transports?: readonly TransportName[] | undefined;
  /** Whether cookies go along to a realm of another origin, which must name this page's origin; default false. */
  readonly credentials?: boolean | undefined;
  /** How long a link may take to prove itself, milliseconds; default 8,000. */
  readonly openTimeoutMs?: number | undefined;
  /** Publishes that may wait for their answer, default 10,000. */
  readonly queueEventsMax?: number | undefined;
  /** Bytes of their data, default 16 MiB. */
  readonly queueBytesMax?: number | undefined;
}

export interface Published {
  readonly eid: Eid;
  /** The realm had this event already: an answer had been lost on the way. */
  readonly duplicate: boolean;
}

/** What is known of the way to the realm. */
export interface Path {
  /** Of the present link, or the last; undefined before the first. */
  readonly transport: TransportName | undefined;
  readonly url: string;
  /** The last round trip, milliseconds. */
  readonly rtt: number | undefined;
  /** The realm's opaque name for the network this client is in. */
  readonly network: string | undefined;
  /** Heartbeat interval of the present link, milliseconds. */
  readonly heartbeat: number | undefined;
  /** Links that were adopted. */
  readonly links: number;
  /** Links that failed since one was steady: welcomed, and alive for 10 s. */
  readonly attempts: number;
  /** Why the last link ended or could not be opened, and the way out. */
  readonly failure: string | undefined;
  /** The last ten failures, newest last. */
  readonly failures: readonly PathFailure[];
}

export interface StateChange {
  readonly state: State;
  /** Why, when something failed. */
  readonly error: ThroughlineError | undefined;
}

export interface SessionEvents {
  state: StateChange;
  /** Every event of every subscription, as it arrives. */
  event: ThroughlineEvent;
  gap: Gap;
  /** A subscription, or the session, is over for a fault. */
  error: ThroughlineError;
  /** The realm is stopping; the session comes back by itself within so many milliseconds. */
  drain: number;
  /** A round trip was measured, milliseconds. */
  rtt: number;
  /** A link was adopted, or the one there was is gone. */
  path: Path;
  /** A link, or an attempt at one, went wrong; the session goes on by itself. */
  failure: PathFailure;
}

interface Waiter {
  readonly resolve: (published: Published) => void;
  readonly reject: (error: ThroughlineError) => void;
}

const FLUSH_MS = 5_000;
const CLIENT_BYTES_MAX = 64;
const OPTIONS: (keyof SessionOptions)[] = ["client", "transports", "credentials", "openTimeoutMs", "queueEventsMax", "queueBytesMax"];

/** A conversation with a realm. It outlives its links: nothing is lost and nothing comes twice when one breaks. */
export class Session extends Emitter<SessionEvents> {
  readonly #environment: Environment;
  readonly #base: URL;
  readonly #links: Links;
  readonly #core: SessionCore;
  readonly #subscriptions = new Map<Sub, Subscription>();
  readonly #waiters = new Map<number, Waiter>();
  /** Called once nothing is unanswered, or the session is closed. */
  #idle: (() => void)[] = [];
  #rtt: number | undefined;
  /** Also until the constructor's caller has had its say. */
  #pumping = true;
  #closing = false;
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  readonly #unwatch: () => void;

  /**
   * Begins to connect. `url` is the realm's address with its prefix, if any; without it the realm is where this
   * library's script, or else the page, came from. Throws `bad_address` and `bad_option`.
   */
  constructor(url?: string | URL, options: SessionOptions = {}, environment: Environment = browser()) {
    super("state", "event", "gap", "error", "drain", "rtt", "path", "failure");
    const { client = "throughline.js", transports, openTimeoutMs, credentials = false } = options ?? {};
    checkNames(options ?? {}, OPTIONS);
    checkText("bad_option", "client", client, CLIENT_BYTES_MAX);
    this.#environment = environment;
    this.#base = baseUrl(url, environment.place);
    this.#core = new SessionCore({ ...options, client, random: environment.random }, environment.now());
    this.#links = environment.parts.links({
      environment,
      base: this.#base,
      core: this.#core,
      transports,
      openTimeoutMs,
      credentials,
      pump: () => this.#pump(),
      changed: () => void this.emit("path", this.path),
      failed: (failure) => void this.emit("failure", failure),
    });
    this.#unwatch = environment.watch((hint) => {
      if (hint === "wake") this.#core.hint(environment.now());
      else this.#suspend();
      this.#pump();
    });
    this.#core.tick(environment.now());
    this.#core.takeOutputs(environment.now());
    // What the page asks for in the same breath goes with the first flight.
    queueMicrotask(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  get state(): State {
    return this.#core.state;
  }

  /** The session's id once it is known. Keep it secret: whoever has it can take the session over. */
  get id(): string | undefined {
    return this.#core.id;
  }

  /** The realm's limits once they are known. */
  get limits(): Limits | undefined {
    return this.#core.limits;
  }

  /** The realm's address: http or https, ending with a slash. */
  get url(): string {
    return this.#base.href;
  }

  get path(): Path {
    const { transport, url, network, heartbeat, adopted, sentence, failures } = this.#links;
    const { attempts } = this.#core;
    return { transport, url, rtt: this.#rtt, network, heartbeat, links: adopted, attempts, failure: sentence, failures };
  }

  /** Publishes that have no answer yet. */
  get unanswered(): number {
    return this.#core.unanswered;
  }

  /** Calls `callback` with each event of `channel`. */
  subscribe(channel: string, callback: Callback, options?: SubscribeOptions): Subscription;
  /** For `for await (const event of session.subscribe(channel, options))`. */
  subscribe(channel: string, options?: SubscribeOptions): Subscription;
  subscribe(channel: string, first?: Callback | SubscribeOptions, second?: SubscribeOptions): Subscription {
    const callback = typeof first === "function" ? first : undefined;
    const options = (typeof first === "function" ? second : first) ?? {};
    // A callback that is none would be taken for options, which have a default for everything.
    if (typeof options !== "object" || (callback === undefined && second !== undefined)) {
      throw new ThroughlineError("bad_option", "subscribe: expected a function, or options, or both");
    }
    checkNames(options, SUBSCRIBE_OPTIONS);
    const sub = this.#core.subscribe(channel, options.from ?? "new");
    const act = (call: () => void) => (): void => {
      call();
      this.#pump();
    };
    const subscription = new Subscription(channel, callback, options, {
      pause: act(() => this.#core.pause(sub)),
      resume: act(() => this.#core.resume(sub)),
      close: act(() => {
        this.#core.unsubscribe(sub);
        this.#subscriptions.delete(sub);
      }),
    });
    this.#subscriptions.set(sub, subscription);
    this.#pump();
    return subscription;
  }

  /**
   * Publishes one event; resolves when the realm has it (of a persistent channel: on disk). May be called at any time:
   * while there is no link, events wait. Rejects with a {@link ThroughlineError}.
   */
  async publish(channel: string, data: string | Uint8Array | ArrayBuffer, options: PublishOptions = {}): Promise<Published> {
    if (this.#closing) throw new ThroughlineError("closed", "the session is closed: make a new one");
    const key = this.#core.publish(channel, body(data, options ?? {}), options?.persistent);
    const answer = new Promise<Published>((resolve, reject) => this.#waiters.set(key, { resolve, reject }));
    this.#pump();
    return answer;
  }

  /** Asks for a round trip, told as `rtt` and in {@link path}; does nothing unless the session is open. */
  ping(): void {
    this.#core.ping(this.#environment.now());
    this.#pump();
  }

  /** Ends the session for good, after waiting up to `flushMs` (default 5,000) for answers to what was published. */
  async close({ flushMs = FLUSH_MS }: { readonly flushMs?: number } = {}): Promise<void> {
    this.#closing = true;
    if (this.unanswered > 0 && this.state !== "closed") {
      await new Promise<void>((resolve) => {
        this.#idle.push(this.#environment.after(flushMs, resolve), resolve);
      });
    }
    this.#core.close();
    this.#pump();
  }

  /** Does what the state machine wishes, until it wishes nothing more. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#core.tick(this.#environment.now());
      for (let outputs: Output[] | undefined; outputs?.length !== 0; ) {
        this.#links.work();
        this.#transmit();
        outputs = this.#core.takeOutputs(this.#environment.now());
        for (const output of outputs) this.#handle(output);
      }
    } finally {
      this.#pumping = false;
    }
    this.#arm();
  }

  /** The page is put away: it may come back from the browser's cache, and would not be kept there with a link. */
  #suspend(): void {
    this.#core.suspend();
    this.#links.stop();
  }

  #transmit(): void {
    const now = this.#environment.now();
    for (let next = this.#core.transmit(now); next !== undefined; next = this.#core.transmit(now)) this.#links.send(next);
  }

  #handle(output: Output): void {
    switch (output.type) {
      case "event": {
        const { sub } = output;
        const event = new ThroughlineEvent(sub.channel, output.event);
        this.#subscriptions.get(sub)?.deliver(event, sub.position?.epoch ?? "");
        return void this.emit("event", event);
      }
      case "gap": {
        const { from, to, reason, epoch } = output.gap;
        const gap: Gap = { channel: output.sub.channel, from, to, reason };
        this.#subscriptions.get(output.sub)?.missed(gap, epoch);
        return void this.emit("gap", gap);
      }
      case "subscribed": {
        const { position } = output.sub;
        return position && this.#subscriptions.get(output.sub)?.accepted(position);
      }
      case "ended":
        return this.#ended(output.sub, output.error);
      case "published":
        this.#settle(output.key)?.resolve({ eid: output.eid, duplicate: output.duplicate });
        return;
      case "refused":
        this.#settle(output.key)?.reject(output.error);
        return;
      case "state":
        return this.#stateChanged(output.state, output.error);
      case "drain":
        this.#links.drain();
        return void this.emit("drain", output.after);
      case "rtt":
        this.#rtt = output.rtt;
        this.#links.rtt(output.rtt);
        return void this.emit("rtt", output.rtt);
    }
  }

  #settle(key: number): Waiter | undefined {
    const waiter = this.#waiters.get(key);
    this.#waiters.delete(key);
    if (this.unanswered === 0) this.#becameIdle();
    return waiter;
  }

  #becameIdle(): void {
    for (const call of this.#idle.splice(0)) call();
  }

  #ended(sub: Sub, error: ThroughlineError): void {
    const subscription = this.#subscriptions.get(sub);
    this.#subscriptions.delete(sub);
    if (this.#closing) return subscription?.close();
    const heard = subscription?.failed(error) ?? true;
    if (this.state !== "closed" && !this.emit("error", error) && !heard) console.error(error);
  }

  #stateChanged(state: State, error: ThroughlineError | undefined): void {
    if (state === "closed") {
      this.#links.stop();
      this.#unwatch();
      this.#becameIdle();
      if (!this.#closing && error !== undefined && !this.emit("error", error)) console.error(error);
    }
    this.emit("state", { state, error });
  }

  /** Keeps a timer that is due early enough: every message moves the deadline, and moving timers costs. */
  #arm(): void {
    const due = Math.min(this.#core.deadline(), this.#links.deadline());
    if (this.#timer !== undefined && this.#timer.at <= due && due < Infinity) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (due === Infinity) return;
    const wait = Math.max(0, Math.ceil(due - this.#environment.now()));
    const cancel = this.#environment.after(wait, () => {
      this.#timer = undefined;
      this.#pump();
    });
    this.#timer = { at: due, cancel };
  }
}
