// The typed property dictionary of an event: PROTOCOL.md section 3.1.

import { ThroughlineError } from "./errors.js";

/** Types that JavaScript has no value of its own for. */
export type TypedName = "integer" | "float" | "byte" | "char";

/** A value with a type that plain JavaScript values do not tell; computes like its `value`. */
export class Typed {
  readonly type: TypedName;
  readonly value: number | string;

  constructor(type: TypedName, value: number | string) {
    this.type = type;
    this.value = value;
  }

  valueOf(): number | string {
    return this.value;
  }

  toString(): string {
    return String(this.value);
  }

  toJSON(): number | string {
    return this.value;
  }
}

/** string, boolean and number (a double) are themselves, `bigint` is a long, the others are {@link Typed}. */
export type PropertyValue = string | boolean | number | bigint | Typed | readonly PropertyValue[] | Properties;

/** Values by name. Keys have 1 to 255 bytes, nesting ends at depth 8, the whole has at most 32,768 bytes of JSON. */
export interface Properties {
  readonly [key: string]: PropertyValue;
}

const BYTES_MAX = 32_768;
const KEY_BYTES_MAX = 255;
const DEPTH_MAX = 8;
const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;
const SPECIAL = ["NaN", "Infinity", "-Infinity"];

export const utf8 = new TextEncoder();

/** Bytes of `text` in UTF-8. */
export function utf8Length(text: string): number {
  return utf8.encode(text).length;
}

function bad(text: string): ThroughlineError {
  return new ThroughlineError("bad_event", `properties: ${text}`);
}

function ranged(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw bad(`${String(value)} is no ${name}: whole numbers from ${min} to ${max} are`);
  }
  return value + 0;
}

/** A 32-bit integer. */
export function integer(value: number): Typed {
  return new Typed("integer", ranged("integer", value, -(2 ** 31), 2 ** 31 - 1));
}

/** A signed 8-bit integer. */
export function byte(value: number): Typed {
  return new Typed("byte", ranged("byte", value, -128, 127));
}

/** A 64-bit integer: exact. */
export function long(value: bigint | number): bigint {
  const exact = typeof value === "number" && !Number.isSafeInteger(value) ? undefined : BigInt(value);
  if (exact === undefined || exact < LONG_MIN || exact > LONG_MAX) throw bad(`${String(value)} is no 64-bit integer`);
  return exact;
}

/** A 32-bit floating point number; `value` is rounded to the nearest one. */
export function float(value: number): Typed {
  const rounded = Math.fround(value);
  if (Number.isFinite(value) && !Number.isFinite(rounded)) throw bad(`${value} is out of the range of a float`);
  return new Typed("float", rounded);
}

/** One Unicode scalar value. */
export function char(value: string): Typed {
  if (typeof value !== "string" || [...value].length !== 1 || loneSurrogate(value)) throw bad("a char is exactly one Unicode scalar value");
  return new Typed("char", value);
}

/** Half of a surrogate pair is no Unicode text: the server would have to refuse it. */
export function loneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

/** The shortest decimal that reads back as the same 32-bit number, so that 0.1 stays 0.1. */
function shortestFloat(value: number): string {
  for (let digits = 1; digits < 9; digits += 1) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return number(Number(text));
  }
  return number(Number(value.toPrecision(9)));
}

/** JSON.stringify would turn -0 into 0. */
function number(value: number): string {
  return Object.is(value, -0) ? "-0.0" : String(value);
}

function floating(name: "double" | "float", value: number): string {
  if (!Number.isFinite(value)) return `{"${name}":"${value}"}`;
  return name === "double" ? number(value) : `{"float":${shortestFloat(value)}}`;
}

function quoted(text: string): string {
  if (loneSurrogate(text)) throw bad("a text holds half of a surrogate pair");
  return JSON.stringify(text);
}

function checkDepth(depth: number): void {
  if (depth > DEPTH_MAX) throw bad(`nested deeper than ${DEPTH_MAX}`);
}

function checkKey(key: string): void {
  const bytes = utf8Length(key);
  if (bytes < 1 || bytes > KEY_BYTES_MAX) throw bad(`a key has ${bytes} bytes, 1 to ${KEY_BYTES_MAX} are allowed`);
}

function writeMembers(properties: Properties, depth: number): string {
  checkDepth(depth);
  // A Date or a Map would be written as if it held nothing.
  const kind = {}.toString.call(properties).slice(8, -1);
  if (kind !== "Object") throw bad(`expected an object, not ${kind}`);
  const members = Object.entries(properties).map(([key, value]) => {
    checkKey(key);
    return `${quoted(key)}:${write(value, depth)}`;
  });
  return `{${members.join()}}`;
}

function write(value: PropertyValue, depth: number): string {
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "boolean":
      return String(value);
    case "number":
      return floating("double", value);
    case "bigint":
      return `{"long":"${long(value)}"}`;
    case "object":
      break;
    default:
      throw bad(`a ${typeof value} is no value`);
  }
  if (value === null) throw bad("null is no value");
  if (value instanceof Typed) return writeTyped(value);
  if (Array.isArray(value)) {
    checkDepth(depth + 1);
    return `[${value.map((item: PropertyValue) => write(item, depth + 1)).join()}]`;
  }
  return `{"dictionary":${writeMembers(value as Properties, depth + 1)}}`;
}

function writeTyped({ type, value }: Typed): string {
  const typed = readTyped({ [type]: value }, 0);
  if (!(typed instanceof Typed)) return write(typed, 0);
  if (typed.type === "float") return floating("float", typed.value as number);
  return `{"${typed.type}":${typed.type === "char" ? quoted(String(typed.value)) : number(typed.value as number)}}`;
}

/** The JSON form. Throws `bad_event` for values and sizes out of range. */
export function encodeProperties(properties: Properties): string {
  const json = writeMembers(properties, 1);
  const bytes = utf8Length(json);
  if (bytes > BYTES_MAX) {
    throw new ThroughlineError("bad_event", `properties: ${bytes} bytes of JSON, at most ${BYTES_MAX}`, BYTES_MAX);
  }
  return json;
}

type Json = { readonly [key: string]: unknown };

/** True for what JSON calls an object. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readMembers(json: unknown, depth: number): Properties {
  if (!isObject(json)) throw bad("expected an object");
  checkDepth(depth);
  // Without a prototype, a key such as "__proto__" is a key like any other.
  const properties = Object.create(null) as Record<string, PropertyValue>;
  for (const [key, value] of Object.entries(json)) {
    checkKey(key);
    properties[key] = read(value, depth);
  }
  return properties;
}

function read(json: unknown, depth: number): PropertyValue {
  if (typeof json === "string" || typeof json === "boolean") return json;
  if (typeof json === "number" && Number.isFinite(json)) return json;
  if (Array.isArray(json)) {
    checkDepth(depth + 1);
    return json.map((item) => read(item, depth + 1));
  }
  if (!isObject(json)) throw bad(`${String(json)} is no value`);
  return readTyped(json, depth);
}

function special(name: string, value: unknown): number {
  if (typeof value === "string" && SPECIAL.includes(value)) return Number(value);
  if (name === "double" || typeof value !== "number") throw bad(`${String(value)} is no ${name}`);
  return value;
}

function readTyped(json: Json, depth: number): PropertyValue {
  const [only, another] = Object.entries(json);
  if (only === undefined || another !== undefined) throw bad("expected one member that names the type");
  const [name, value] = only;
  switch (name) {
    case "dictionary":
      return readMembers(value, depth + 1);
    case "long":
      if (typeof value !== "string" || !/^(0|-?[1-9]\d{0,18})$/.test(value)) throw bad(`${String(value)} is no long`);
      return long(BigInt(value));
    case "integer":
      return integer(value as number);
    case "byte":
      return byte(value as number);
    case "char":
      return char(value as string);
    case "double":
      return special(name, value);
    case "float":
      return float(special(name, value));
    default:
      throw bad(`unknown type ${name}`);
  }
}

/** Typed values from their JSON form. Throws `bad_event` when it is none. */
export function decodeProperties(json: unknown): Properties {
  return readMembers(json, 1);
}
