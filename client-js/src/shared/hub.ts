// The shared worker: to each tab it is a realm, to the realm it is one session.

import type { Published, Session } from "../client.js";
import { CloseCode } from "../close.js";
import { ThroughlineError } from "../errors.js";
import type { From, PublishOptions } from "../messages.js";
import { decodeProperties, isObject } from "../properties.js";
import { Feed, type Member, type Read } from "./feed.js";
import type { Asked, Fault, PortLike, Told } from "./talk.js";

/** The session of all tabs. */
export type Upstream = Pick<Session, "state" | "path" | "limits" | "subscribe" | "publish" | "ping" | "on" | "close">;

export interface HubSettings {
  /** Begins the session; called again when it was closed because no tab needed it. */
  readonly session: () => Upstream;
  readonly read: Read;
  /** Calls after `ms`; the result cancels it. */
  readonly after: (ms: number, call: () => void) => () => void;
  /** 128 random bits in hexadecimal digits. */
  readonly secret: () => string;
}

/** A tab that says nothing for so long is asked, one that says nothing for three times as long is forgotten. */
const BEAT_MS = 10_000;
/** The realm is left when no tab was there for so long. */
const LINGER_MS = 5_000;
/** Unanswered publishes of a tab. */
const PUBLISHES_MAX = 256;
/** Sessions of tabs whose answers are remembered. */
const SESSIONS_MAX = 64;

type Json = Readonly<Record<string, unknown>>;
type Answers = Map<number, Promise<Published>>;

export class Hub {
  readonly settings: HubSettings;
  readonly feeds = new Map<string, Feed>();
  /** Answers to publishes, by session and number, so that a repeated one is not published again. */
  readonly answers = new Map<string, Answers>();
  readonly #tabs = new Set<Tab>();
  #session: Upstream | undefined;
  #numbers = 0;
  #stopBeat: (() => void) | undefined;
  #stopLinger: (() => void) | undefined;

  constructor(settings: HubSettings) {
    this.settings = settings;
  }

  get session(): Upstream {
    this.#session ??= this.#begin();
    return this.#session;
  }

  join(port: PortLike): void {
    this.#stopLinger?.();
    this.#stopLinger = undefined;
    this.#tabs.add(new Tab(this, port));
    if (this.#stopBeat === undefined) this.#beat();
  }

  leave(tab: Tab): void {
    this.#tabs.delete(tab);
    if (this.#tabs.size > 0) return;
    this.#stopBeat?.();
    this.#stopBeat = undefined;
    this.#stopLinger = this.settings.after(LINGER_MS, () => {
      void this.#session?.close();
      this.#session = undefined;
      this.feeds.clear();
    });
  }

  feed(channel: string): Feed {
    const found = this.feeds.get(channel);
    if (found !== undefined) return found;
    this.#numbers += 1;
    const feed = new Feed(channel, this.#numbers, (call) => this.session.subscribe(channel, call), this.settings.read, () => this.#forget(feed));
    this.feeds.set(channel, feed);
    return feed;
  }

  /** Ends a subscription that no tab needs any more, or that is over. */
  drop(feed: Feed): void {
    if (!feed.empty || this.feeds.get(feed.channel) !== feed) return;
    this.#forget(feed);
    feed.close();
  }

  /** Keeps the answers to a tab that is there; those of the session that came longest ago are forgotten when there are too many. */
  remember(session: string, answers: Answers): void {
    this.answers.delete(session);
    this.answers.set(session, answers);
    const [oldest = session] = this.answers.keys();
    if (this.answers.size > SESSIONS_MAX) this.answers.delete(oldest);
  }

  #forget(feed: Feed): void {
    if (this.feeds.get(feed.channel) === feed) this.feeds.delete(feed.channel);
  }

  #beat(): void {
    this.#stopBeat = this.settings.after(BEAT_MS, () => {
      for (const tab of this.#tabs) tab.beat();
      if (this.#tabs.size > 0) this.#beat();
    });
  }

  #begin(): Upstream {
    const session = this.settings.session();
    const tell = (message: Told): void => {
      for (const tab of this.#tabs) tab.tell(message);
    };
    session.on("state", ({ state, error }) => {
      tell({ tell: "state", state, error: error && fault(error) });
      if (state !== "closed" || this.#session !== session) return;
      // The next page begins anew.
      this.#session = undefined;
      this.feeds.clear();
      for (const tab of this.#tabs) tab.end(CloseCode.version, error?.message ?? "the session was closed");
    });
    session.on("path", (path) => tell({ tell: "path", path, limits: session.limits }));
    session.on("failure", (failure) => tell({ tell: "failure", failure }));
    session.on("rtt", (rtt) => tell({ tell: "rtt", rtt }));
    session.on("drain", (after) => tell({ tell: "drain", after }));
    // Each tab reports faults of what it asked for itself.
    session.on("error", () => undefined);
    return session;
  }
}

/** A tab, as a realm sees a link. */
class Tab {
  readonly #hub: Hub;
  readonly #port: PortLike;
  readonly #members = new Map<string, { readonly feed: Feed; readonly member: Member }>();
  #answers: Answers = new Map();
  /** Publishes up to this number may have been stored through a worker that is no more. */
  #sent = 0;
  #lost = 0;
  #silentBeats = 0;
  #over = false;

  constructor(hub: Hub, port: PortLike) {
    this.#hub = hub;
    this.#port = port;
    port.onmessage = ({ data }) => this.#heard(data);
    const { state, path, limits } = hub.session;
    this.tell({ tell: "path", path, limits });
    this.tell({ tell: "state", state, error: undefined });
  }

  tell(message: Told): void {
    this.#port.postMessage(message);
  }

  beat(): void {
    this.#silentBeats += 1;
    if (this.#silentBeats > 3) this.end(CloseCode.heartbeat, "nothing was heard of the tab");
    else if (this.#silentBeats > 1) this.#send({ type: "ping" });
  }

  /** Ends the link with a word. */
  end(code: number, reason: string): void {
    this.#send({ type: "close", code, reason });
    this.#leave();
  }

  #leave(): void {
    this.#over = true;
    this.#port.onmessage = null;
    for (const channel of [...this.#members.keys()]) this.#unsubscribe(channel);
    this.#hub.leave(this);
  }

  #send(json: object): void {
    if (!this.#over) this.#port.postMessage(JSON.stringify(json));
  }

  #heard(data: unknown): void {
    this.#silentBeats = 0;
    if (typeof data === "string") return this.#message(JSON.parse(data) as Json, undefined);
    if (!(data instanceof Uint8Array)) return this.#asked(data as Asked);
    const length = new DataView(data.buffer, data.byteOffset).getUint32(0);
    const header = new TextDecoder().decode(data.subarray(4, 4 + length));
    this.#message(JSON.parse(header) as Json, data.slice(4 + length));
  }

  #asked(asked: Asked): void {
    if (asked.ask === "ping") this.#hub.session.ping();
    else this.#sent = asked.sent;
  }

  #message(json: Json, payload: Uint8Array | undefined): void {
    const id = Number(json["id"]);
    const channel = String(json["channel"]);
    switch (json["type"]) {
      case "connect":
        return this.#connect(json["session"]);
      case "ping":
        return this.#send({ type: "pong" });
      case "subscribe":
        return void this.#subscribe(id, channel, from(json));
      case "unsubscribe":
        this.#unsubscribe(channel);
        return this.#send({ type: "reply", id });
      case "publish":
        return this.#publish(id, channel, json, payload);
      case "close":
        return this.#leave();
    }
  }

  #connect(presented: unknown): void {
    const { settings, answers, session: upstream } = this.#hub;
    const session = typeof presented === "string" ? presented : settings.secret();
    const known = answers.get(session);
    if (known === undefined) this.#lost = this.#sent;
    this.#answers = known ?? new Map();
    this.#hub.remember(session, this.#answers);
    // Until the realm has told its own, it judges alone.
    const limits = { event_bytes: Number.MAX_SAFE_INTEGER, subscriptions_max: Number.MAX_SAFE_INTEGER, ...upstream.limits, publishes_max: PUBLISHES_MAX };
    this.#send({ type: "welcome", version: 1, session, heartbeat: BEAT_MS, limits });
  }

  async #subscribe(id: number, channel: string, position: From): Promise<void> {
    let member: Member | undefined;
    try {
      if (this.#members.has(channel)) throw new ThroughlineError("already_subscribed", `this tab is subscribed to "${channel}" already`);
      const feed = this.#hub.feed(channel);
      member = this.#member(feed);
      this.#members.set(channel, { feed, member });
      await feed.join(member, position, (accepted) => this.#send({ type: "reply", id, ...accepted }));
    } catch (error) {
      // The tab may have left it, and may have subscribed again.
      if (member?.gone === true) return;
      if (member !== undefined) this.#unsubscribe(channel);
      this.#refuse(id, error);
    }
  }

  #member(feed: Feed): Member {
    return {
      cursor: "0",
      pending: undefined,
      gone: false,
      send: (frame) => void (this.#over || this.#port.postMessage(frame)),
      cut: () => this.end(CloseCode.drain, "the worker begins anew with this tab"),
      ended: (reason) => {
        this.#members.delete(feed.channel);
        this.#send({ type: "end", channel: feed.number, reason });
      },
    };
  }

  #unsubscribe(channel: string): void {
    const found = this.#members.get(channel);
    if (found === undefined) return;
    this.#members.delete(channel);
    found.feed.leave(found.member);
    this.#hub.drop(found.feed);
  }

  #publish(id: number, channel: string, json: Json, payload: Uint8Array | undefined): void {
    let answer = this.#answers.get(id);
    if (answer === undefined) {
      answer = this.#fresh(id, channel, json, payload);
      this.#answers.set(id, answer);
      this.#answers.delete(id - PUBLISHES_MAX);
    }
    answer.then(
      ({ eid, duplicate }) => {
        this.#hub.feeds.get(channel)?.published(eid);
        this.#send({ type: "reply", id, eid, ...(duplicate && { duplicate }) });
      },
      (error: unknown) => this.#refuse(id, error),
    );
  }

  async #fresh(id: number, channel: string, json: Json, payload: Uint8Array | undefined): Promise<Published> {
    if (id <= this.#lost) {
      throw new ThroughlineError("closed", "the shared worker was ended before the answer came: the event may or may not have been stored");
    }
    return this.#hub.session.publish(channel, payload ?? String(json["data"]), {
      tag: json["tag"] as PublishOptions["tag"],
      properties: json["properties"] === undefined ? undefined : decodeProperties(json["properties"]),
      ttl: json["ttl"] as PublishOptions["ttl"],
      persistent: json["persistent"] as PublishOptions["persistent"],
    });
  }

  #refuse(id: number, error: unknown): void {
    this.#send({ type: "reply", id, error: fault(error) });
  }
}

function from(json: Json): From {
  const { after, epoch } = json as { readonly after?: string; readonly epoch?: string };
  return after !== undefined && epoch !== undefined ? { after, epoch } : String(json["from"]);
}

function fault(error: unknown): Fault {
  if (error instanceof ThroughlineError) return { code: error.code, message: error.message, limit: error.limit };
  return { code: "bad_message", message: isObject(error) ? String(error["message"]) : String(error), limit: undefined };
}
