// How the messages of a stream came, drawn: above the line when each was written, below when it came.

import { flow } from "./judge/flow.js";
import type { Trial } from "./observations.js";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 180;
const HEIGHT = 18;

export function strip(trial: Trial): SVGElement {
  const { arrivals = [], after_ms } = trial;
  const span = Math.max(1, after_ms ?? 0, ...arrivals.flat());
  const drawing = document.createElementNS(NS, "svg");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("preserveAspectRatio", "xMinYMid");
  drawing.setAttribute("class", "strip");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", `${arrivals.length} messages within ${(span / 1_000).toFixed(1)} seconds: ${FLOWS[flow(trial).kind]}`);
  const x = (ms: number): number => 1 + (ms / span) * (WIDTH - 2);
  const marks = (kind: string, times: readonly number[], from: number, to: number): void => {
    const path = document.createElementNS(NS, "path");
    path.setAttribute("class", kind);
    path.setAttribute("d", times.map((ms) => `M${x(ms).toFixed(1)} ${from}V${to}`).join(""));
    drawing.append(path);
  };
  marks("written", arrivals.map(([written]) => written), 2, 7);
  marks("came", arrivals.map(([, came]) => came), 9, 17);
  return drawing;
}

const FLOWS = { live: "they came one by one", delayed: "they came late", blocks: "they came in blocks", held: "they came all at the end" };
