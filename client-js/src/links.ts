// The links of a session in the real world: opens candidates, feeds what they bring to the state machines, and does what
// these decide.

import { Candidate, type Verdict } from "./candidate.js";
import { CloseCode, NO_CODE, reconnectAfter } from "./close.js";
import type { Environment } from "./environment.js";
import { ThroughlineError } from "./errors.js";
import { type PathFailure, describe } from "./failure.js";
import type { Memory } from "./memory.js";
import { type ClientMessage, type Frame, type ServerMessage, decode, encode } from "./messages.js";
import type { LinkWish, SessionCore } from "./session.js";
import type { Deed, Steering } from "./steering.js";
import type { Failure, Link, Transport, TransportName } from "./transports/transport.js";
import { websocketUrl } from "./transports/websocket.js";

export interface LinksOptions {
  readonly transports: readonly TransportName[] | undefined;
  readonly openTimeoutMs: number | undefined;
  readonly credentials: boolean;
}

/** What whoever owns the links is told. */
export interface LinksEvents {
  /** Something came or ended: time to look what there is to do. */
  pump(): void;
  /** A link was adopted, or the one there was is gone. */
  changed(): void;
  failed(failure: PathFailure): void;
}

interface Flight {
  readonly id: number;
  readonly transport: Transport;
  readonly candidate: Candidate;
  readonly attempt: string;
  link: Link | undefined;
  over: boolean;
  rotating: boolean;
}

const HOLD_MS = 12_000;
const FAILURES_MAX = 10;
const REPORTS_MAX = 8;
const DETAIL_CHARS_MAX = 60;
/** The server is asked what it saw of a failed WebSocket at most so often. */
const DIAGNOSE_EVERY_MS = 60_000;
const PING: ClientMessage = { type: "ping" };

export class Links {
  /** Links that were adopted. */
  adopted = 0;
  network: string | undefined;
  /** Why the last link ended, or could not be opened. */
  sentence: string | undefined;
  /** What went wrong, newest last. */
  failures: readonly PathFailure[] = [];

  readonly #environment: Environment;
  readonly #base: URL;
  readonly #core: SessionCore;
  readonly #options: LinksOptions;
  readonly #events: LinksEvents;
  readonly #transports: ReadonlyMap<TransportName, Transport>;
  readonly #steering: Steering;
  readonly #memory: Memory | undefined;
  /** Ids of attempts are this and a number. */
  readonly #prefix: string;
  #attempts = 0;
  readonly #flights = new Map<number, Flight>();
  #live: Flight | undefined;
  /** The transport of the present link, or the last. */
  #last: TransportName | undefined;
  #reports: PathFailure[] = [];
  /** The most telling end of a candidate since the last link. */
  #told: { readonly code: number; readonly reason: string } = { code: NO_CODE, reason: "" };
  #diagnosedAt = -Infinity;

  /** Throws `bad_address` when nothing of what is wanted is available. */
  constructor(environment: Environment, base: URL, core: SessionCore, options: LinksOptions, events: LinksEvents) {
    this.#environment = environment;
    this.#base = base;
    this.#core = core;
    this.#options = options;
    this.#events = events;
    const wanted = environment.parts.transports().filter(({ name }) => options.transports?.includes(name) ?? true);
    this.#transports = new Map(wanted.filter((transport) => transport.available()).map((transport) => [transport.name, transport]));
    if (this.#transports.size === 0) {
      throw new ThroughlineError("bad_address", "none of the wanted transports exists here; Node has WebSocket from version 22 on");
    }
    this.#prefix = Math.floor(environment.random() * 2 ** 52).toString(36);
    this.#memory = environment.parts.memory?.(environment, base);
    this.#steering = environment.parts.steer({
      list: [...this.#transports.keys()],
      random: environment.random,
      giveUpMs: options.openTimeoutMs,
      remembered: this.#memory?.transport,
    });
  }

  get transport(): TransportName | undefined {
    return this.#live?.transport.name ?? this.#last;
  }

  /** Heartbeat interval of the present link, milliseconds. */
  get heartbeat(): number | undefined {
    return this.#live?.candidate.welcome?.heartbeat;
  }

  get url(): string {
    return this.#url(this.transport ?? [...this.#transports.keys()][0]);
  }

  rtt(rtt: number): void {
    this.#steering.rtt = rtt;
  }

  send(message: ClientMessage): void {
    const flight = this.#live;
    if (flight !== undefined) this.#say(flight, message);
  }

  /** The realm is stopping. */
  drain(): void {
    this.#steering.drain();
  }

  /** Ends all candidates. */
  stop(): void {
    this.#steering.stop();
  }

  /** Does what is due and wished. */
  work(): void {
    const now = this.#environment.now();
    this.#steering.tick(now);
    for (let again = true; again; ) {
      again = false;
      for (let wish = this.#core.link(); wish !== undefined; wish = this.#core.link()) this.#wish(now, wish);
      for (let deed = this.#steering.take(); deed !== undefined; deed = this.#steering.take()) {
        this.#do(now, deed);
        again = true;
      }
    }
  }

  deadline(): number {
    return this.#steering.deadline();
  }

  #wish(now: number, wish: LinkWish): void {
    switch (wish.do) {
      case "seek":
        return this.#steering.begin(now);
      case "doubt":
        return this.#steering.suspect(now);
      case "trust":
        return this.#steering.calm();
      case "close": {
        const flight = this.#live;
        if (flight === undefined) return;
        this.#end(flight, wish.code, wish.reason);
        this.#died(now, flight, FAULTS[wish.code]?.(flight.candidate, now), wish.reason);
      }
    }
  }

  #do(now: number, deed: Deed): void {
    if (deed.do === "over") {
      const { code, reason } = this.#told;
      this.#told = { code: NO_CODE, reason: "" };
      return this.#core.unreached(now, code, reason || (this.sentence ?? ""));
    }
    if (deed.do === "start") return this.#open(now, deed.id, deed.transport);
    const flight = this.#flights.get(deed.id);
    if (flight === undefined) return;
    if (deed.do === "ping") return this.#say(flight, PING);
    this.#flights.delete(deed.id);
    if (deed.do === "adopt") return this.#adopt(now, flight);
    const late = deed.do === "give_up";
    this.#end(flight, late ? CloseCode.heartbeat : CloseCode.normal, late ? "not proven in time" : "not needed");
    if (late) this.#note(now, flight, flight.candidate.failure(now, true), undefined);
  }

  // Opening and ending.

  #open(now: number, id: number, name: TransportName): void {
    const transport = this.#transports.get(name);
    if (transport === undefined) return this.#steering.failed(now, id, "refused");
    const candidate = new Candidate(name, this.#core.greet(this.#poll(name) ? undefined : this.#memory?.heartbeat), now);
    this.#attempts += 1;
    const attempt = `${this.#prefix}-${this.#attempts}`;
    const flight: Flight = { id, transport, candidate, attempt, link: undefined, over: false, rotating: false };
    this.#flights.set(id, flight);
    const heard = (call: () => void) => (): void => {
      if (flight.over) return;
      call();
      this.#events.pump();
    };
    const clock = this.#environment.now;
    try {
      const handlers = {
        opened: heard(() => candidate.opened(clock())),
        message: (frame: Frame) => heard(() => this.#message(clock(), flight, frame))(),
        closed: (code: number, reason: string, failure?: Failure) => heard(() => this.#closed(clock(), flight, code, reason, failure))(),
      };
      flight.link = transport.open(this.#base, handlers, {
        first: candidate.greeting.messages.map((message) => encode(message, transport.binary)),
        probe: encode(PING),
        attempt,
        holdMs: this.#memory?.holdMs ?? HOLD_MS,
        credentials: this.#options.credentials,
      });
    } catch (error) {
      this.#unopened(now, flight, error instanceof Error ? error.message : String(error));
    }
  }

  /** The browser would not even try. */
  #unopened(now: number, flight: Flight, text: string): void {
    flight.over = true;
    this.#flights.delete(flight.id);
    this.sentence = text;
    if (this.#transports.size === 1) return this.#core.fail(new ThroughlineError("bad_address", text));
    this.#note(now, flight, "refused", text);
    this.#steering.failed(now, flight.id, "refused");
  }

  #end(flight: Flight, code: number, reason: string): void {
    flight.over = true;
    flight.link?.close(code, reason);
  }

  #closed(now: number, flight: Flight, code: number, reason: string, given: Failure | undefined): void {
    flight.over = true;
    // Codes that a server gives with intent are no fault of the path.
    const meant = code === CloseCode.going_away || code >= 4000 || (flight === this.#live && code !== NO_CODE);
    const failure = given ?? (meant && flight === this.#live ? undefined : flight.candidate.failure(now, false));
    if (flight === this.#live) {
      this.#core.lost(now, code, reason);
      return this.#died(now, flight, failure, reason);
    }
    this.#refused(now, flight, code, reason, failure ?? "refused");
  }

  /** The session's link is gone; the core knows. */
  #died(now: number, flight: Flight, failure: Failure | undefined, reason: string): void {
    this.#live = undefined;
    this.#steering.died(now, failure);
    this.#learn(flight, failure);
    if (failure !== undefined) this.#note(now, flight, failure, reason === "" ? undefined : reason);
    else if (reason !== "") this.sentence = `the link ended: ${reason}`;
    this.#events.changed();
  }

  /** A candidate ended by itself. */
  #refused(now: number, flight: Flight, code: number, reason: string, failure: Failure): void {
    this.#flights.delete(flight.id);
    if (code >= 4000 && reconnectAfter(code) !== "now") this.#told = { code, reason };
    this.#note(now, flight, failure, reason === "" ? undefined : reason);
    this.#steering.failed(now, flight.id, failure);
  }

  #adopt(now: number, flight: Flight): void {
    const { candidate, transport } = flight;
    const { welcome, kept, greeting, rtt = 0 } = candidate;
    if (welcome === undefined) return;
    const before = this.#live;
    this.#live = flight;
    this.#last = transport.name;
    this.network = welcome.network;
    this.adopted += 1;
    this.#memory?.adopted(welcome.network, transport.name);
    if (before !== undefined) {
      this.#learn(before, undefined);
      this.#end(before, CloseCode.normal, "another link has taken over");
    }
    this.#core.adopt(now, greeting, welcome, kept, rtt);
    this.#told = { code: NO_CODE, reason: "" };
    this.#tellReports();
    this.#events.changed();
  }

  // What comes.

  #message(now: number, flight: Flight, frame: Frame): void {
    let message: ServerMessage;
    try {
      message = decode(frame);
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (flight === this.#live) return this.#core.broken(now, fault);
      return this.#judged(now, flight, { verdict: "ended", code: CloseCode.bad_message, reason: fault });
    }
    if (flight !== this.#live) return this.#judged(now, flight, flight.candidate.input(now, message, this.#core.id));
    this.#core.input(now, message);
    if (flight.rotating || (flight.link?.receivedBytes ?? 0) < flight.transport.rotateBytes) return;
    flight.rotating = true;
    this.#steering.rotate(now);
  }

  #judged(now: number, flight: Flight, verdict: Verdict): void {
    const { candidate, id } = flight;
    switch (verdict.verdict) {
      case "waits":
        return;
      case "ping":
        return this.#say(flight, { type: "pong" });
      case "proved":
        this.rtt(candidate.rtt ?? 0);
        return this.#steering.proved(now, id);
      case "answered":
        return this.#steering.answered(now, id);
      case "foreign":
        this.#end(flight, CloseCode.normal, "opened again with the session that is known by now");
        return this.#open(now, id, candidate.transport);
      case "ended": {
        const { code, reason } = verdict;
        this.#end(flight, code, reason);
        this.#flights.delete(id);
        if (code === CloseCode.version) return this.#core.fail(new ThroughlineError("version_not_supported", reason));
        this.#refused(now, flight, code === CloseCode.bad_message ? CloseCode.internal : code, reason, candidate.failure(now, false));
      }
    }
  }

  #say(flight: Flight, message: ClientMessage): void {
    flight.link?.send(encode(message, flight.transport.binary));
  }

  // What is learned.

  #learn({ transport, link, candidate }: Flight, failure: Failure | undefined): void {
    if (link?.holdMs !== undefined) this.#memory?.held(link.holdMs);
    const { heartbeat } = this.#core;
    if (heartbeat === undefined || candidate.welcome === undefined || this.#poll(transport.name)) return;
    this.#memory?.ended(heartbeat.interval, heartbeat.survived, failure === "idle");
  }

  #note(now: number, { transport, candidate, attempt }: Flight, failure: Failure, detail: string | undefined): void {
    const noted: PathFailure = { transport: transport.name, failure, after: candidate.age(now), detail };
    this.sentence = describe(this.#url(transport.name), noted);
    const { diagnose } = this.#environment.parts;
    const unopened = transport.name === "websocket" && candidate.reached === "nothing";
    if (diagnose === undefined || !unopened || now - this.#diagnosedAt < DIAGNOSE_EVERY_MS) return this.#record(noted);
    this.#diagnosedAt = now;
    void diagnose(this.#environment, this.#base, attempt).catch(() => undefined).then((seen) => this.#record({ ...noted, ...seen }));
  }

  #record(failure: PathFailure): void {
    this.failures = [...this.failures, failure].slice(-FAILURES_MAX);
    this.#reports = [...this.#reports, failure].slice(-REPORTS_MAX);
    this.#tellReports();
    this.#events.failed(failure);
    this.#events.pump();
  }

  #tellReports(): void {
    if (this.#live === undefined) return;
    for (const { detail, ...report } of this.#reports.splice(0)) {
      // At most 200 bytes are allowed, and a character may take three.
      this.#core.report({ type: "report", ...report, detail: detail?.slice(0, DETAIL_CHARS_MAX) });
    }
  }

  #url(name: TransportName | undefined): string {
    return name === undefined || name === "websocket" ? websocketUrl(this.#base).href : this.#base.href;
  }

  #poll(name: TransportName): boolean {
    return name.endsWith("-poll");
  }
}

/** What it says of the path when the session itself closes its link with such a code. */
const FAULTS: Readonly<Record<number, (candidate: Candidate, now: number) => Failure>> = {
  [CloseCode.heartbeat]: () => "idle",
  [CloseCode.bad_message]: (candidate, now) => candidate.failure(now, false),
};
