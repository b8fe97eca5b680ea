// A link that is proving itself: PROTOCOL.md, "Proving a link". Pure; the session has not adopted it yet.

import { CloseCode } from "./close.js";
import type { ServerMessage, Welcome } from "./messages.js";
import type { Greeting } from "./session.js";
import type { Failure, TransportName } from "./transports/transport.js";

/** A link that ends so soon after it was proven was cut; one that ends later went idle, or was rotated. */
const CUT_MS = 10_000;

/** It cannot go on; `code` is what the server is told, or has told. */
export interface Ended {
  readonly code: number;
  readonly reason: string;
}

/**
 * What a message means for the candidate. `ping` is to be answered; `foreign` is another session than the one that is known
 * by now: to be opened again with that.
 */
export type Verdict = "waits" | "ping" | "proved" | "answered" | "foreign" | Ended;

const bad = (reason: string): Ended => ({ code: CloseCode.bad_message, reason });

export class Candidate {
  readonly transport: TransportName;
  readonly greeting: Greeting;
  welcome: Welcome | undefined;
  rtt: number | undefined;
  /** What came since the welcome: the session takes it over with the link. */
  readonly kept: ServerMessage[] = [];
  readonly #startedAt: number;
  #openedAt: number | undefined;
  #provedAt: number | undefined;

  constructor(transport: TransportName, greeting: Greeting, now: number) {
    this.transport = transport;
    this.greeting = greeting;
    this.#startedAt = now;
  }

  opened(now: number): void {
    this.#openedAt = now;
  }

  /** `session` is the session's id as it is known now. */
  input(now: number, message: ServerMessage, session: string | undefined): Verdict {
    if (message.type === "close") return message;
    if (this.welcome === undefined) return this.#welcome(message, session);
    switch (message.type) {
      case "ping":
        return "ping";
      case "welcome":
        return bad("a second welcome came");
      case "pong":
        if (this.#provedAt !== undefined) return "answered";
        // Another candidate without a session was faster.
        if (session !== undefined && session !== this.welcome.session) return "foreign";
        // The ping went with the opening; on a WebSocket after it.
        this.rtt = now - (this.transport === "websocket" ? (this.#openedAt ?? this.#startedAt) : this.#startedAt);
        this.#provedAt = now;
        return "proved";
      default:
        this.kept.push(message);
        return "waits";
    }
  }

  age(now: number): number {
    return Math.round(now - this.#startedAt);
  }

  /** How far it came. */
  get reached(): "nothing" | "opened" | "welcomed" {
    if (this.#provedAt !== undefined) return "welcomed";
    return this.#openedAt === undefined ? "nothing" : "opened";
  }

  /** What its end means. `late`: its time had passed; else it ended by itself. */
  failure(now: number, late: boolean): Failure {
    if (this.#provedAt !== undefined) return now - this.#provedAt < CUT_MS ? "cut" : "idle";
    if (this.#openedAt === undefined) return late ? "silent" : "refused";
    if (!late) return "cut";
    return this.transport.endsWith("-stream") || this.transport === "event-source" ? "buffered" : "swallowed";
  }

  #welcome(message: ServerMessage, session: string | undefined): Verdict {
    if (message.type !== "welcome") return bad(`${message.type} came before welcome`);
    if (message.version !== 1) {
      const reason = `the server chose protocol version ${message.version}, this client speaks 1`;
      return { code: CloseCode.version, reason };
    }
    if (session !== undefined && session !== message.session) {
      if (this.greeting.session === undefined) return "foreign";
      // Under another session the realm would take repeated publishes for new ones.
      return bad("the server answered with another session");
    }
    this.welcome = message;
    return "waits";
  }
}
