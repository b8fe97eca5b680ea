// The golden vectors that the Rust crates read too: conformance/vectors/README.md.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Body, type ClientMessage, type Frame, decode, encode } from "../src/messages.js";
import { decodeProperties, encodeProperties } from "../src/properties.js";
import { parse } from "./realm.js";

interface MessageVector {
  readonly name: string;
  readonly direction: "client" | "server";
  readonly text?: string;
  readonly hex?: string;
  readonly carriage?: "text";
  readonly ok: boolean;
  readonly same?: boolean;
}

interface PropertiesVector {
  readonly name: string;
  readonly json: string;
  readonly ok: boolean;
  readonly canonical?: string;
}

interface Fields {
  readonly type: "ping" | "pong";
  readonly id: number;
  readonly channel: string;
  readonly from?: string;
  readonly after: string;
  readonly epoch: string;
  readonly data: string;
  readonly tag: string;
  readonly ttl: number;
  readonly persistent: boolean;
  readonly properties: unknown;
}

function load<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../conformance/vectors/${name}.json`, import.meta.url), "utf8")) as T[];
}

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function frame({ text, hex, carriage }: MessageVector): Frame {
  if (text !== undefined) return text;
  const raw = bytes(hex ?? "");
  return carriage === "text" ? new TextDecoder().decode(raw) : raw;
}

const messages = load<MessageVector>("messages");
const fromServer = messages.filter((v) => v.direction === "server");
// The client names exactly one version, and writes bytes as binary messages only.
const written = ["subscribe", "unsubscribe", "publish", "ping", "pong"];
const fromClient = messages.filter((v) => v.direction === "client" && v.ok && v.same === true)
  .map((v) => ({ name: v.name, frame: frame(v) }))
  .filter((v) => written.includes(String(parse(v.frame)[0]["type"])));

test("there are vectors of every kind", () => {
  expect(fromServer.filter((v) => v.ok).length).toBeGreaterThan(15);
  expect(fromServer.filter((v) => !v.ok).length).toBeGreaterThan(10);
  expect(fromClient.length).toBeGreaterThan(8);
});

describe("what a server sends", () => {
  test.each(fromServer.filter((v) => v.ok))("$name is understood", (vector) => {
    const message = decode(frame(vector));
    const [json] = parse(frame(vector));
    expect(message.type).toBe(json["type"]);
    for (const member of ["id", "channel", "eid", "time", "tag", "ttl", "data", "number", "epoch", "from", "to", "reason", "after", "code", "heartbeat"]) {
      if (json[member] !== undefined) expect(message).toHaveProperty(member, json[member]);
    }
  });

  test.each(fromServer.filter((v) => !v.ok))("$name is refused", (vector) => {
    expect(() => decode(frame(vector))).toThrow();
  });

  test("bytes arrive whole, in both carriages", () => {
    const found = fromServer.filter((v) => v.name === "event with bytes" || v.name === "event with base64").map((v) => decode(frame(v)));
    expect(found.map((m) => m.type === "event" && m.data)).toEqual([new Uint8Array([0, 255, 128]), new Uint8Array([0, 255, 128])]);
  });
});

describe("what this client sends is what the vectors hold", () => {
  test.each(fromClient)("$name", (vector) => {
    const [json, payload] = parse(vector.frame);
    const { type, id, channel, from, after, epoch, data, tag, ttl, persistent, properties } = json as unknown as Fields;
    const body: Body = {
      data: (payload as Uint8Array<ArrayBuffer> | undefined) ?? data,
      tag,
      ttl,
      properties: properties === undefined ? undefined : encodeProperties(decodeProperties(properties)),
    };
    const message: Partial<Record<string, ClientMessage>> = {
      subscribe: { type: "subscribe", id, channel, from: from ?? { after, epoch } },
      unsubscribe: { type: "unsubscribe", id, channel },
      publish: { type: "publish", id, channel, body, persistent },
    };
    expect(parse(encode(message[type] ?? { type }))).toEqual([json, payload]);
  });
});

const properties = load<PropertiesVector>("properties");

describe("properties", () => {
  test.each(properties.filter((v) => v.ok))("$name keeps its types and values", ({ json, canonical }) => {
    const decoded = decodeProperties(JSON.parse(json));
    const encoded = encodeProperties(decoded);
    expect(JSON.parse(encoded)).toEqual(JSON.parse(canonical ?? "null"));
    expect(decodeProperties(JSON.parse(encoded))).toEqual(decoded);
  });

  test.each(properties.filter((v) => !v.ok))("$name is refused", ({ json }) => {
    // The length of the whole is checked where it is written.
    expect(() => encodeProperties(decodeProperties(JSON.parse(json)))).toThrow();
  });
});
