// The parts of a browser that the HTTP transports use, and the only place where they touch it.

/** How a request is made and what is heard of its answer; see {@link Send}. */
export interface Hearing {
  /** The answer's head: its status, and whether a realm made it rather than something between. */
  head(status: number, ours: boolean): void;
  /** The next part of the answer's text, which had so many bytes. */
  part(text: string, bytes: number): void;
  /** Once, at last: the answer is complete, or was cut, or never came. */
  end(complete: boolean): void;
}

/** Makes a request, POST if there is a body; the result aborts it, and then nothing more is heard. */
export type Send = (url: string, body: string | undefined, credentials: boolean, hearing: Hearing) => () => void;

export interface EventSourceLike {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: (() => void) | null;
  close(): void;
}

export type EventSourceConstructor = new (url: string, options: { readonly withCredentials: boolean }) => EventSourceLike;

/** A message that a frame posted to the page. */
export interface Posted {
  readonly source: unknown;
  readonly origin: string;
  readonly data: unknown;
}

/** What only a page has. */
export interface Page {
  /** Serialised origin of the page. */
  readonly origin: string;
  /** Calls, never at once, when the page is loaded: a frame or script that goes on would keep it from being so. */
  loaded(call: () => void): void;
  /** Adds a hidden frame. `ended` is called when its document is complete. */
  frame(url: string, posted: (message: Posted) => void, ended: () => void): { readonly source: unknown; remove(): void };
  /** Runs a script. `ended` is called when it has run, or could not be. */
  script(url: string, ended: () => void): void;
  /** Where scripts find their callbacks. */
  readonly callbacks: Record<string, unknown>;
}

export interface Web {
  now(): number;
  random(): number;
  after(ms: number, call: () => void): () => void;
  /** 128 random bits as hexadecimal digits. */
  secret(): string;
  /** Tells each part of an answer as it comes. */
  readonly stream: Send | undefined;
  /** The same by XMLHttpRequest, which keeps all text of an answer until its end. */
  readonly xhr: Send | undefined;
  readonly EventSource: EventSourceConstructor | undefined;
  /** Sends, also while the page goes away; false when it could not. */
  readonly beacon: (url: string, body: string) => boolean;
  readonly page: Page | undefined;
}

const MARKER = "throughline";

function byFetch(url: string, body: string | undefined, credentials: boolean, hearing: Hearing): () => void {
  const abort = new AbortController();
  const { signal } = abort;
  const run = async (): Promise<boolean> => {
    const init: RequestInit = { credentials: credentials ? "include" : "same-origin", signal };
    const response = await fetch(url, body === undefined ? init : { ...init, method: "POST", body });
    if (signal.aborted) return false;
    hearing.head(response.status, response.headers.has(MARKER));
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { value } = (await reader?.read()) ?? {};
      if (signal.aborted || value === undefined) return true;
      hearing.part(decoder.decode(value, { stream: true }), value.length);
    }
  };
  run().catch(() => false).then((complete) => signal.aborted || hearing.end(complete));
  return () => abort.abort();
}

function byXhr(url: string, body: string | undefined, credentials: boolean, hearing: Hearing): () => void {
  const xhr = new XMLHttpRequest();
  let headed = false;
  let at = 0;
  const progress = (): void => {
    if (!headed && xhr.readyState >= 2 && xhr.status > 0) {
      headed = true;
      hearing.head(xhr.status, xhr.getResponseHeader(MARKER) !== null);
    }
    const text = xhr.readyState >= 3 ? xhr.responseText.slice(at) : "";
    at += text.length;
    if (text !== "") hearing.part(text, text.length);
  };
  xhr.onreadystatechange = progress;
  xhr.onprogress = progress;
  xhr.onload = () => hearing.end(true);
  xhr.onerror = () => hearing.end(false);
  xhr.open(body === undefined ? "GET" : "POST", url);
  xhr.withCredentials = credentials;
  xhr.send(body ?? null);
  return () => {
    xhr.onreadystatechange = xhr.onprogress = xhr.onload = xhr.onerror = null;
    xhr.abort();
  };
}

function page(): Page | undefined {
  if (typeof document === "undefined") return undefined;
  return {
    origin: location.origin,
    callbacks: globalThis as unknown as Record<string, unknown>,
    loaded(call): void {
      if (document.readyState === "complete") queueMicrotask(call);
      else addEventListener("load", call, { once: true });
    },
    frame(url, posted, ended): { source: unknown; remove(): void } {
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.referrerPolicy = "origin";
      frame.src = url;
      frame.onload = ended;
      addEventListener("message", posted);
      document.documentElement.append(frame);
      return {
        source: frame.contentWindow,
        remove(): void {
          removeEventListener("message", posted);
          frame.onload = null;
          frame.remove();
        },
      };
    },
    script(url, ended): void {
      const script = document.createElement("script");
      script.async = true;
      script.referrerPolicy = "origin";
      script.src = url;
      script.onload = script.onerror = (): void => {
        script.remove();
        ended();
      };
      document.documentElement.append(script);
    },
  };
}

/** The real one. */
export function web(): Web {
  const streams = typeof fetch === "function" && typeof Response === "function" && "body" in Response.prototype;
  return {
    now: () => performance.now(),
    random: () => Math.random(),
    after(ms, call): () => void {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
    secret: () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    stream: streams ? byFetch : undefined,
    xhr: typeof XMLHttpRequest === "function" ? byXhr : undefined,
    EventSource: typeof EventSource === "function" ? (EventSource as unknown as EventSourceConstructor) : undefined,
    beacon(url, body): boolean {
      if (typeof navigator !== "undefined" && typeof navigator.sendBeacon === "function") return navigator.sendBeacon(url, body);
      fetch(url, { method: "POST", body, keepalive: true }).catch(() => undefined);
      return true;
    },
    page: page(),
  };
}
