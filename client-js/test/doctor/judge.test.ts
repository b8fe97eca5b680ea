// The rules are those of the Rust client: conformance/vectors/README.md.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { judge } from "../../page/doctor/judge.js";
import type { Observations } from "../../page/doctor/observations.js";

interface Vector {
  readonly name: string;
  readonly observations: Observations;
  readonly judgement: unknown;
}

const vectors = JSON.parse(readFileSync(new URL("../../../conformance/vectors/doctor.json", import.meta.url), "utf8")) as readonly Vector[];

test.each(vectors.map((vector) => [vector.name, vector] as const))("%s", (_, { observations, judgement }) => {
  expect(judge(observations)).toEqual(judgement);
});
