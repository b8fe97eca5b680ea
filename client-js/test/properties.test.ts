import { expect, test } from "vitest";
import { type PropertyValue, byte, char, decodeProperties, encodeProperties, float, integer, long } from "../src/properties.js";

function there(value: PropertyValue): string {
  return encodeProperties({ a: value }).slice(5, -1);
}

test("JavaScript's own values need no helper; the others name their type", () => {
  expect(there("x")).toBe('"x"');
  expect(there(true)).toBe("true");
  expect(there(1.5)).toBe("1.5");
  expect(there(-0)).toBe("-0.0");
  expect(there(5n)).toBe('{"long":"5"}');
  expect(there(long(Number.MAX_SAFE_INTEGER))).toBe('{"long":"9007199254740991"}');
  expect(there(NaN)).toBe('{"double":"NaN"}');
  expect(there(float(0.1))).toBe('{"float":0.1}');
  expect(there(float(16_777_217))).toBe('{"float":16777216}');
  expect(there(float(-Infinity))).toBe('{"float":"-Infinity"}');
  expect(there([1, integer(2), [byte(-3)]])).toBe('[1,{"integer":2},[{"byte":-3}]]');
  expect(there({ b: char("\u{1f600}") })).toBe('{"dictionary":{"b":{"char":"\u{1f600}"}}}');
});

test("every 32-bit number keeps its value through its shortest spelling", () => {
  const view = new DataView(new ArrayBuffer(4));
  for (let bits = 0x0012_3456; bits < 0x7f80_0000; bits += 0x0007_7777) {
    view.setUint32(0, bits);
    const value = view.getFloat32(0);
    const back = decodeProperties(JSON.parse(encodeProperties({ a: float(value) })))["a"];
    expect(Number(back)).toBe(value);
  }
});

test("typed values compute like their value", () => {
  expect(Number(integer(5)) + 1).toBe(6);
  expect(`${char("x")}`).toBe("x");
});

test("a key may be called anything", () => {
  const properties = decodeProperties(JSON.parse('{"__proto__":"x","constructor":"y"}'));
  expect(Object.entries(properties)).toEqual([["__proto__", "x"], ["constructor", "y"]]);
});

test.each<[string, () => unknown]>([
  ["an integer over 32 bits", () => integer(2 ** 31)],
  ["a byte of 128", () => byte(128)],
  ["a byte with a fraction", () => byte(1.5)],
  ["a long over 64 bits", () => there(2n ** 63n)],
  ["a long that is not exact", () => long(2 ** 53)],
  ["a char of two", () => char("xy")],
  ["a float out of range", () => float(1e39)],
  ["an empty key", () => encodeProperties({ "": 1 })],
  ["a key of 256 bytes", () => encodeProperties({ ["é".repeat(128)]: 1 })],
  ["depth 9", () => encodeProperties({ a: [[[[[[[[]]]]]]]] })],
  ["half of a surrogate pair", () => encodeProperties({ a: "\ud800" })],
  ["32,769 bytes", () => encodeProperties({ a: "x".repeat(32_762) })],
])("%s is refused", (_name, make) => {
  expect(make).toThrow();
});

test("the whole may have 32,768 bytes", () => {
  expect(encodeProperties({ a: "x".repeat(32_760) })).toHaveLength(32_768);
});
