// One session for all tabs of an origin.

import { baseUrl } from "../address.js";
import { type Path, Session, type SessionEvents, type SessionOptions } from "../client.js";
import { type Environment, browser } from "../environment.js";
import { ThroughlineError } from "../errors.js";
import { Line } from "../line.js";
import { checkTransports } from "../links.js";
import type { Limits } from "../messages.js";
import type { State } from "../session.js";
import { PortTransport, type WorkerLike } from "./port.js";
import type { Told } from "./talk.js";

export interface ConnectOptions extends SessionOptions {
  /** As for `new Session(url)`. */
  readonly url?: string | URL | undefined;
  /** One session, and one link, for all tabs of this origin that ask for it with the same options; default false. */
  readonly shared?: boolean | undefined;
  /**
   * Address of the worker's script, for `shared`; default: the realm's. Must be of the page's own origin: for a realm
   * of another origin, serve a copy of the realm's `throughline/v1/worker.js`.
   */
  readonly worker?: string | URL | undefined;
}

/** Starts, or finds, the worker of this name. */
export type StartWorker = (script: string, name: string) => WorkerLike;

/** A session: the tab's own, or a share in the one of all tabs. Where the browser has no shared workers, it is the tab's own. */
export function connect(options: ConnectOptions = {}, environment: Environment = browser(), start = starter()): Session {
  const { url, shared, worker, ...rest } = options;
  if (shared !== true || start === undefined) return new Session(url, rest, environment);
  // The worker, which makes a session of them, could tell nobody.
  checkTransports(rest.transports);
  const { place } = environment;
  const base = baseUrl(url, place);
  const script = new URL(worker ?? new URL("throughline/v1/worker.js", base), place.page);
  if (place.page !== undefined && script.origin !== new URL(place.page).origin) {
    const text = `browsers run shared workers of the page's own origin only, and not ${script.href}: serve a copy of it there and name it `
      + "in the option worker, or leave out shared";
    throw new ThroughlineError("bad_address", text);
  }
  const name = JSON.stringify({ url: base.href, ...rest });
  return new SharedSession(base, rest, environment, () => start(script.href, name));
}

function starter(): StartWorker | undefined {
  if (typeof SharedWorker !== "function") return undefined;
  return (script, name) => new SharedWorker(script, { name }) as unknown as WorkerLike;
}

class SharedSession extends Session {
  readonly #port: PortTransport;
  #worker: State = "connecting";
  #state: State = "connecting";
  #path: Path | undefined;
  #limits: Limits | undefined;

  constructor(base: URL, options: SessionOptions, environment: Environment, start: () => WorkerLike) {
    let told: (message: Told) => void = () => undefined;
    const port = new PortTransport(start, (message) => told(message));
    super(base, { ...options, transports: undefined }, {
      ...environment,
      parts: { links: (setup) => new Line(setup, port) },
    });
    this.#port = port;
    told = (message) => this.#hear(message);
  }

  /** The worker's, once this tab is linked to it. */
  override get state(): State {
    const own = super.state;
    return own === "open" ? this.#worker : own;
  }

  override get path(): Path {
    return this.#path ?? super.path;
  }

  override get limits(): Limits | undefined {
    return this.#limits;
  }

  override ping(): void {
    this.#port.ask({ ask: "ping" });
  }

  /** What the tab's link to the worker goes through is nobody's business. */
  protected override emit<K extends keyof SessionEvents>(type: K, value: SessionEvents[K]): boolean {
    if (type === "path" || type === "failure" || type === "rtt") return true;
    if (type === "state") {
      this.#changed((value as SessionEvents["state"]).error);
      return true;
    }
    return super.emit(type, value);
  }

  #changed(error: ThroughlineError | undefined): void {
    const { state } = this;
    if (state === this.#state) return;
    this.#state = state;
    super.emit("state", { state, error });
  }

  #hear(message: Told): void {
    switch (message.tell) {
      case "state": {
        const { error } = message;
        this.#worker = message.state;
        return this.#changed(error && new ThroughlineError(error.code, error.message, error.limit));
      }
      case "path":
        this.#path = message.path;
        this.#limits = message.limits;
        return void super.emit("path", message.path);
      case "failure":
        return void super.emit("failure", message.failure);
      case "drain":
        return void super.emit("drain", message.after);
      case "rtt":
        if (this.#path !== undefined) this.#path = { ...this.#path, rtt: message.rtt };
        return void super.emit("rtt", message.rtt);
    }
  }
}
