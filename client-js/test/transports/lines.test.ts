import { expect, test } from "vitest";
import { Lines } from "../../src/transports/lines.js";
import { seeded } from "../world.js";

const TEXT = `${" ".repeat(40)}\n{"a":1}\n\n{"b":"é\u2028😀"}\n \n{"c":3}\n`;

test("lines do not depend on where the text was cut", () => {
  const random = seeded(7);
  for (let round = 0; round < 500; round += 1) {
    const lines = new Lines();
    const found: string[] = [];
    for (let at = 0; at < TEXT.length; ) {
      const end = at + 1 + Math.floor(random() * (round % 12));
      found.push(...lines.push(TEXT.slice(at, end)));
      at = end;
    }
    expect(found).toEqual(['{"a":1}', '{"b":"é\u2028😀"}', '{"c":3}']);
  }
});

test("a line that is not ended is kept back", () => {
  const lines = new Lines();
  expect(lines.push("abc")).toEqual([]);
  expect(lines.push("")).toEqual([]);
  expect(lines.push("d\ne")).toEqual(["abcd"]);
});
