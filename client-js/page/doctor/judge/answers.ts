// What becomes of plain requests: their bodies and headers, streamed answers, answers that take long, silence.

import type { Header, Seen, Trial } from "../observations.js";
import { catalogue } from "./catalogue.js";
import { Draft } from "./draft.js";
import { flow } from "./flow.js";
import { type Path, type Transport } from "./path.js";
import { join } from "./verdict.js";

export function answers(path: Path, drafts: Draft[]): void {
  if (path.httpPasses) {
    posts(path, drafts);
    streams(path, drafts);
    polls(path, drafts);
  }
  idle(path, drafts);
  for (const [what, code] of [["header", "header-limit"], ["address", "address-limit"]] as const) {
    const trial = path.all(what).find(({ failed }) => failed !== undefined);
    if (trial?.failed === undefined) continue;
    drafts.push(new Draft(code, trial).with("bytes", trial.failed).with("passed", trial.passed ?? 0));
  }
  const inspect = path.first("inspect");
  if (inspect?.seen !== undefined && inspect.fault === undefined) headers(inspect, inspect.seen, drafts);
}

/** Whether the realm itself refused, which is found elsewhere. */
function refusedByRealm({ answer }: Trial): boolean {
  return answer?.ours === true && answer.status >= 400;
}

const LOST = ["answered", "reset", "silent", "cut", "mute", "failed"];

function posts(path: Path, drafts: Draft[]): void {
  const trial = path.first("post");
  if (trial === undefined || refusedByRealm(trial)) return;
  const { fault, failed, passed = 0 } = trial;
  if (fault === undefined || (fault !== "altered" && !LOST.includes(fault))) {
    if (failed !== undefined) drafts.push(new Draft("body-limit", trial).with("bytes", failed).with("passed", passed));
    return;
  }
  const code = fault === "altered" ? "post-altered" : "post-refused";
  drafts.push(new Draft(code, trial).failing(path.failing((other) => sends(other))));
}

/** Whether it stands for a transport that sends by POST. */
function sends({ what, kind }: Trial): boolean {
  if (what === "session") return kind === "http-stream" || kind === "long-poll";
  return what === "poll" || (what === "stream" && kind !== undefined);
}

const KINDS: readonly Transport[] = ["chunk", "sse", "iframe"];
const STREAMS = ["stream-held", "stream-blocks", "stream-cut", "stream-refused", "stream-delayed", "stream-compressed"];

function streams(path: Path, drafts: Draft[]): void {
  const opened = KINDS.flatMap((kind) => {
    const trial = path.opening(kind);
    return trial === undefined ? [] : [{ kind, trial }];
  });
  for (const code of STREAMS) {
    const hit = opened.filter(({ trial }) => wrongs(trial).includes(code));
    const [first] = hit;
    if (first === undefined) continue;
    const kinds = hit.map(({ kind }) => kind);
    const told = join(kinds.flatMap((kind) => catalogue.names[kind]?.name ?? []));
    const draft = new Draft(code, first.trial).with("kinds", kinds.length === opened.length && kinds.length > 1 ? "all kinds" : told);
    if (code !== "stream-delayed" && code !== "stream-compressed") draft.failing(kinds);
    const flows = flow(first.trial);
    if (flows.kind === "blocks") draft.with("bytes", flows.bytes);
    if (flows.kind === "delayed") draft.with("ms", flows.ms);
    drafts.push(draft);
  }
}

const FAULTS: Readonly<Record<string, string>> = {
  silent: "stream-held",
  mute: "stream-held",
  cut: "stream-cut",
  answered: "stream-refused",
  reset: "stream-refused",
  failed: "stream-refused",
};
const FLOWS: Readonly<Record<string, string>> = { held: "stream-held", blocks: "stream-blocks", delayed: "stream-delayed" };

/** Everything that is wrong with a stream. */
function wrongs(trial: Trial): readonly string[] {
  if (refusedByRealm(trial)) return [];
  const wrong = trial.fault === undefined ? FLOWS[flow(trial).kind] : FAULTS[trial.fault];
  return [...(wrong === undefined ? [] : [wrong]), ...(trial.answer?.encoding === undefined ? [] : ["stream-compressed"])];
}

function polls(path: Path, drafts: Draft[]): void {
  const cut = (trial: Trial): boolean => LOST.includes(trial.fault ?? "") && !refusedByRealm(trial);
  const trial = path.all("poll").find(cut);
  if (trial === undefined) return;
  const failing = path.failing((other) => other.what === "poll" && cut(other));
  drafts.push(new Draft("poll-cut", trial).failing(failing).with("seconds", trial.hold_s ?? 0));
}

const DROPPED = ["cut", "silent", "mute"];

/** What silence ends. A certificate that is not good ends nothing: clients would not have come so far. */
function idle(path: Path, drafts: Draft[]): void {
  for (const [kind, name, topic] of [["websocket", "WebSockets", "tunnel-timeout"], ["stream", "Streams", "timeout"]] as const) {
    const trial = path.all("idle").find((one) => one.kind === kind && DROPPED.includes(one.fault ?? ""));
    if (trial === undefined) continue;
    drafts.push(new Draft("idle-dropped", trial).about(topic).with("kinds", name).with("seconds", trial.idle_s ?? 0));
  }
}

/** Headers by which proxies are known even where it is not known what was sent. */
const PROXIES = [
  "via",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-forwarded-server",
  "x-host",
  "x-real-ip",
  "x-varnish",
];
/** What belongs to one hop alone, so that every proxy changes it. */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "proxy-authorization"];

function headers(inspect: Trial, seen: Seen, drafts: Draft[]): void {
  if (seen.http === "1.0") drafts.push(new Draft("http-1.0", inspect));
  const told = changes(inspect.sent ?? [], seen.headers);
  if (told !== "") drafts.push(new Draft("headers-changed", inspect).with("changes", told));
}

/** `adds A and B; removes C; rewrites D`. */
function changes(sent: readonly Header[], seen: readonly Header[]): string {
  const valueIn = (list: readonly Header[], name: string): string | undefined => list.find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1];
  const namesOf = (list: readonly Header[]): string[] => list.map(([name]) => name).filter((name) => !HOP_BY_HOP.includes(name.toLowerCase()) && !name.startsWith(":"));
  const isAdded = (name: string): boolean => (sent.length === 0 ? PROXIES.includes(name.toLowerCase()) : valueIn(sent, name) === undefined);
  const parts: readonly (readonly [string, readonly string[]])[] = [
    ["adds", namesOf(seen).filter(isAdded)],
    ["removes", namesOf(sent).filter((name) => valueIn(seen, name) === undefined)],
    ["rewrites", namesOf(sent).filter((name) => valueIn(seen, name) !== undefined && valueIn(seen, name) !== valueIn(sent, name))],
  ];
  return parts.flatMap(([verb, names]) => (names.length === 0 ? [] : `${verb} ${join(unique(names))}`)).join("; ");
}

/** Sorted, and each but once, whatever its letter case. */
function unique(names: readonly string[]): string[] {
  const lower = (name: string): string => name.toLowerCase();
  const sorted = [...names].sort((a, b) => (lower(a) < lower(b) ? -1 : Number(lower(a) > lower(b))));
  return sorted.filter((name, at) => at === 0 || lower(name) !== lower(sorted[at - 1] ?? ""));
}
