// A browser of the tests' own: virtual time, requests that the test answers, frames and scripts that it runs.

import type { Frame } from "../../src/messages.js";
import type { Failure, Link, LinkHandlers, LinkOptions, Transport } from "../../src/transports/transport.js";
import type { EventSourceConstructor, EventSourceLike, Hearing, Page, Posted, Send, Web } from "../../src/transports/web.js";
import { World } from "../world.js";

/** A request that was made, for the test to answer. */
export class Request {
  readonly url: URL;
  aborted = false;
  over = false;
  readonly body: string | undefined;
  readonly credentials: boolean;
  readonly #hearing: Hearing;

  constructor(url: string, body: string | undefined, credentials: boolean, hearing: Hearing) {
    this.url = new URL(url);
    this.body = body;
    this.credentials = credentials;
    this.#hearing = hearing;
  }

  get path(): string {
    return this.url.pathname.replace("/prefix/throughline/v1/", "");
  }

  query(name: string): string | null {
    return this.url.searchParams.get(name);
  }

  head(status = 200, ours = true): this {
    if (!this.aborted) this.#hearing.head(status, ours);
    return this;
  }

  part(text: string): this {
    if (!this.aborted) this.#hearing.part(text, text.length);
    return this;
  }

  end(complete = true): void {
    this.over = true;
    if (!this.aborted) this.#hearing.end(complete);
  }

  /** A whole answer. */
  answer(text: string, status = 200, ours = true): void {
    this.head(status, ours).part(text).end();
  }

  taken(): void {
    this.answer(`{"type":"taken","n":${this.query("n")}}`);
  }

  /** The request never came through. */
  fail(): void {
    this.end(false);
  }
}

export class Script {
  readonly url: URL;
  readonly #callbacks: Record<string, unknown>;
  readonly #ended: () => void;
  over = false;

  constructor(url: string, callbacks: Record<string, unknown>, ended: () => void) {
    this.url = new URL(url);
    this.#callbacks = callbacks;
    this.#ended = ended;
  }

  get path(): string {
    return this.url.pathname.replace("/prefix/throughline/v1/", "");
  }

  query(name: string): string | null {
    return this.url.searchParams.get(name);
  }

  /** The script runs, and calls back. */
  answer(text: string): void {
    const call = this.#callbacks[this.query("callback") ?? ""];
    if (typeof call !== "function") throw new Error("the script finds no callback");
    call(text);
    this.end();
  }

  taken(): void {
    this.answer(`{"type":"taken","n":${this.query("n")}}`);
  }

  end(): void {
    this.over = true;
    this.#ended();
  }
}

export class Source implements EventSourceLike {
  static all: Source[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;
  readonly url: URL;
  readonly withCredentials: boolean;

  constructor(url: string, { withCredentials }: { readonly withCredentials: boolean }) {
    this.url = new URL(url);
    this.withCredentials = withCredentials;
    Source.all.push(this);
  }

  close(): void {
    this.closed = true;
  }
}

export class FakeFrame {
  readonly source = {};
  readonly url: URL;
  removed = false;
  readonly #posted: (message: Posted) => void;
  readonly ended: () => void;

  constructor(url: string, posted: (message: Posted) => void, ended: () => void) {
    this.url = new URL(url);
    this.#posted = posted;
    this.ended = ended;
  }

  post(message: Partial<Posted>): void {
    const link = this.url.searchParams.get("link");
    if (!this.removed) this.#posted({ source: this.source, origin: "https://realm.test", data: { throughline: link, data: '{"type":"pong"}' }, ...message });
  }

  remove(): void {
    this.removed = true;
  }
}

export class FakeWeb implements Web {
  readonly world = new World();
  readonly requests: Request[] = [];
  readonly scripts: Script[] = [];
  readonly frames: FakeFrame[] = [];
  readonly beacons: { readonly url: URL; readonly body: string }[] = [];
  readonly callbacks: Record<string, unknown> = {};
  #secrets = 0;
  #load: (() => void)[] | undefined;

  stream: Send | undefined = this.#send.bind(this);
  xhr: Send | undefined = this.#send.bind(this);
  EventSource: EventSourceConstructor | undefined = Source;
  page: Page | undefined = {
    origin: "https://page.test",
    callbacks: this.callbacks,
    loaded: (call) => void (this.#load === undefined ? queueMicrotask(call) : this.#load.push(call)),
    frame: (url, posted, ended) => this.#add(this.frames, new FakeFrame(url, posted, ended)),
    script: (url, ended) => void this.scripts.push(new Script(url, this.callbacks, ended)),
  };

  now(): number {
    return this.world.time;
  }

  random(): number {
    return 1;
  }

  after(ms: number, call: () => void): () => void {
    return this.world.at(this.world.time + ms, call);
  }

  secret(): string {
    this.#secrets += 1;
    return String(this.#secrets).padStart(32, "0");
  }

  beacon(url: string, body: string): boolean {
    this.beacons.push({ url: new URL(url), body });
    return true;
  }

  /** The page is loading; the result ends that. */
  loading(): () => void {
    this.#load = [];
    return () => {
      for (const call of this.#load ?? []) call();
      this.#load = undefined;
    };
  }

  run(ms = 0): Promise<void> {
    return this.world.run(ms);
  }

  /** Requests to `path` that have no answer. */
  open(path: string): Request[] {
    return this.requests.filter((request) => request.path === path && !request.over && !request.aborted);
  }

  /** The only unanswered request to `path`. */
  one(path: string): Request {
    const [request, ...more] = this.open(path);
    if (request === undefined || more.length > 0) throw new Error(`${more.length + (request ? 1 : 0)} requests to ${path}`);
    return request;
  }

  script(path: string): Script {
    const [script, ...more] = this.scripts.filter((s) => s.path === path && !s.over);
    if (script === undefined || more.length > 0) throw new Error(`${more.length + (script ? 1 : 0)} scripts from ${path}`);
    return script;
  }

  get frame(): FakeFrame {
    const frame = this.frames.at(-1);
    if (frame === undefined) throw new Error("there is no frame");
    return frame;
  }

  #add<T>(list: T[], item: T): T {
    list.push(item);
    return item;
  }

  #send(url: string, body: string | undefined, credentials: boolean, hearing: Hearing): () => void {
    const request = this.#add(this.requests, new Request(url, body, credentials, hearing));
    return () => {
      request.aborted = true;
    };
  }
}

export const CONNECT = '{"type":"connect","versions":[1]}';
export const PING = '{"type":"ping"}';
export const BASE = new URL("https://realm.test/prefix/");

/** A link, and what it reported. */
export interface Opened {
  readonly web: FakeWeb;
  readonly link: Link;
  readonly messages: Frame[];
  /** "opened", and how it closed. */
  readonly log: (string | [number, string, Failure | undefined])[];
}

export function open(make: (web: Web) => Transport, options: Partial<LinkOptions> = {}, web = new FakeWeb()): Opened {
  const messages: Frame[] = [];
  const log: Opened["log"] = [];
  const handlers: LinkHandlers = {
    opened: () => log.push("opened"),
    message: (frame) => messages.push(frame),
    closed: (code, reason, failure) => log.push([code, reason, failure]),
  };
  const link = make(web).open(BASE, handlers, { first: [CONNECT], probe: PING, attempt: "a", holdMs: 12_000, credentials: false, ...options });
  return { web, link, messages, log };
}
