// How the fault matrix is told: a line per row while it runs, a document at its end.

import { ROWS } from "./rows.mjs";

const seconds = (ms) => (ms === undefined ? "-" : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 0)} s`);

function carried(carriers) {
  const parts = Object.entries(carriers).sort(([, a], [, b]) => b - a);
  const shown = parts.filter(([, part], at) => at === 0 || part >= 0.02);
  if (shown.length === 1) return shown[0][0];
  return shown.map(([transport, part]) => `${transport} ${Math.round(part * 100)} %`).join(", ");
}

const wrong = ({ down, up }) => ["lost", "doubled", "reordered"].map((what) => down[what] + up[what]).join(" / ");
const perMinute = ({ attempts, windowSeconds }) => ((attempts.length * 60) / windowSeconds).toFixed(1).replace(/\.0$/, "");

/** One line for the terminal. */
export function line(browser, result) {
  const { row, firstEventMs, backMs, events, carriers, findings, attempts, windowSeconds } = result;
  const words = [
    `${browser} ${row.name}:`,
    `first event ${seconds(firstEventMs)},`,
    `${attempts.length} attempts in ${windowSeconds} s,`,
    `${events.down.events}+${events.up.events} events, lost/doubled/reordered ${wrong(events)},`,
    `by ${carried(carriers)},`,
    `WebSocket again after ${seconds(backMs)}`,
  ];
  if (findings.length === 0) return `${words.join(" ")}\n`;
  const told = { diary: result.diary, told: result.told, openings: result.openings, path: result.path, findings };
  return `${words.join(" ")}\n  FAILED ${JSON.stringify(told)}\n`;
}

function table({ name, version, results }) {
  const rows = ROWS.map((row) => results.find((result) => result.row.name === row.name)).filter(Boolean);
  const cells = rows.map((result) => [
    result.row.name,
    seconds(result.firstEventMs),
    result.row.first === undefined ? "-" : seconds(result.row.first),
    carried(result.carriers),
    perMinute(result),
    result.events.down.events + result.events.up.events,
    wrong(result.events),
    result.repeated,
    result.row.name === "healthy" ? "-" : seconds(result.backMs),
    result.told.join(", ") || "-",
  ]);
  return [
    `## ${name}: ${version.replace("/", " ")}`,
    "",
    "| Row | First event | Must be under | Carried by | Attempts a minute | Events | Lost / doubled / reordered | Publishes repeated | WebSocket again | What the client said of it |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...cells.map((row) => `| ${row.join(" | ")} |`),
    "",
  ];
}

/** The document: docs/fault-matrix.md. */
export function document(browsers, { rate, seconds: length, switches }) {
  const at = switches.map((part) => Math.round(part * length));
  return [
    "# The fault matrix",
    "",
    "<!-- Made by tests/matrix.mjs --out docs/fault-matrix.md; make it anew rather than edit it. -->",
    "",
    "What becomes of a session when the path breaks, in real browsers against the real server, with a small middlebox between",
    "them that breaks the path in one way per row. A page starts a session with the fault on; it subscribes and publishes",
    `${rate} events a second, and so does a party on the healthy side. The fault is lifted after ${at[0]} s, comes back at ${at[1]} s, and is lifted for good at`,
    `${at[2]} s; the events flow for ${length} s. When it comes back, what lives suffers it at once: WebSockets are reset, swallowed or cut.`,
    "",
    "- **First event**: from the start of the session to the first event that the page is given.",
    "- **Attempts a minute**: WebSocket handshakes, stream requests and chains of polls that the middlebox saw, once settled (from 15 s on, at `stream-cut` from 35 s on, which lasts longer for that) and before the fault was first lifted. Six are allowed.",
    "- **Carried by**: the transports of that time, by their share of it.",
    "- **Lost / doubled / reordered**: of the events of both directions, as their receivers got them. All must be 0.",
    "- **Publishes repeated**: those whose answer was lost, and which the realm recognised when they came again.",
    "- **WebSocket again**: from lifting the fault for good to the session being carried by WebSocket, 0 if it never was carried by anything else. 60 s are allowed.",
    "- **What the client said of it**: the failures that the session told the application before the fault was first lifted.",
    "",
    "A healthy path must see one WebSocket handshake and no other request.",
    "",
    "| Row | What the middlebox does |",
    "|---|---|",
    ...ROWS.map(({ name, text }) => `| ${name} | ${text} |`),
    "",
    ...browsers.flatMap(table),
  ].join("\n");
}
