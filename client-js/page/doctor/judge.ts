// From observations to findings. Pure: the same observations always say the same.
//
// The Rust client holds the same rules; conformance/vectors/doctor.json keeps the two together.

import { answers } from "./judge/answers.js";
import { aside } from "./judge/aside.js";
import { catalogue } from "./judge/catalogue.js";
import type { Draft, Finding, Found, Severity } from "./judge/draft.js";
import { Path } from "./judge/path.js";
import { reach } from "./judge/reach.js";
import { verdict } from "./judge/verdict.js";
import { websocket } from "./judge/websocket.js";
import type { Observations } from "./observations.js";

export type { Finding, Severity } from "./judge/draft.js";

/** What is made of a path. */
export interface Judgement {
  /** Sessions get through on the way that was asked about. */
  readonly works: boolean;
  /** The whole in a sentence. */
  readonly verdict: string;
  /** The gravest first. */
  readonly findings: readonly Finding[];
}

const SEVERITIES: readonly Severity[] = ["broken", "degraded", "note"];

export function judge(observations: Observations): Judgement {
  const path = new Path(observations);
  const drafts: Draft[] = [];
  for (const rule of [reach, websocket, answers, aside]) rule(path, drafts);
  const works = path.works.length > 0;
  const found = drafts.flatMap((draft): Found[] => {
    const place = catalogue.findings.findIndex(({ code }) => code === draft.code);
    const entry = catalogue.findings[place];
    if (entry === undefined) return [];
    const severity = entry.note === true || draft.aside ? "note" : works ? "degraded" : "broken";
    return [{ severity, place, entry, draft }];
  });
  found.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || a.place - b.place);
  const findings = found.map(({ severity, entry, draft }) => draft.finding(path, entry, severity));
  return { works, verdict: verdict(path, found), findings };
}
