// The rows of the fault matrix.

const bursts = { onMs: 10_000, offMs: 32_000 };

/**
 * `first`: milliseconds within which the first event has to come. `quiet`: the load pauses, since the fault acts on
 * silence. `seconds`: the least that shows the fault at work; `settledSeconds`: when there is no more to be learned of it.
 */
export const ROWS = [
  { name: "healthy", text: "no fault" },
  { name: "refuse", text: "WebSocket handshake answered 403", first: 1000 },
  { name: "reset", text: "WebSocket handshake answered by a reset", first: 1000 },
  { name: "black-hole", text: "WebSocket handshake swallowed", first: 2000 },
  { name: "cut", text: "WebSocket cut 200 ms after its 101, before any frame", first: 1000 },
  { name: "swallow", text: "WebSocket frames swallowed after the 101", first: 2000 },
  { name: "frames-then-cut", text: "three frames of the realm pass, then the WebSocket is cut" },
  { name: "buffer-end", text: "WebSocket refused; answers held back until their end", first: 2000 },
  { name: "buffer-16k", text: "WebSocket refused; answers passed on in blocks of 16 KiB", first: 2000 },
  { name: "stream-cut", text: "WebSocket refused; every answer cut at the age of 15 s", seconds: 60, settledSeconds: 35 },
  { name: "idle-drop", text: "flows that were silent for 20 s are forgotten, silently", quiet: bursts, seconds: 60 },
  { name: "idle-drop-http", text: "the same, and WebSocket refused", quiet: bursts, seconds: 60 },
  { name: "http10", text: "everything turned into HTTP/1.0" },
  { name: "strip", text: "header `Upgrade` removed", first: 1000 },
  { name: "small-only", text: "only GET and POST up to 16 KiB with answers of known length up to 256 KiB" },
];

const ATTEMPTS_MAX = 6;
const BACK_MS_MAX = 60_000;
/** Part of the time, once settled, in which the session may have been without a link. */
const UNCARRIED_MAX = 0.5;

/**
 * Whether a client that opened links at these milliseconds of a window kept to six a minute: in every minute of a long
 * window; a short one may hold its share and two more.
 */
export function tooManyAttempts(openings, seconds) {
  if (seconds < 60) return openings.length > Math.ceil((ATTEMPTS_MAX * seconds) / 60) + 2;
  return openings.some((at) => openings.filter((other) => other >= at && other < at + 60_000).length > ATTEMPTS_MAX);
}

/** What is wrong with a row's result; `timing` judges how long things took, too. */
export function findings(row, result, { timing }) {
  const found = [];
  for (const [way, { lost, doubled, reordered, events }] of Object.entries(result.events)) {
    if (lost + doubled + reordered > 0) found.push(`${way}: ${lost} lost, ${doubled} doubled, ${reordered} reordered of ${events}`);
  }
  if (result.firstEventMs === undefined) found.push("no event came");
  if (result.carriers.none > UNCARRIED_MAX) found.push("nothing carried the session while the fault was on");
  found.push(...result.faults);
  if (result.gaps > 0) found.push(`${result.gaps} gaps`);
  if (tooManyAttempts(result.attempts, result.windowSeconds)) found.push(`${result.attempts.length} attempts in ${result.windowSeconds} s`);
  if (row.name === "healthy" && result.requests.join() !== "websocket") found.push(`a healthy path saw ${result.requests.join(", ")}`);
  if (!timing) return found;
  if (row.first !== undefined && result.firstEventMs > row.first) found.push(`the first event took ${result.firstEventMs} ms`);
  if (result.backMs === undefined || result.backMs > BACK_MS_MAX) found.push(`back on WebSocket after ${result.backMs ?? "more than 60,000"} ms`);
  return found;
}
