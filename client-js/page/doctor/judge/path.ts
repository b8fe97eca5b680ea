// The way that was asked about, and which transports work on it.

import type { Observations, Trial, What } from "../observations.js";
import { flow } from "./flow.js";

/** Transports as findings name them, best first. */
export const TRANSPORTS = ["websocket", "chunk", "sse", "iframe", "poll"] as const;
export type Transport = (typeof TRANSPORTS)[number];

const SESSIONS: Readonly<Partial<Record<Transport, string>>> = { websocket: "websocket", chunk: "http-stream", poll: "long-poll" };

/** Observations, seen from the way that clients would go. */
export class Path {
  readonly observations: Observations;
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** Host and port as the address has them. */
  readonly authority: string;
  readonly prefix: string;
  readonly #way: Trial["way"];

  constructor(observations: Observations) {
    this.observations = observations;
    this.#way = observations.browser === true ? "browser" : observations.proxy !== undefined ? "proxy" : "direct";
    this.secure = observations.url.startsWith("https:");
    const url = URL.canParse(observations.url) ? new URL(observations.url) : undefined;
    this.host = url?.hostname ?? "";
    this.port = url === undefined ? 0 : Number(url.port) || (this.secure ? 443 : 80);
    this.authority = url?.host ?? "";
    this.prefix = url?.pathname.replace(/\/+$/, "") ?? "";
  }

  /** The trials of clients' own way. */
  get trials(): readonly Trial[] {
    return this.#aside(this.#way, this.secure);
  }

  /** The trials on the clients' way, but for TLS. */
  get otherScheme(): readonly Trial[] {
    return this.#aside(this.#way, !this.secure);
  }

  /** The trials of the same address without the forward proxy. */
  get withoutProxy(): readonly Trial[] {
    return this.#way === "proxy" ? this.#aside("direct", this.secure) : [];
  }

  #aside(way: Trial["way"], secure: boolean): readonly Trial[] {
    return this.observations.trials.filter((trial) => trial.way === way && trial.secure === secure);
  }

  all(what: What): readonly Trial[] {
    return this.trials.filter((trial) => trial.what === what);
  }

  first(what: What): Trial | undefined {
    return this.trials.find((trial) => trial.what === what);
  }

  /** The trial that tells whether a transport opens: of a probe, or of a session where probes are off. */
  opening(transport: Transport): Trial | undefined {
    const kind = SESSIONS[transport];
    const session = kind === undefined ? undefined : this.all("session").find((trial) => trial.kind === kind);
    if (session !== undefined) return session;
    if (transport === "websocket") return this.all("websocket").find((trial) => trial.kind === "13");
    if (transport === "poll") return this.all("poll").find((trial) => trial.fault === undefined) ?? this.first("poll");
    return this.all("stream").find((trial) => trial.kind === transport);
  }

  /** Whether a session would work over it; undefined where that was not tried. */
  worksOver(transport: Transport): boolean | undefined {
    const trial = this.opening(transport);
    if (trial === undefined || this.#unprobed(trial)) return undefined;
    const sends = transport === "websocket" || trial.what === "session" || this.first("post")?.fault === undefined;
    const flows = trial.what !== "stream" || ["live", "delayed"].includes(flow(trial).kind);
    return trial.fault === undefined && sends && flows;
  }

  /** The realm answers no such probe, for now or at all: nothing can be told of the path. */
  #unprobed({ what, answer }: Trial): boolean {
    if (answer?.ours !== true || what === "session") return false;
    const realm = this.first("realm");
    return answer.code === "too_many_probes" || (answer.code === "not_found" && realm !== undefined && realm.fault === undefined);
  }

  /** The transports that work, best first. */
  get works(): Transport[] {
    return TRANSPORTS.filter((transport) => this.worksOver(transport) === true);
  }

  /** The transports that were tried and do not work. */
  get fails(): Transport[] {
    return TRANSPORTS.filter((transport) => this.worksOver(transport) === false);
  }

  /** The transports whose opening failed in a way. */
  failing(failed: (trial: Trial) => boolean): Transport[] {
    return TRANSPORTS.filter((transport) => {
      const trial = this.opening(transport);
      return trial !== undefined && failed(trial);
    });
  }

  /** Plain requests pass: some answer of the realm was had. */
  get httpPasses(): boolean {
    return this.trials.some(({ what, fault }) => !["websocket", "http2", "root"].includes(what) && fault === undefined);
  }

  /** The trial of HTTP/2, where it is spoken. */
  get http2(): Trial | undefined {
    const trial = this.first("http2");
    return trial?.extended_connect === undefined ? undefined : trial;
  }

  /** The address with this scheme. */
  withScheme(scheme: string): string {
    return `${scheme}://${this.authority}${this.prefix}`;
  }
}
