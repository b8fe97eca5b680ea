// A small model of the server: channels as lists, sessions as maps of publish numbers. Written from PROTOCOL.md alone.

import type { Frame } from "../src/messages.js";
import { isObject } from "../src/properties.js";
import type { Peer } from "./world.js";

type Json = Record<string, unknown>;

interface Stored {
  readonly eid: number;
  readonly header: Json;
  readonly payload: Uint8Array | undefined;
}

interface Channel {
  epoch: string;
  events: Stored[];
  last: number;
  /** EIDs up to here are no longer kept. */
  dropped: number;
}

interface LinkState {
  readonly peer: Peer;
  session: string | undefined;
  readonly subs: Map<string, { number: number; after: number }>;
  numbers: number;
}

/** A message of a client: its JSON object, and the data of a binary one. */
export function parse(frame: Frame): [Json, Uint8Array | undefined] {
  if (typeof frame === "string") return [object(JSON.parse(frame)), undefined];
  const length = new DataView(frame.buffer, frame.byteOffset).getUint32(0);
  return [object(JSON.parse(new TextDecoder().decode(frame.subarray(4, 4 + length)))), frame.slice(4 + length)];
}

function object(json: unknown): Json {
  if (!isObject(json)) throw new Error("no object");
  return json;
}

/** A message as a frame; binary when there is a payload. */
export function frame(json: Json, payload?: Uint8Array): Frame {
  const text = JSON.stringify(json);
  if (payload === undefined) return text;
  const header = new TextEncoder().encode(text);
  const bytes = new Uint8Array(4 + header.length + payload.length);
  new DataView(bytes.buffer).setUint32(0, header.length);
  bytes.set(header, 4);
  bytes.set(payload, 4 + header.length);
  return bytes;
}

export class Realm {
  heartbeat = 10_000;
  publishesMax = 8;
  /** Events kept per channel. */
  capacity = Infinity;
  readonly channels = new Map<string, Channel>();
  /** Every message that came, newest last. */
  readonly log: Json[] = [];
  /** Publishes of one link that were not answered, at the most. */
  mostUnanswered = 0;
  /** When set, requests are kept back until {@link answer} is called. */
  hold = false;
  #held: (() => void)[] = [];
  #sessions = new Map<string, Map<string, { id: number; eids: Map<number, number> }>>();
  #links = new Set<LinkState>();
  #ids = 0;

  readonly accept = (peer: Peer): void => {
    const link: LinkState = { peer, session: undefined, subs: new Map(), numbers: 0 };
    this.#links.add(link);
    peer.onGone = () => void this.#links.delete(link);
    peer.onFrame = (data) => {
      const [json, payload] = parse(data);
      this.log.push(json);
      this.#input(link, json, payload);
    };
  };

  channel(name: string): Channel {
    let channel = this.channels.get(name);
    if (channel === undefined) {
      channel = { epoch: "00000000000000aa", events: [], last: 0, dropped: 0 };
      this.channels.set(name, channel);
    }
    return channel;
  }

  /** Publishes from elsewhere. */
  publish(name: string, data: string, more: Json = {}): number {
    return this.#store(name, { data, ...more }, undefined);
  }

  answer(): void {
    for (const call of this.#held.splice(0)) call();
  }

  /** A new history: what was kept is gone. */
  forget(name: string): void {
    const channel = this.channel(name);
    channel.epoch = (BigInt(`0x${channel.epoch}`) + 1n).toString(16).padStart(16, "0");
    channel.events = [];
    channel.last = 0;
    channel.dropped = 0;
  }

  /** The channel is deleted: its subscriptions end, and whoever subscribes later finds a new one. */
  remove(name: string): void {
    this.forget(name);
    for (const { peer, subs } of this.#links) {
      const sub = subs.get(name);
      subs.delete(name);
      if (sub !== undefined) peer.send(frame({ type: "end", channel: sub.number, reason: "deleted" }));
    }
  }

  /** A message to every link, as it is. */
  broadcast(json: Json): void {
    for (const link of this.#links) link.peer.send(frame(json));
  }

  #input(link: LinkState, json: Json, payload: Uint8Array | undefined): void {
    const id = json["id"];
    switch (json["type"]) {
      case "connect":
        return this.#connect(link, json["session"]);
      case "subscribe":
        return this.#subscribe(link, json);
      case "unsubscribe":
        link.subs.delete(String(json["channel"]));
        return link.peer.send(frame({ type: "reply", id }));
      case "publish":
        return this.#published(link, json, payload);
      case "ping":
        return link.peer.send(frame({ type: "pong" }));
      case "pong":
      case "report":
        return;
      default:
        throw new Error(`model: ${JSON.stringify(json)}`);
    }
  }

  #connect(link: LinkState, session: unknown): void {
    if (link.session !== undefined) throw new Error("model: a second connect");
    this.#ids += 1;
    link.session = typeof session === "string" ? session : this.#ids.toString(16).padStart(32, "0");
    const limits = { event_bytes: 1000, publishes_max: this.publishesMax, subscriptions_max: 10 };
    link.peer.send(frame({ type: "welcome", version: 1, session: link.session, heartbeat: this.heartbeat, limits }));
  }

  #subscribe(link: LinkState, json: Json): void {
    const { id, channel: name, from, after, epoch } = json as { id: number; channel: string; from?: string; after?: string; epoch?: string };
    if (link.session === undefined) throw new Error("model: subscribe before connect");
    if (link.subs.has(name)) throw new Error("model: subscribed twice");
    const channel = this.channel(name);
    link.numbers += 1;
    const number = link.numbers;
    const other = epoch !== undefined && epoch !== channel.epoch;
    const wanted = after !== undefined ? Number(after) : from === "all" ? channel.dropped : from === "new" ? channel.last : Number(from) - 1;
    const start = other ? 0 : wanted;
    const sub = { number, after: start };
    link.subs.set(name, sub);
    link.peer.send(frame({ type: "reply", id, number, epoch: channel.epoch, eid: String(start) }));
    if (other) {
      link.peer.send(frame({ type: "gap", channel: number, from: String(wanted + 1), to: "0", epoch: channel.epoch, reason: "epoch" }));
    } else if (channel.dropped > start) {
      const gap = { from: String(start + 1), to: String(channel.dropped), epoch: channel.epoch, reason: "capacity" };
      link.peer.send(frame({ type: "gap", channel: number, ...gap }));
    }
    this.#deliver(link, name);
  }

  #published(link: LinkState, json: Json, payload: Uint8Array | undefined): void {
    const { session } = link;
    if (session === undefined) throw new Error("model: publish before connect");
    const { type: _type, id, channel, ...rest } = json as { type: string; id: number; channel: string };
    const known = this.#memory(session, channel);
    const before = known.eids.get(id);
    const answer = before !== undefined ? { eid: String(before), duplicate: true } : undefined;
    if (answer === undefined && id <= known.id) throw new Error(`model: publish ${id} after ${known.id}`);
    const eid = before ?? this.#store(channel, rest, payload);
    known.id = Math.max(known.id, id);
    known.eids.set(id, eid);
    const send = (): void => link.peer.send(frame({ type: "reply", id, ...(answer ?? { eid: String(eid) }) }));
    if (this.hold) this.#held.push(send);
    else send();
    this.mostUnanswered = Math.max(this.mostUnanswered, this.#held.length);
  }

  #memory(session: string, channel: string): { id: number; eids: Map<number, number> } {
    const channels = this.#sessions.get(session) ?? new Map<string, { id: number; eids: Map<number, number> }>();
    this.#sessions.set(session, channels);
    const known = channels.get(channel) ?? { id: 0, eids: new Map<number, number>() };
    channels.set(channel, known);
    return known;
  }

  #store(name: string, header: Json, payload: Uint8Array | undefined): number {
    const channel = this.channel(name);
    channel.last += 1;
    channel.events.push({ eid: channel.last, header, payload });
    while (channel.events.length > this.capacity) channel.dropped = channel.events.shift()?.eid ?? 0;
    for (const link of this.#links) this.#deliver(link, name);
    return channel.last;
  }

  #deliver(link: LinkState, name: string): void {
    const sub = link.subs.get(name);
    if (sub === undefined) return;
    for (const { eid, header, payload } of this.channel(name).events) {
      if (eid <= sub.after) continue;
      link.peer.send(frame({ type: "event", channel: sub.number, eid: String(eid), time: 1_700_000_000_000 + eid, ...header }, payload));
      sub.after = eid;
    }
  }
}
