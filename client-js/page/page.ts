// The page that a realm shows at its root: the client at work.

import { type From, type PathFailure, Session, type Subscription, type ThroughlineEvent, ThroughlineError, type TransportName } from "../src/index.js";
import { copy } from "./copy.js";
import { EventList } from "./list.js";
import { Plot } from "./plot.js";
import { Switch } from "./views.js";

const PING_MS = 2_000;
const SUMMARY_MS = 10_000;

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page lacks #${id}`);
  return found;
}

const plain = (id: string): HTMLElement => element(id, HTMLElement);
const channel = element("channel", HTMLInputElement);
const from = element("from", HTMLInputElement);
const data = element("data", HTMLTextAreaElement);
const tag = element("tag", HTMLInputElement);
const hold = element("hold", HTMLButtonElement);
const result = plain("result");

const FAILURES_SHOWN = 5;
const TRANSPORTS: readonly TransportName[] = ["websocket", "http-stream", "event-source", "iframe-stream", "long-poll", "jsonp-poll"];
let session = begin(undefined);
const list = new EventList(plain("events"));
const plot = new Plot(element("plot", HTMLCanvasElement), performance.now());
const subscriptions = new Map<string, Subscription>();
let total = 0;
let told = 0;
let lostAt: number | undefined;

function say(text: string, kind: "good" | "error"): void {
  result.textContent = text;
  result.dataset["kind"] = kind;
}

function words(error: unknown): string {
  if (error instanceof ThroughlineError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

// The session.

function showPath(): void {
  const { transport, rtt, links, failure, network, heartbeat, failures } = session.path;
  plain("transport").textContent = transport ?? "–";
  plain("network").textContent = network ?? "–";
  plain("heartbeat").textContent = heartbeat === undefined ? "–" : `${heartbeat / 1_000} s`;
  for (const radio of radios()) radio.parentElement?.toggleAttribute("data-live", session.state === "open" && radio.value === transport);
  showFailures(failures);
  plain("links").textContent = String(links);
  plain("rtt").textContent = rtt === undefined ? "–" : `${rtt < 10 ? rtt.toFixed(1) : Math.round(rtt)} ms`;
  plain("failure").hidden = session.state === "open" || failure === undefined;
  plain("failure").textContent = failure ?? "";
}

let shown: readonly PathFailure[] | undefined;

function showFailures(failures: readonly PathFailure[]): void {
  if (failures === shown) return;
  shown = failures;
  plain("healthy").hidden = failures.length > 0;
  const rows = failures.slice(-FAILURES_SHOWN).reverse().map(({ transport, failure, after, detail }) => {
    const row = document.createElement("li");
    const what = document.createElement("strong");
    what.textContent = `${transport} ${failure}`;
    row.append(what, ` after ${(after / 1_000).toFixed(1)} s${detail === undefined ? "" : `: ${detail}`}`);
    return row;
  });
  plain("failures").replaceChildren(...rows);
}

function showState(): void {
  const state = plain("state");
  if (session.state === "waiting" && lostAt === undefined) {
    lostAt = performance.now();
    plot.cut(lostAt);
    list.addNote("the link was lost; what is missed meanwhile will follow", false);
  }
  if (session.state === "open" && lostAt !== undefined) {
    list.addNote(`linked again after ${((performance.now() - lostAt) / 1000).toFixed(1)} s`, true);
    lostAt = undefined;
  }
  state.dataset["state"] = session.state;
  state.textContent = session.state;
  showPath();
}

/** A session over one transport, or over whatever passes. */
function begin(transport: TransportName | undefined): Session {
  const made = new Session(undefined, { client: "throughline-page", transports: transport && [transport] });
  const mine = <T>(act: (value: T) => void) => (value: T): void => void (made === session && act(value));
  let last: string | undefined;
  made.on("state", mine(showState));
  made.on("rtt", mine(showPath));
  made.on("path", mine(({ transport: now }) => {
    if (last !== undefined && now !== undefined && now !== last) list.addNote(`the session goes on over ${now}`, true);
    last = now ?? last;
    showPath();
  }));
  made.on("failure", mine(showPath));
  made.on("gap", mine((gap) => list.addGap(gap)));
  made.on("drain", mine(() => list.addNote("the realm is stopping", false)));
  made.on("error", mine((error) => say(words(error), "error")));
  return made;
}

function radios(): readonly HTMLInputElement[] {
  return [...document.querySelectorAll<HTMLInputElement>("#transports input")];
}

/** Goes on with another session, which every subscription joins where it stands. */
function use(choice: string): void {
  const before = session;
  const feeds = [...subscriptions].map(([name, sub]) => ({ name, from: sub.position ?? "new" }));
  subscriptions.clear();
  plain("subscriptions").replaceChildren();
  lostAt = undefined;
  try {
    session = begin(TRANSPORTS.find((name) => name === choice));
  } catch (error) {
    say(words(error), "error");
    const [automatic] = radios();
    if (automatic !== undefined) automatic.checked = true;
    session = begin(undefined);
  }
  void before.close();
  list.addNote(choice === "" ? "the session takes whatever passes" : `the session is carried over ${choice} alone`, true);
  for (const { name, from: position } of feeds) subscribe(name, position);
  showState();
}

plain("path").addEventListener("change", (change) => change.target instanceof HTMLInputElement && use(change.target.value));

// Subscribing.

function received(event: ThroughlineEvent): void {
  total += 1;
  plot.add(performance.now(), 1, event.data.length);
  list.add(event);
}

function chip(name: string, sub: Subscription): void {
  const row = document.createElement("li");
  const label = document.createElement("span");
  const button = document.createElement("button");
  label.textContent = name;
  button.type = "button";
  button.textContent = "×";
  button.setAttribute("aria-label", `Unsubscribe from ${name}`);
  const end = (): void => {
    subscriptions.delete(name);
    row.remove();
  };
  button.addEventListener("click", () => {
    sub.close();
    end();
    channel.focus();
  });
  sub.on("error", end);
  row.append(label, button);
  plain("subscriptions").append(row);
}

function subscribe(name: string, position: From): boolean {
  try {
    const sub = session.subscribe(name, received, { from: position });
    subscriptions.set(name, sub);
    chip(name, sub);
    return true;
  } catch (error) {
    say(words(error), "error");
    return false;
  }
}

plain("subscribe-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (!subscribe(channel.value.trim(), from.value.trim())) return;
  say(`subscribed to ${channel.value.trim()}`, "good");
  const state = new URLSearchParams({ channel: channel.value.trim(), from: from.value.trim() });
  history.replaceState(null, "", `#${state.toString()}`);
});

// Publishing.

async function publish(name: string, text: string, label: string): Promise<void> {
  // Whoever publishes first wants to see the event come.
  if (subscriptions.size === 0) subscribe(name, "new");
  const started = performance.now();
  try {
    const { eid, duplicate } = await session.publish(name, text, label === "" ? {} : { tag: label });
    const took = (performance.now() - started).toFixed(1);
    say(`EID ${eid} after ${took} ms${duplicate ? " (stored before)" : ""}`, "good");
  } catch (error) {
    say(words(error), "error");
  }
}

plain("publish-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (session.state !== "open") say("waiting for the link; the event will be published then", "good");
  void publish(channel.value.trim(), data.value, tag.value);
});

data.addEventListener("keydown", (key) => {
  if (key.key !== "Enter" || key.shiftKey || key.isComposing) return;
  key.preventDefault();
  element("publish-form", HTMLFormElement).requestSubmit();
});

// Lines for a shell.

const quoted = (text: string): string => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function showLines(): void {
  const name = channel.value.trim() || "demo";
  const path = name.split("/").map(encodeURIComponent).join("/");
  plain("curl").textContent = `curl -d ${quoted(data.value.slice(0, 200) || "hello")} ${quoted(`${session.url}throughline/v1/channels/${path}/events`)}`;
  plain("command").textContent = `throughline subscribe ${quoted(name)} --url ${quoted(session.url.replace(/\/$/, ""))}`;
}

channel.addEventListener("input", showLines);
data.addEventListener("input", showLines);

for (const button of document.querySelectorAll<HTMLElement>("[data-copy]")) {
  const source = plain(button.dataset["copy"] ?? "");
  button.addEventListener("click", () => void copy(button, source.textContent ?? "", source));
}

// Keys and buttons.

function toggleHold(): void {
  list.held = !list.held;
  hold.setAttribute("aria-pressed", String(list.held));
}

hold.addEventListener("click", toggleHold);
plain("clear").addEventListener("click", () => list.clear());

const keys: Readonly<Record<string, () => void>> = {
  p: () => data.focus(),
  s: () => channel.focus(),
  h: toggleHold,
  c: () => list.clear(),
};

document.addEventListener("keydown", (key) => {
  const inField = key.target instanceof HTMLInputElement || key.target instanceof HTMLTextAreaElement;
  if (inField && key.key === "Escape") (key.target as HTMLElement).blur();
  const act = keys[key.key];
  if (plain("live").hidden || inField || act === undefined || key.ctrlKey || key.metaKey || key.altKey) return;
  key.preventDefault();
  act();
});

// What moves: once per frame, and nothing while nobody looks.

const size = (bytes: number): string => {
  if (bytes < 1_000) return `${Math.round(bytes)} B/s`;
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(1)} kB/s` : `${(bytes / 1_000_000).toFixed(1)} MB/s`;
};

function put(id: string, text: string): void {
  const target = plain(id);
  if (target.textContent !== text) target.textContent = text;
}

function frame(): void {
  const now = performance.now();
  list.write(now);
  plot.draw(now);
  const { events, bytes } = plot.rate(now);
  put("rate", events < 10 && events > 0 ? events.toFixed(1) : Math.round(events).toLocaleString("en"));
  put("bytes", size(bytes));
  put("total", total.toLocaleString("en"));
  plain("empty").hidden = !list.empty;
  requestAnimationFrame(frame);
}

function summarise(): void {
  if (total !== told) put("summary", `${(total - told).toLocaleString("en")} new events, ${total.toLocaleString("en")} in all`);
  told = total;
}

setInterval(() => document.visibilityState === "visible" && session.ping(), PING_MS);
setInterval(summarise, SUMMARY_MS);

const views = new Switch(
  { live: plain("live"), doctor: plain("doctor"), stage: plain("stage") },
  () => session.url.replace(/\/$/, ""),
  (url, transport) => new Session(url, { client: "throughline-doctor", transports: TRANSPORTS.filter((name) => name === transport) }),
);

function fromHash(): void {
  const wanted = new URLSearchParams(location.hash.slice(1));
  views.show(wanted);
  const transport = radios().find(({ value, checked }) => !checked && value === wanted.get("transport"));
  if (transport !== undefined) {
    transport.checked = true;
    use(transport.value);
  }
  const name = wanted.get("channel");
  if (name === null || subscriptions.has(name)) return;
  channel.value = name;
  from.value = wanted.get("from") ?? "new";
  showLines();
  subscribe(name, from.value);
}

addEventListener("hashchange", fromHash);
fromHash();
showLines();
showState();
requestAnimationFrame(frame);
