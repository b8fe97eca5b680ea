// Messages and their two carriages: PROTOCOL.md sections 2 to 4.

import { type ErrorCode, ThroughlineError, checkNames } from "./errors.js";
import { type Properties, decodeProperties, encodeProperties, isObject, loneSurrogate, utf8, utf8Length } from "./properties.js";

/** Names of the messages, by direction. */
export const CLIENT_MESSAGES = ["connect", "subscribe", "unsubscribe", "publish", "ping", "pong", "report", "close"] as const;
export const SERVER_MESSAGES = ["welcome", "reply", "event", "gap", "end", "ping", "pong", "drain", "close"] as const;

/** An event's id in its channel: decimal, 64 bits. */
export type Eid = string;

/** Where a subscription stood: the events after `after` in the history `epoch` are still to come. */
export interface Position {
  readonly after: Eid;
  readonly epoch: string;
}

/** `new`: after this moment; `all`: everything kept; an EID: that event and all after it; or a position. */
export type From = "new" | "all" | Eid | Position;

export interface PublishOptions {
  /** At most 255 bytes. */
  readonly tag?: string | undefined;
  readonly properties?: Properties | undefined;
  /** Milliseconds; may only shorten the channel's. */
  readonly ttl?: number | undefined;
  /** Keep this event on disk; channels of type `mixed` only. */
  readonly persistent?: boolean | undefined;
}

/** What a publisher gives. `properties` are in their JSON form already. */
export interface Body {
  readonly data: string | Uint8Array<ArrayBuffer>;
  readonly tag?: string | undefined;
  readonly properties?: string | undefined;
  readonly ttl?: number | undefined;
}

export interface Publish {
  readonly type: "publish";
  readonly id: number;
  readonly channel: string;
  readonly body: Body;
  readonly persistent?: boolean | undefined;
}

/** The first message on every link. */
export interface Connect {
  readonly type: "connect";
  readonly session?: string | undefined;
  readonly client?: string | undefined;
  /** The heartbeat interval that is wanted, milliseconds. */
  readonly heartbeat?: number | undefined;
}

/** What the client learned about its path, for the realm's operator. */
export interface Report {
  readonly type: "report";
  readonly transport: string;
  readonly failure: string;
  /** Age of the link then, milliseconds. */
  readonly after: number;
  /** At most 200 bytes. */
  readonly detail?: string | undefined;
}

export type ClientMessage =
  | Connect
  | Report
  | { readonly type: "subscribe"; readonly id: number; readonly channel: string; readonly from: From }
  | { readonly type: "unsubscribe"; readonly id: number; readonly channel: string }
  | Publish
  | { readonly type: "ping" | "pong" };

/** Limits that the server tells. */
export interface Limits {
  readonly event_bytes: number;
  readonly publishes_max: number;
  readonly subscriptions_max: number;
}

export type GapReason = "capacity" | "expired" | "epoch" | "restart";
const GAP_REASONS: readonly string[] = ["capacity", "expired", "epoch", "restart"] satisfies GapReason[];

export interface EventMessage {
  readonly type: "event";
  readonly channel: number;
  readonly eid: Eid;
  readonly time: number;
  readonly data: string | Uint8Array<ArrayBuffer>;
  readonly tag: string | undefined;
  readonly properties: Properties | undefined;
  readonly ttl: number | undefined;
}

export interface GapMessage {
  readonly type: "gap";
  readonly channel: number;
  readonly from: Eid;
  readonly to: Eid;
  readonly epoch: string;
  readonly reason: GapReason;
}

export interface Welcome {
  readonly type: "welcome";
  readonly version: number;
  readonly session: string;
  readonly heartbeat: number;
  /** Opaque name of the network that the client is in. */
  readonly network: string | undefined;
  readonly limits: Limits;
}

export interface Reply {
  readonly type: "reply";
  readonly id: number;
  readonly error: ThroughlineError | undefined;
  /** Channel number and epoch: only in the answer to `subscribe`. */
  readonly number: number | undefined;
  readonly epoch: string | undefined;
  readonly eid: Eid | undefined;
  readonly duplicate: boolean;
}

export type ServerMessage =
  | Welcome
  | Reply
  | EventMessage
  | GapMessage
  | { readonly type: "end"; readonly channel: number; readonly reason: string }
  | { readonly type: "ping" | "pong" }
  | { readonly type: "drain"; readonly after: number }
  | { readonly type: "close"; readonly code: number; readonly reason: string };

/** One whole message as a link carries it: text or binary. */
export type Frame = string | Uint8Array<ArrayBuffer>;

const HEADER_BYTES_MAX = 65_536;
const TAG_BYTES_MAX = 255;
const PUBLISH_OPTIONS: (keyof PublishOptions)[] = ["tag", "properties", "ttl", "persistent"];
const EID_MAX = "18446744073709551615";
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Orders two EIDs; negative when `a` comes first. */
export function compareEids(a: Eid, b: Eid): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** Whether `text` is an EID in its one spelling; "0" only where a cursor is meant. */
export function isEid(text: unknown, zero = false): text is Eid {
  if (text === "0") return zero;
  return typeof text === "string" && /^[1-9]\d{0,19}$/.test(text) && compareEids(text, EID_MAX) <= 0;
}

/** Throws `bad_channel_name` when `name` breaks the rules of section 3. */
export function checkChannelName(name: string): void {
  if (typeof name === "string" && name.length <= 128 && /^[\w\-.:]+(\/[\w\-.:]+)*$/.test(name)) return;
  const text = `channel name ${JSON.stringify(name)}: 1 to 128 of A-Z a-z 0-9 _ - . : / with no empty part between slashes`;
  throw new ThroughlineError("bad_channel_name", text, 128);
}

/** Throws `bad_position` when `from` is no place to start at. */
export function checkFrom(from: From): void {
  const good = typeof from === "string"
    ? from === "new" || from === "all" || isEid(from)
    : isEid(from.after, true) && isEpoch(from.epoch);
  if (!good) throw new ThroughlineError("bad_position", 'from: expected "new", "all", an EID, or { after, epoch }');
}

function isEpoch(text: unknown): text is string {
  return typeof text === "string" && /^[\da-f]{16}$/.test(text);
}

/** Throws unless `value` is well-formed text of at most `max` bytes. */
export function checkText(code: ErrorCode, member: string, value: unknown, max: number): void {
  if (typeof value === "string" && utf8Length(value) <= max && !loneSurrogate(value)) return;
  throw new ThroughlineError(code, `${member}: at most ${max} bytes of text are allowed`, max);
}

/** Checks what a publisher gives and brings it into the form that is sent. Throws `bad_event`. */
export function body(data: string | Uint8Array | ArrayBuffer, options: PublishOptions): Body {
  const { tag, properties, ttl, persistent } = options;
  // An event that is passed on has more.
  if (!("eid" in options)) checkNames(options, PUBLISH_OPTIONS);
  const bad = (text: string): ThroughlineError => new ThroughlineError("bad_event", text);
  if (typeof data === "string" ? loneSurrogate(data) : !(data instanceof Uint8Array) && !(data instanceof ArrayBuffer)) {
    throw bad("data: expected well-formed text, a Uint8Array or an ArrayBuffer; JSON.stringify makes text of others");
  }
  if (tag !== undefined) checkText("bad_event", "tag", tag, TAG_BYTES_MAX);
  if (ttl !== undefined && !(Number.isSafeInteger(ttl) && ttl > 0)) {
    throw bad("ttl: 1 to 2^53-1 milliseconds are allowed");
  }
  if (typeof (persistent ?? true) !== "boolean") throw bad("persistent: expected true or false");
  return {
    // Copied, so that the caller may use its buffer again before the event is answered.
    data: typeof data === "string" ? data : new Uint8Array(data instanceof ArrayBuffer ? data.slice(0) : data),
    tag,
    properties: properties === undefined ? undefined : encodeProperties(properties),
    ttl,
  };
}

/** Bytes of an event's data. */
export function dataBytes(data: string | Uint8Array): number {
  return typeof data === "string" ? utf8Length(data) : data.length;
}

/** A message in the carriage it needs: publishes of bytes as binary messages, all else as text. */
export function encode(message: ClientMessage): Frame {
  switch (message.type) {
    case "connect": {
      const { type, session, client, heartbeat } = message;
      return JSON.stringify({ type, versions: [1], session, client, heartbeat });
    }
    case "subscribe": {
      const { type, id, channel, from } = message;
      return JSON.stringify(typeof from === "string"
        ? { type, id, channel, from }
        : { type, id, channel, after: from.after, epoch: from.epoch });
    }
    case "publish":
      return encodePublish(message);
    default:
      return JSON.stringify(message);
  }
}

function encodePublish(publish: Publish): Frame {
  const { data } = publish.body;
  if (typeof data === "string") return publishJson(publish, { data });
  const header = utf8.encode(publishJson(publish, {}));
  const frame = new Uint8Array(4 + header.length + data.length);
  new DataView(frame.buffer).setUint32(0, header.length);
  frame.set(header, 4);
  frame.set(data, 4 + header.length);
  return frame;
}

/** The JSON of a publish with its data as they are `carried`, if in it at all. */
export function publishJson({ type, id, channel, body, persistent }: Publish, carried: object): string {
  const { tag, properties, ttl } = body;
  const json = JSON.stringify({ type, id, channel, tag, ttl, persistent, ...carried });
  return properties === undefined ? json : `${json.slice(0, -1)},"properties":${properties}}`;
}

type Json = { readonly [key: string]: unknown };

function malformed(text: string): ThroughlineError {
  return new ThroughlineError("bad_message", text);
}

function want<T>(good: boolean, value: unknown, json: Json, member: string): T {
  if (!good) throw malformed(`${String(json["type"])}: member "${member}" is ${JSON.stringify(value) ?? "missing"}`);
  return value as T;
}

function whole(json: Json, member: string, max = Number.MAX_SAFE_INTEGER): number {
  const value = json[member];
  return want(typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max, value, json, member);
}

function text(json: Json, member: string): string {
  return want(typeof json[member] === "string", json[member], json, member);
}

function object(json: Json, member: string): Json {
  return want(isObject(json[member]), json[member], json, member);
}

function optional<T>(json: Json, member: string, read: (json: Json, member: string) => T): T | undefined {
  return json[member] === undefined ? undefined : read(json, member);
}

function eid(json: Json, member: string, zero = false): Eid {
  const value = json[member];
  return want(isEid(value, zero), value, json, member);
}

function epoch(json: Json): string {
  return want(isEpoch(json["epoch"]), json["epoch"], json, "epoch");
}

function number(json: Json, member: string): number {
  return whole(json, member, 2 ** 32 - 1);
}

/** Decodes one whole message. Throws `bad_message`, whose text names the fault. */
export function decode(frame: Frame): ServerMessage {
  const [header, data] = typeof frame === "string" ? [frame, undefined] : split(frame);
  let json: unknown;
  try {
    json = JSON.parse(header);
  } catch {
    // As undefined it is refused below.
  }
  if (!isObject(json)) throw malformed("message is no JSON object");
  if (data !== undefined && json["type"] !== "event") throw malformed("only an event may come as a binary message");
  return message(json, data);
}

function split(frame: Uint8Array<ArrayBuffer>): [string, Uint8Array<ArrayBuffer>] {
  try {
    const length = new DataView(frame.buffer, frame.byteOffset).getUint32(0);
    if (length <= Math.min(HEADER_BYTES_MAX, frame.length - 4)) {
      return [strictUtf8.decode(frame.subarray(4, 4 + length)), frame.subarray(4 + length)];
    }
  } catch {
    // Too short for a length, or no UTF-8.
  }
  throw malformed("a binary message has no good header");
}

function message(json: Json, data: Uint8Array<ArrayBuffer> | undefined): ServerMessage {
  const type = json["type"];
  switch (type) {
    case "event":
      return event(json, data);
    case "reply":
      return reply(json);
    case "welcome":
      return welcome(json);
    case "gap": {
      const reason = json["reason"];
      return {
        type,
        channel: number(json, "channel"),
        from: eid(json, "from", true),
        to: eid(json, "to", true),
        epoch: epoch(json),
        reason: want(typeof reason === "string" && GAP_REASONS.includes(reason), reason, json, "reason"),
      };
    }
    case "end":
      return { type, channel: number(json, "channel"), reason: text(json, "reason") };
    case "ping":
    case "pong":
      return { type };
    case "drain":
      return { type, after: whole(json, "after") };
    case "close":
      return { type, code: whole(json, "code", 65_535), reason: optional(json, "reason", text) ?? "" };
    default:
      throw malformed(`unknown message type ${JSON.stringify(type)}`);
  }
}

function welcome(json: Json): Welcome {
  const limits = object(json, "limits");
  const session = json["session"];
  return {
    type: "welcome",
    version: whole(json, "version"),
    session: want(typeof session === "string" && /^[\da-f]{32}$/.test(session), session, json, "session"),
    heartbeat: whole(json, "heartbeat"),
    network: optional(json, "network", text),
    limits: {
      event_bytes: whole(limits, "event_bytes"),
      publishes_max: whole(limits, "publishes_max"),
      subscriptions_max: whole(limits, "subscriptions_max"),
    },
  };
}

function refusal(json: Json, member: string): ThroughlineError {
  const error = object(json, member);
  return new ThroughlineError(text(error, "code"), text(error, "message"), optional(error, "limit", whole));
}

function reply(json: Json): Reply {
  const subscribed = json["number"] !== undefined;
  const duplicate = json["duplicate"] ?? false;
  return {
    type: "reply",
    id: whole(json, "id"),
    error: optional(json, "error", refusal),
    number: optional(json, "number", number),
    epoch: subscribed ? epoch(json) : undefined,
    eid: subscribed ? eid(json, "eid", true) : optional(json, "eid", eid),
    duplicate: want(typeof duplicate === "boolean", duplicate, json, "duplicate"),
  };
}

function base64(json: Json, member: string): Uint8Array<ArrayBuffer> {
  const coded = text(json, member);
  // atob forgives white space and missing padding; RFC 4648 section 4 does not.
  want(coded.length % 4 === 0 && /^[A-Za-z\d+/]*={0,2}$/.test(coded), coded, json, member);
  return Uint8Array.from(atob(coded), (c) => c.charCodeAt(0));
}

function event(json: Json, payload: Uint8Array<ArrayBuffer> | undefined): EventMessage {
  const found = [payload, optional(json, "data", text), optional(json, "base64", base64)].filter((d) => d !== undefined);
  const [data] = found;
  if (data === undefined || found.length > 1) throw malformed("event: its data must be given exactly once");
  const ttl = optional(json, "ttl", whole);
  want(ttl !== 0, ttl, json, "ttl");
  const tag = optional(json, "tag", text);
  want(tag === undefined || utf8Length(tag) <= TAG_BYTES_MAX, tag, json, "tag");
  return {
    type: "event",
    channel: number(json, "channel"),
    eid: eid(json, "eid"),
    time: whole(json, "time"),
    data,
    tag,
    properties: optional(json, "properties", (j, member) => decodeProperties(j[member])),
    ttl,
  };
}
