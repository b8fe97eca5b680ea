// Whether another way would do better: with or without TLS, without the forward proxy.

import type { Trial } from "../observations.js";
import { Draft, words } from "./draft.js";
import type { Path } from "./path.js";
import { certificate } from "./reach.js";

export function aside(path: Path, drafts: Draft[]): void {
  if (path.secure) plain(path, drafts);
  else secure(path, drafts);
  direct(path, drafts);
}

const inspectOf = (trials: readonly Trial[]): Trial | undefined => trials.find(({ what }) => what === "inspect");
const websocketOf = (trials: readonly Trial[]): Trial | undefined => trials.find(({ what, kind }) => what === "websocket" && kind === "13");
const works = (trial: Trial | undefined): boolean => trial !== undefined && trial.fault === undefined;

const NO_TLS = ["not-tls", "tls", "reset", "refused", "cut", "not-http"];

/** The same address with TLS, where it was asked for without. */
function secure(path: Path, drafts: Draft[]): void {
  const inspect = inspectOf(path.otherScheme);
  // Where nothing can be reached at all, that there is no TLS either is no news.
  if (inspect === undefined || (!path.httpPasses && !works(inspect))) return;
  if (NO_TLS.includes(inspect.fault ?? "")) drafts.push(new Draft("no-tls", inspect).beside());
  const wrong = inspect.fault === "certificate" ? certificate(inspect) : undefined;
  if (wrong !== undefined) drafts.push(wrong.beside());
  const better = websocketOf(path.otherScheme);
  if (works(better) && path.worksOver("websocket") === false) {
    drafts.push(new Draft("secure-works", better).with("secure_url", path.withScheme("https")).beside());
  }
}

/** The same address without TLS, where it was asked for with it and nothing works. */
function plain(path: Path, drafts: Draft[]): void {
  const inspect = inspectOf(path.otherScheme);
  if (path.works.length > 0 || !works(inspect)) return;
  drafts.push(new Draft("plain-works", inspect).with("plain_url", path.withScheme("http")).beside());
}

const BLOCKED = ["unresolved", "refused", "unreachable", "silent", "reset"];

function direct(path: Path, drafts: Draft[]): void {
  const trials = path.withoutProxy;
  const inspect = inspectOf(trials);
  if (works(websocketOf(trials)) && path.worksOver("websocket") === false) drafts.push(new Draft("direct-works", inspect).beside());
  if (inspect !== undefined && BLOCKED.includes(inspect.fault ?? "")) {
    drafts.push(new Draft("direct-blocked", inspect).with("detail", words(inspect)).beside());
  }
}
