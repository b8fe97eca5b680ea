// The links of a session over every transport: opens candidates, feeds what they bring to the state machines, and does
// what these decide.

import { Candidate, type Ended, type Verdict } from "./candidate.js";
import { CloseCode, NO_CODE, reconnectAfter } from "./close.js";
import type { Environment, Links, LinksSetup } from "./environment.js";
import { ThroughlineError } from "./errors.js";
import { type PathFailure, describe } from "./failure.js";
import { ALL_WORDS, type Journal } from "./journal.js";
import { RANKS } from "./ladder.js";
import { type ClientMessage, type Frame, type ServerMessage, decode, encode } from "./messages.js";
import type { LinkWish } from "./session.js";
import type { Deed, Steering, SteeringOptions } from "./steering.js";
import { encodeText } from "./text.js";
import { REALM } from "./transports/requests.js";
import type { Failure, Link, Transport, TransportName } from "./transports/transport.js";
import { websocketUrl } from "./transports/websocket.js";

/** What the links are made of; tests give their own. */
export interface Rungs {
  /** All that are there, best first. */
  readonly transports: readonly Transport[];
  steer(options: SteeringOptions): Steering;
  journal(environment: Environment, base: URL): Journal;
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

const FAILURES_MAX = 10;
const PING: ClientMessage = { type: "ping" };

/** Throws `bad_option` for a transport that nobody knows. */
export function checkTransports(transports: readonly TransportName[] = []): void {
  for (const name of transports) {
    if (!RANKS.includes(name)) throw new ThroughlineError("bad_option", `transports: "${name}" is none of ${RANKS.join(", ")}`);
  }
}

export class LadderLinks implements Links {
  adopted = 0;
  network: string | undefined;
  sentence: string | undefined;
  failures: readonly PathFailure[] = [];

  readonly #setup: LinksSetup;
  readonly #transports: ReadonlyMap<TransportName, Transport>;
  readonly #steering: Steering;
  readonly #journal: Journal;
  /** Ids of attempts are this and a number. */
  readonly #prefix: string;
  #attempts = 0;
  readonly #flights = new Map<number, Flight>();
  #live: Flight | undefined;
  /** The transport of the present link, or the last. */
  #last: TransportName | undefined;
  /** The session doubts its link. */
  #doubt = false;
  /** Nothing got through since the last link, or the last round. */
  #vain = true;
  /** The most telling end of a candidate since the last link. */
  #told: { readonly code: number; readonly reason: string } = { code: NO_CODE, reason: "" };

  /** Throws `bad_address` when nothing of what is wanted is available, `bad_option` when nobody knows it. */
  constructor(setup: LinksSetup, rungs: Rungs) {
    checkTransports(setup.transports);
    this.#setup = setup;
    const { environment, base } = setup;
    const wanted = rungs.transports.filter((transport) => (setup.transports?.includes(transport.name) ?? true) && transport.available());
    this.#transports = new Map(wanted.map((transport) => [transport.name, transport]));
    if (wanted.length === 0) {
      throw new ThroughlineError("bad_address", "no wanted transport exists here (Node has WebSocket from 22 on)");
    }
    this.#prefix = Math.floor(environment.random() * 2 ** 52).toString(36);
    this.#journal = rungs.journal(environment, base);
    this.#steering = rungs.steer({
      list: wanted.map(({ name }) => name),
      random: environment.random,
      giveUpMs: setup.openTimeoutMs,
      remembered: this.#journal.transport,
    });
  }

  get transport(): TransportName | undefined {
    return this.#live?.transport.name ?? this.#last;
  }

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

  drain(): void {
    this.#steering.drain();
  }

  stop(): void {
    this.#steering.stop();
  }

  work(): void {
    const now = this.#setup.environment.now();
    this.#steering.tick(now);
    for (let again = true; again; ) {
      again = false;
      for (let wish = this.#setup.core.link(); wish !== undefined; wish = this.#setup.core.link()) this.#wish(now, wish);
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
    this.#doubt = wish.do === "doubt";
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
        const silent = wish.code === CloseCode.heartbeat;
        const broken = wish.code === CloseCode.bad_message;
        this.#died(now, flight, silent ? "idle" : broken ? flight.candidate.failure(now, false) : undefined, wish.reason, silent);
      }
    }
  }

  #do(now: number, deed: Deed): void {
    if (deed.do === "over") return this.#over(now);
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

  #over(now: number): void {
    const { code, reason } = this.#told;
    const last = this.failures.at(-1);
    if (reason !== "") {
      this.sentence = reason;
    } else if (this.#vain && last !== undefined && [...this.#transports.keys()].some((name) => this.#poll(name))) {
      const noted: PathFailure = { ...last, failure: "unreachable", detail: undefined };
      this.sentence = `nothing gets through to ${this.#setup.base.href}: no network, a wrong address, or a realm that does not allow this page's origin`;
      this.#record(noted);
    }
    this.#vain = true;
    // Not every round asks over HTTP, and a path does not become the right one.
    if (!reason.startsWith(REALM)) this.#told = { code: NO_CODE, reason: "" };
    this.#setup.core.unreached(now, code, reason || (this.sentence ?? ""));
  }

  // Opening and ending.

  #open(now: number, id: number, name: TransportName): void {
    const transport = this.#transports.get(name);
    if (transport === undefined) return this.#steering.failed(now, id, "refused");
    const candidate = new Candidate(name, this.#setup.core.greet(this.#poll(name) ? undefined : this.#journal.heartbeat), now);
    this.#attempts += 1;
    const attempt = `${this.#prefix}-${this.#attempts}`;
    const flight: Flight = { id, transport, candidate, attempt, link: undefined, over: false, rotating: false };
    this.#flights.set(id, flight);
    const heard = (call: () => void) => (): void => {
      if (flight.over) return;
      call();
      this.#setup.pump();
    };
    const clock = this.#setup.environment.now;
    try {
      const handlers = {
        opened: heard(() => candidate.opened(clock())),
        message: (frame: Frame) => heard(() => this.#message(clock(), flight, frame))(),
        moved: heard(() => flight === this.#live && this.#setup.core.moved(clock())),
        closed: (code: number, reason: string, failure?: Failure) => heard(() => this.#closed(clock(), flight, code, reason, failure))(),
      };
      flight.link = transport.open(this.#setup.base, handlers, {
        first: candidate.greeting.messages.map(encode),
        probe: encode(PING),
        attempt,
        holdMs: this.#journal.holdMs,
        credentials: this.#setup.credentials,
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
    if (this.#transports.size === 1) return this.#setup.core.fail(new ThroughlineError("bad_address", text));
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
      this.#setup.core.lost(now, code, reason);
      return this.#died(now, flight, failure, reason, false);
    }
    this.#refused(now, flight, code, reason, failure ?? "refused");
  }

  /** The session's link is gone; the core knows. */
  #died(now: number, flight: Flight, failure: Failure | undefined, reason: string, silent: boolean): void {
    this.#live = undefined;
    this.#steering.died(now, failure, silent);
    this.#learn(flight, silent);
    if (failure !== undefined) this.#note(now, flight, failure, reason === "" ? undefined : reason);
    else if (reason !== "") this.sentence = `the link ended: ${reason}`;
    this.#setup.changed();
  }

  /** A candidate ended by itself. */
  #refused(now: number, flight: Flight, code: number, reason: string, failure: Failure): void {
    this.#flights.delete(flight.id);
    if (reason.startsWith(REALM) || (code >= 4000 && reconnectAfter(code) !== "now")) this.#told = { code, reason };
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
    this.#journal.adopted(welcome.network, transport.name);
    if (before !== undefined) {
      this.#learn(before, this.#doubt);
      this.#end(before, CloseCode.normal, "replaced");
      if (this.#doubt) this.#note(now, before, "idle", "no answer came");
    }
    this.#setup.core.adopt(now, greeting, welcome, kept, rtt);
    this.#doubt = false;
    this.#vain = true;
    this.#told = { code: NO_CODE, reason: "" };
    this.#report();
    this.#setup.changed();
  }

  // What comes.

  #message(now: number, flight: Flight, frame: Frame): void {
    let message: ServerMessage;
    try {
      message = decode(frame);
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (flight === this.#live) return this.#setup.core.broken(now, fault);
      return this.#judged(now, flight, { code: CloseCode.bad_message, reason: fault });
    }
    if (flight !== this.#live) return this.#judged(now, flight, flight.candidate.input(now, message, this.#setup.core.id));
    this.#setup.core.input(now, message);
    if (flight.rotating || (flight.link?.receivedBytes ?? 0) < flight.transport.rotateBytes) return;
    flight.rotating = true;
    this.#steering.rotate(now);
  }

  #judged(now: number, flight: Flight, verdict: Verdict): void {
    const { candidate, id } = flight;
    if (typeof verdict === "object") return this.#dismissed(now, flight, verdict);
    switch (verdict) {
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
        this.#end(flight, CloseCode.normal, "opened again");
        return this.#open(now, id, candidate.transport);
    }
  }

  #dismissed(now: number, flight: Flight, { code, reason }: Ended): void {
    this.#end(flight, code, reason);
    this.#flights.delete(flight.id);
    if (code === CloseCode.version) return this.#setup.core.fail(new ThroughlineError("version_not_supported", reason));
    this.#refused(now, flight, code === CloseCode.bad_message ? CloseCode.internal : code, reason, flight.candidate.failure(now, false));
  }

  #say(flight: Flight, message: ClientMessage): void {
    flight.link?.send(flight.transport.binary ? encode(message) : encodeText(message));
  }

  // What is learned.

  #learn({ transport, link, candidate }: Flight, silent: boolean): void {
    if (link?.holdMs !== undefined) this.#journal.held(link.holdMs);
    const { heartbeat } = this.#setup.core;
    if (heartbeat === undefined || candidate.welcome === undefined || this.#poll(transport.name)) return;
    this.#journal.ended(heartbeat.interval, heartbeat.survived, silent);
  }

  #note(now: number, { transport, candidate, attempt }: Flight, failure: Failure, detail: string | undefined): void {
    const noted: PathFailure = { transport: transport.name, failure, after: candidate.age(now), detail };
    this.sentence = describe(this.#url(transport.name), noted, ALL_WORDS);
    this.#vain &&= failure === "refused" || failure === "silent";
    const unopened = transport.name === "websocket" && candidate.reached === "nothing";
    this.#journal.note(noted, unopened ? attempt : undefined, (told) => this.#record(told));
  }

  #record(failure: PathFailure): void {
    this.failures = [...this.failures, failure].slice(-FAILURES_MAX);
    this.#report();
    this.#setup.failed(failure);
    this.#setup.pump();
  }

  #report(): void {
    if (this.#live === undefined) return;
    for (const report of this.#journal.reports()) this.#setup.core.report(report);
  }

  #url(name: TransportName | undefined): string {
    return name === undefined || name === "websocket" ? websocketUrl(this.#setup.base).href : this.#setup.base.href;
  }

  #poll(name: TransportName): boolean {
    return name.endsWith("-poll");
  }
}
