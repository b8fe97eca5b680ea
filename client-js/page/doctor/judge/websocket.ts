// What becomes of WebSocket.

import type { Trial } from "../observations.js";
import { Draft, words } from "./draft.js";
import type { Path } from "./path.js";
import { join } from "./verdict.js";

export function websocket(path: Path, drafts: Draft[]): void {
  const trial = path.opening("websocket");
  if (trial === undefined) return;
  const code = opening(path, trial);
  if (code !== undefined) drafts.push(new Draft(code, trial).failing(["websocket"]));
  if (trial.fault !== undefined) return;
  versions(path, drafts);
  stripped(trial, drafts);
}

const OPEN: Readonly<Record<string, string>> = { mute: "websocket-mute", cut: "websocket-cut", altered: "websocket-altered" };
const CLOSED: Readonly<Record<string, string>> = {
  answered: "upgrade-refused",
  reset: "upgrade-reset",
  silent: "upgrade-silent",
  failed: "upgrade-lost",
};

/** Why it does not open. What it has in common with every other request is found elsewhere. */
function opening(path: Path, { fault, answer, diagnose }: Trial): string | undefined {
  if (fault === undefined) return undefined;
  if (fault === "answered" && answer?.ours === true) return answer.code === "upgrade_required" ? "upgrade-removed" : undefined;
  if (OPEN[fault] !== undefined) return OPEN[fault];
  if (diagnose?.seen === true && fault === "failed") {
    if (diagnose.upgrade === false || diagnose.code === "upgrade_required") return "upgrade-removed";
    return diagnose.outcome === "accepted" ? "upgrade-reset" : undefined;
  }
  return path.httpPasses ? CLOSED[fault] : undefined;
}

const OLDER = ["8", "7", "hixie-76", "hixie-75"];

/** Older versions that do not pass where 13 does. */
function versions(path: Path, drafts: Draft[]): void {
  const lost: Trial[] = [];
  const off: Trial[] = [];
  for (const trial of path.all("websocket").filter(({ fault }) => fault !== undefined)) {
    const answer = trial.answer?.ours === true ? trial.answer : undefined;
    if (answer?.status === 404 || answer?.status === 429) continue;
    if (answer?.code === "version_not_supported") off.push(trial);
    else if (trial.diagnose?.code === "key_bytes_lost") drafts.push(new Draft("key-bytes-lost", trial));
    else lost.push(trial);
  }
  for (const [code, trials] of [["versions-lost", lost], ["versions-off", off]] as const) {
    const [first] = trials;
    if (first === undefined) continue;
    const names = trials.flatMap(({ kind }) => kind ?? []).sort((a, b) => OLDER.indexOf(a) - OLDER.indexOf(b));
    drafts.push(new Draft(code, first).with("versions", join(names)).with("detail", words(first)));
  }
}

/** Headers of the handshake that did not arrive, though the upgrade did. */
function stripped(trial: Trial, drafts: Draft[]): void {
  const { seen, sent = [] } = trial;
  if (seen === undefined) return;
  const has = (list: readonly (readonly [string, string])[], wanted: string): boolean => list.some(([name]) => name.toLowerCase() === wanted.toLowerCase());
  const names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];
  const lost = names.filter((name) => has(sent, name) && !has(seen.headers, name));
  if (lost.length > 0) drafts.push(new Draft("websocket-stripped", trial).with("what", join(lost)));
}
