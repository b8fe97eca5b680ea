// What a browser lets a page do and see, and the only place where the doctor touches it.

import { type Clock, Wire } from "./wire.js";

export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes it a POST. */
  readonly body?: string;
}

/** What a browser tells of how a request went. */
export interface Timing {
  /** `h2`, `http/1.1`, ...: what was spoken with the next hop. */
  readonly protocol: string | undefined;
  readonly connect_ms: number | undefined;
  readonly tls_ms: number | undefined;
}

export interface Means extends Clock {
  /** Serialised origin of the page. */
  readonly origin: string;
  /** Letters and digits that no other call gives. */
  unique(): string;
  request(url: string, ask?: Ask): Wire;
  socket(url: string, protocol: string): Wire;
  events(url: string): Wire;
  /** A hidden frame; only what it posts under the name `probe` is told. */
  frame(url: string): Wire;
  /** A session over one transport: `open` when it stands. */
  session(url: string, transport: string): Wire;
  /** Of the first request whose address holds this. */
  timing(part: string): Timing | undefined;
  /** Ends whatever is under way. */
  stop(): void;
}

/** The part of a session that is used here. */
export interface SessionLike {
  readonly state: string;
  readonly path: { readonly failure: string | undefined };
  on(type: "state" | "failure", call: () => void): unknown;
  close(): unknown;
}

/** Opens a session with a realm over one transport. */
export type Sessions = (url: string, transport: string) => SessionLike;

/** The code of a WebSocket that ended without one. */
const ABNORMAL = 1006;
const TEXT = "text/plain;charset=UTF-8";
/** What the document of a probe's frame calls itself: PROTOCOL.md section 12. */
const FRAME_NAME = "probe";

async function ask(wire: Wire, url: string, { headers, body }: Ask, signal: AbortSignal): Promise<void> {
  const init: RequestInit = { cache: "no-store", credentials: "same-origin", signal };
  const posted = body === undefined ? {} : { method: "POST", body };
  const typed = body === undefined ? { ...headers } : { ...headers, "Content-Type": TEXT };
  try {
    const response = await fetch(url, { ...init, ...posted, headers: typed });
    wire.open({ status: response.status, headers: new Map([...response.headers].map(([name, value]) => [name.toLowerCase(), value])) });
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { value } = (await reader?.read()) ?? {};
      if (value === undefined) break;
      wire.data(decoder.decode(value, { stream: true }));
    }
    wire.end(true);
  } catch (error) {
    wire.end(false, error instanceof Error ? error.message : String(error));
  }
}

function attachSocket(wire: Wire, url: string, protocol: string): void {
  const socket = new WebSocket(url, [protocol]);
  socket.onopen = () => wire.open();
  socket.onmessage = ({ data }) => wire.data(String(data));
  socket.onclose = ({ code, reason, wasClean }) => wire.end(wasClean, code === ABNORMAL ? undefined : `code ${code}${reason === "" ? "" : `, ${reason}`}`);
  wire.send = (text) => socket.readyState === WebSocket.OPEN && socket.send(text);
  wire.close = () => socket.close();
}

function attachEvents(wire: Wire, url: string): void {
  const source = new EventSource(url);
  source.onopen = () => wire.open();
  source.onmessage = ({ data }) => wire.data(String(data));
  // It would come back by itself.
  source.onerror = () => {
    source.close();
    wire.end(false);
  };
  wire.close = () => source.close();
}

function attachFrame(wire: Wire, url: string): void {
  const frame = document.createElement("iframe");
  const posted = ({ source, origin, data }: MessageEvent<unknown>): void => {
    const told = data as { readonly throughline?: unknown; readonly data?: unknown } | null;
    const known = source === frame.contentWindow && origin === new URL(url).origin && told?.throughline === FRAME_NAME;
    if (known && typeof told.data === "string") wire.data(told.data);
  };
  frame.hidden = true;
  frame.referrerPolicy = "origin";
  frame.src = url;
  // What was posted last is on its way when the document ends.
  frame.onload = () => setTimeout(() => wire.end(true));
  addEventListener("message", posted);
  wire.close = () => {
    removeEventListener("message", posted);
    frame.onload = null;
    frame.remove();
  };
  document.documentElement.append(frame);
}

function attachSession(wire: Wire, session: SessionLike): void {
  session.on("state", () => session.state === "open" && wire.open());
  session.on("failure", () => wire.end(false, session.path.failure));
  wire.close = () => void session.close();
}

function timing(part: string): Timing | undefined {
  const entry = performance.getEntriesByType("resource").find(({ name }) => name.includes(part));
  if (!(entry instanceof PerformanceResourceTiming)) return undefined;
  const { nextHopProtocol, connectStart, connectEnd, secureConnectionStart } = entry;
  const secure = secureConnectionStart > 0;
  const connected = secure ? secureConnectionStart : connectEnd;
  return {
    protocol: nextHopProtocol === "" ? undefined : nextHopProtocol,
    connect_ms: connected > connectStart ? Math.round(connected - connectStart) : undefined,
    tls_ms: secure && connectEnd > secureConnectionStart ? Math.round(connectEnd - secureConnectionStart) : undefined,
  };
}

/** The real ones. */
export function browserMeans(sessions: Sessions): Means {
  const abort = new AbortController();
  const { signal } = abort;
  let count = 0;
  const clock: Clock = {
    now: () => performance.now(),
    after(ms, call): () => void {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
  };
  const made = (begin: (wire: Wire) => void): Wire => {
    const wire = new Wire(clock);
    try {
      if (signal.aborted) throw new Error("stopped");
      begin(wire);
      signal.addEventListener("abort", () => {
        wire.close();
        wire.end(false, "stopped");
      });
    } catch (error) {
      wire.end(false, error instanceof Error ? error.message : String(error));
    }
    return wire;
  };
  // A page that polls has filled the list, to which nothing is added then.
  performance.clearResourceTimings();
  return {
    ...clock,
    origin: location.origin,
    unique: () => `${Math.random().toString(36).slice(2)}${(count += 1)}`,
    request: (url, asked = {}) =>
      made((wire) => {
        const own = new AbortController();
        wire.close = () => own.abort();
        void ask(wire, url, asked, own.signal);
      }),
    socket: (url, protocol) => made((wire) => attachSocket(wire, url, protocol)),
    events: (url) => made((wire) => attachEvents(wire, url)),
    frame: (url) => made((wire) => attachFrame(wire, url)),
    session: (url, transport) => made((wire) => attachSession(wire, sessions(url, transport))),
    timing,
    stop: () => abort.abort(),
  };
}
