// The scripts that the Rust ladder runs too: conformance/vectors/ladder.json.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Ladder } from "../src/ladder.js";
import type { Deed } from "../src/steering.js";
import type { Failure, TransportName } from "../src/transports/transport.js";

interface Step {
  readonly at: number;
  readonly do?: "begin" | "proved" | "answered" | "failed" | "died" | "suspect" | "calm" | "rotate" | "drain" | "rtt";
  readonly attempt?: number;
  readonly failure?: Failure;
  readonly silent?: boolean;
  readonly ms?: number;
  readonly commands: readonly unknown[];
}

interface Script {
  readonly name: string;
  readonly transports: readonly TransportName[];
  readonly remembered?: TransportName;
  readonly steps: readonly Step[];
}

const file = new URL("../../conformance/vectors/ladder.json", import.meta.url);
const scripts = JSON.parse(readFileSync(file, "utf8")) as Script[];

function commands(ladder: Ladder): unknown[] {
  const all: unknown[] = [];
  for (let deed: Deed | undefined = ladder.take(); deed !== undefined; deed = ladder.take()) {
    const { id, ...rest } = { id: undefined, ...deed };
    all.push(id === undefined ? rest : { ...rest, attempt: id });
  }
  return all;
}

function apply(ladder: Ladder, { at, do: what, attempt = 0, failure, silent = false, ms }: Step): void {
  switch (what) {
    case undefined:
      return;
    case "proved":
    case "answered":
      return ladder[what](at, attempt);
    case "failed":
      return ladder.failed(at, attempt, failure ?? "refused");
    case "died":
      return ladder.died(at, failure, silent);
    case "calm":
    case "drain":
      return ladder[what]();
    case "rtt":
      ladder.rtt = ms;
      return;
    default:
      return ladder[what](at);
  }
}

test.each(scripts)("$name", ({ transports, remembered, steps }) => {
  const ladder = new Ladder({ list: transports, random: () => 0.5, giveUpMs: undefined, remembered });
  for (const [i, step] of steps.entries()) {
    for (let due = ladder.deadline(); due < step.at; due = ladder.deadline()) {
      ladder.tick(due);
      expect(commands(ladder), `before step ${i}, at ${due}`).toEqual([]);
      if (ladder.deadline() <= due) throw new Error(`the deadline stands still at ${due}`);
    }
    apply(ladder, step);
    ladder.tick(step.at);
    expect(commands(ladder), `step ${i}, at ${step.at}`).toEqual(step.commands);
  }
});
