// The links of a session over one transport, without a ladder: one candidate at a time, adopted when it has proven itself.

import { Candidate, type Verdict } from "./candidate.js";
import { CloseCode, NO_CODE, reconnectAfter } from "./close.js";
import type { Links, LinksSetup } from "./environment.js";
import { ThroughlineError } from "./errors.js";
import { type PathFailure, describe } from "./failure.js";
import { type ClientMessage, type Frame, type ServerMessage, decode, encode } from "./messages.js";
import type { LinkWish } from "./session.js";
import { GIVE_UP_MS } from "./steering.js";
import type { Failure, Link, Transport, TransportName } from "./transports/transport.js";
import { websocketUrl } from "./transports/websocket.js";

interface Flight {
  readonly candidate: Candidate;
  readonly startedAt: number;
  link: Link | undefined;
}

const FAILURES_MAX = 10;

export class Line implements Links {
  adopted = 0;
  network: string | undefined;
  sentence: string | undefined;
  failures: readonly PathFailure[] = [];
  readonly url: string;
  readonly #setup: LinksSetup;
  readonly #transport: Transport;
  #candidate: Flight | undefined;
  #live: Flight | undefined;

  /** Throws `bad_address` without a transport. */
  constructor(setup: LinksSetup, transport: Transport | undefined) {
    if (transport === undefined || setup.transports?.includes(transport.name) === false) {
      throw new ThroughlineError("bad_address", "transports: websocket is the only one here (Node has it from 22 on)");
    }
    this.#setup = setup;
    this.#transport = transport;
    this.url = websocketUrl(setup.base).href;
  }

  get transport(): TransportName | undefined {
    return this.adopted > 0 ? this.#transport.name : undefined;
  }

  get heartbeat(): number | undefined {
    return this.#live?.candidate.welcome?.heartbeat;
  }

  work(): void {
    const { core, environment } = this.#setup;
    const now = environment.now();
    if (this.#candidate !== undefined && now >= this.deadline()) {
      this.#failed(now, this.#candidate, CloseCode.heartbeat, "not proven in time", this.#candidate.candidate.failure(now, true));
    }
    for (let wish = core.link(); wish !== undefined; wish = core.link()) this.#wish(now, wish);
  }

  deadline(): number {
    return this.#candidate === undefined ? Infinity : this.#candidate.startedAt + (this.#setup.openTimeoutMs ?? GIVE_UP_MS);
  }

  send(message: ClientMessage): void {
    this.#say(this.#live, message);
  }

  rtt(): void {
    // There is no other transport to wait for.
  }

  drain(): void {
    this.stop();
  }

  stop(): void {
    this.#candidate?.link?.close(CloseCode.normal, "");
    this.#candidate = undefined;
  }

  #wish(now: number, wish: LinkWish): void {
    if (wish.do === "trust") return this.stop();
    if (wish.do !== "close") return this.#open(now);
    const flight = this.#live;
    flight?.link?.close(wish.code, wish.reason);
    if (flight !== undefined) this.#gone(now, flight, wish.code === CloseCode.heartbeat ? "idle" : undefined, wish.reason);
  }

  #open(now: number): void {
    if (this.#candidate !== undefined) return;
    const { core, environment, base, credentials } = this.#setup;
    const candidate = new Candidate(this.#transport.name, core.greet(undefined), now);
    const flight: Flight = { candidate, startedAt: now, link: undefined };
    this.#candidate = flight;
    const heard = (call: (now: number) => void): void => {
      if (flight !== this.#live && flight !== this.#candidate) return;
      call(environment.now());
      this.#setup.pump();
    };
    try {
      flight.link = this.#transport.open(base, {
        opened: () => heard((at) => candidate.opened(at)),
        message: (frame) => heard((at) => this.#message(at, flight, frame)),
        closed: (code, reason) => heard((at) => this.#closed(at, flight, code, reason)),
      }, {
        first: candidate.greeting.messages.map(encode),
        probe: encode({ type: "ping" }),
        attempt: String(environment.random()).slice(2),
        holdMs: 0,
        credentials,
      });
    } catch (error) {
      this.#candidate = undefined;
      this.sentence = error instanceof Error ? error.message : String(error);
      core.fail(new ThroughlineError("bad_address", this.sentence));
    }
  }

  #message(now: number, flight: Flight, frame: Frame): void {
    const { core } = this.#setup;
    let message: ServerMessage;
    try {
      message = decode(frame);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (flight === this.#live) core.broken(now, reason);
      else this.#judged(now, flight, { code: CloseCode.bad_message, reason });
      return;
    }
    if (flight === this.#live) core.input(now, message);
    else this.#judged(now, flight, flight.candidate.input(now, message, core.id));
  }

  #judged(now: number, flight: Flight, verdict: Verdict): void {
    if (verdict === "proved") this.#adopt(now, flight);
    if (verdict === "ping") this.#say(flight, { type: "pong" });
    if (typeof verdict === "object") this.#failed(now, flight, verdict.code, verdict.reason, flight.candidate.failure(now, false));
  }

  #adopt(now: number, flight: Flight): void {
    const { welcome, greeting, kept, rtt = 0 } = flight.candidate;
    if (welcome === undefined) return;
    const before = this.#live;
    before?.link?.close(CloseCode.normal, "replaced");
    // There are candidates beside a link only when that does not answer.
    if (before !== undefined) this.#note(now, before, "idle", "");
    this.#live = flight;
    this.#candidate = undefined;
    this.network = welcome.network;
    this.adopted += 1;
    this.#setup.core.adopt(now, greeting, welcome, kept, rtt);
    this.#setup.changed();
  }

  #closed(now: number, flight: Flight, code: number, reason: string): void {
    const failure = flight.candidate.failure(now, false);
    if (flight !== this.#live) return this.#failed(now, flight, code, reason, failure);
    this.#setup.core.lost(now, code, reason);
    this.#gone(now, flight, code === NO_CODE ? failure : undefined, reason);
  }

  #gone(now: number, flight: Flight, failure: Failure | undefined, reason: string): void {
    this.#live = undefined;
    if (failure === undefined) this.sentence = `the link ended: ${reason}`;
    else this.#note(now, flight, failure, reason);
    this.#setup.changed();
  }

  /** A candidate ended, by itself or because its time has passed. */
  #failed(now: number, flight: Flight, code: number, reason: string, failure: Failure): void {
    this.#candidate = undefined;
    flight.link?.close(code, reason);
    this.#note(now, flight, failure, reason);
    if (code === CloseCode.version) return this.#setup.core.fail(new ThroughlineError("version_not_supported", reason));
    // What this side found broken may be better later; nor is a proxy's word believed that it never will be.
    const told = code >= 4000 && code !== CloseCode.bad_message && reconnectAfter(code) !== "now";
    if (this.#live === undefined) this.#setup.core.unreached(now, told ? code : NO_CODE, reason);
  }

  #note(now: number, { candidate }: Flight, failure: Failure, reason: string): void {
    const noted = { transport: this.#transport.name, failure, after: candidate.age(now), detail: reason === "" ? undefined : reason };
    this.sentence = describe(this.url, noted);
    this.failures = [...this.failures, noted].slice(-FAILURES_MAX);
    this.#setup.failed(noted);
  }

  #say(flight: Flight | undefined, message: ClientMessage): void {
    flight?.link?.send(encode(message));
  }
}
