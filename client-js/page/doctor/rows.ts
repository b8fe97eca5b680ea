// A check's line in the table: its name, and its outcome in few words.

import { type Flow, flow } from "./judge/flow.js";
import { words } from "./judge/draft.js";
import type { Trial } from "./observations.js";
import type { Check } from "./observe.js";

export interface Name {
  readonly name: string;
  /** What it is called elsewhere. */
  readonly also?: string;
}

export const NAMES: Readonly<Record<Check, Name>> = {
  websocket: { name: "WebSocket", also: "websocket" },
  chunk: { name: "HTTP stream", also: "http-stream" },
  sse: { name: "Event stream", also: "event-source" },
  iframe: { name: "Iframe stream", also: "iframe-stream" },
  poll: { name: "Long poll", also: "long-poll" },
  jsonp: { name: "Script poll", also: "jsonp-poll" },
  inspect: { name: "Plain request" },
  other: { name: "WebSocket with TLS", also: "wss" },
  post: { name: "Sending", also: "POST" },
  header: { name: "Long headers" },
  address: { name: "Long addresses" },
  "idle-websocket": { name: "Silence on a WebSocket" },
  "idle-stream": { name: "Silence on a stream" },
};

/** Those that carry sessions; the others show what the path is like. */
export const CARRIERS: readonly Check[] = ["websocket", "chunk", "sse", "iframe", "poll", "jsonp"];

export type State = "waiting" | "trying" | "works" | "limited" | "fails" | "skipped";

export interface Row {
  readonly state: State;
  readonly outcome: string;
  readonly detail: string;
  /** Milliseconds: until it opened, until the first message, and there and back. */
  readonly times: readonly (number | undefined)[];
  /** The trial whose messages can be drawn. */
  readonly drawn?: Trial;
}

const NO_TIMES = [undefined, undefined, undefined];

const FAULTS: Readonly<Record<string, string>> = {
  failed: "fails",
  silent: "no answer",
  mute: "opens, then nothing",
  cut: "is cut",
  altered: "comes altered",
};

const FLOWS: Readonly<Record<Flow["kind"], string>> = {
  live: "one by one",
  delayed: "delayed",
  blocks: "held, comes in blocks",
  held: "held to the end",
};

/** The line of a check that is done. */
export function rowOf(check: Check, trials: readonly Trial[]): Row {
  // What was tried last, where a first try failed.
  const trial = check === "other" ? trials.at(-1) : (trials.find(({ fault }) => fault === undefined) ?? trials[0]);
  if (trial === undefined) return { state: "skipped", outcome: "not tried", detail: "", times: NO_TIMES };
  // A poll opens when it has been held for long enough.
  const times = check === "poll" ? NO_TIMES : [trial.head_ms, trial.first_ms, trial.round_trip_ms];
  const drawn = trial.arrivals === undefined ? {} : { drawn: trial };
  const detail = detailOf(check, trials, trial);
  if (trial.fault !== undefined) {
    const refused = trial.fault === "answered" && trial.answer !== undefined ? `refused: ${words(trial)}` : undefined;
    const state = trial.failed !== undefined && (trial.passed ?? 0) > 0 ? "limited" : check === "other" ? "skipped" : "fails";
    const outcome = state === "limited" ? "limited" : (refused ?? FAULTS[trial.fault] ?? trial.fault);
    return { state, outcome: check === "other" ? "does not open" : outcome, detail, times, ...drawn };
  }
  const { kind } = flow(trial);
  const bad = kind === "held" || kind === "blocks";
  const limited = kind === "delayed" || trial.failed !== undefined || trials.some(({ fault }) => fault !== undefined);
  return { state: bad ? "fails" : limited ? "limited" : "works", outcome: trial.what === "stream" ? FLOWS[kind] : "works", detail, times, ...drawn };
}

const count = (bytes: number): string => `${bytes.toLocaleString("en")} bytes`;

function detailOf(check: Check, trials: readonly Trial[], trial: Trial): string {
  const { fault, detail, diagnose, passed = 0, failed, seen, hold_s, idle_s, after_ms } = trial;
  if (failed !== undefined) return `${count(passed)} pass, ${count(failed)} do not`;
  if (passed > 0) return `${count(passed)} pass`;
  const after = after_ms === undefined ? "" : ` after ${after_ms.toLocaleString("en")} ms`;
  if (check === "poll") return polled(trials, hold_s ?? 0, fault === undefined);
  if (idle_s !== undefined) return fault === undefined ? `${idle_s} s survived` : `lost within ${idle_s} s`;
  if (diagnose !== undefined) return `${told(diagnose)}${after}`;
  if (fault !== undefined) return `${fault === "failed" && detail !== undefined ? detail : ""}${after}`.trim();
  return seen === undefined ? "" : `HTTP/${seen.http} at the realm`;
}

function polled(trials: readonly Trial[], held: number, works: boolean): string {
  const lost = trials.find(({ fault }) => fault !== undefined)?.hold_s;
  if (!works) return `not even held for ${held} s`;
  return lost === undefined ? `held for ${held} s` : `held for ${held} s, not for ${lost} s`;
}

function told({ seen, outcome, upgrade }: NonNullable<Trial["diagnose"]>): string {
  if (!seen) return "never came to the realm";
  if (upgrade === false) return "came to the realm without its upgrade";
  return outcome === "accepted" ? "accepted; the answer was lost" : "the realm refused it";
}
