// What was seen of a path: the same object in Rust and TypeScript (docs/doctor.md). Times are milliseconds, whole numbers.

/** Everything that was tried. */
export interface Observations {
  /** The realm's address, http or https, without a slash at its end. */
  readonly url: string;
  readonly origin?: string | undefined;
  readonly proxy?: string | undefined;
  readonly browser?: boolean | undefined;
  readonly trials: readonly Trial[];
}

export type What = "inspect" | "realm" | "root" | "http2" | "websocket" | "stream" | "poll" | "post" | "header" | "address" | "idle" | "session";

/** One thing that was tried; without a fault it worked. */
export interface Trial {
  readonly what: What;
  readonly kind?: string | undefined;
  readonly way: "direct" | "proxy" | "browser";
  readonly secure: boolean;
  readonly fault?: string | undefined;
  readonly detail?: string | undefined;
  readonly answer?: Answer | undefined;
  readonly tls?: Certificate | undefined;
  readonly connect_ms?: number | undefined;
  readonly tls_ms?: number | undefined;
  readonly head_ms?: number | undefined;
  readonly first_ms?: number | undefined;
  readonly round_trip_ms?: number | undefined;
  readonly after_ms?: number | undefined;
  readonly sent?: readonly Header[] | undefined;
  readonly seen?: Seen | undefined;
  readonly diagnose?: Diagnosis | undefined;
  readonly size?: number | undefined;
  /** For each message of a stream when it was written, by the realm's clock, and when it came. */
  readonly arrivals?: readonly (readonly [at: number, came: number])[] | undefined;
  readonly hold_s?: number | undefined;
  readonly idle_s?: number | undefined;
  readonly passed?: number | undefined;
  readonly failed?: number | undefined;
  readonly extended_connect?: boolean | undefined;
}

export type Header = readonly [name: string, value: string];

/** The head of an answer that was not hoped for, and the beginning of its body if it is none of the realm's. */
export interface Answer {
  readonly status: number;
  readonly ours: boolean;
  readonly server?: string | undefined;
  readonly via?: string | undefined;
  readonly encoding?: string | undefined;
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  /** Names, in lower case. */
  readonly headers?: readonly string[] | undefined;
  readonly body?: string | undefined;
  readonly schemes?: readonly string[] | undefined;
}

/** Pages are never shown one; the shared vectors are. */
export interface Certificate {
  readonly issuer: string;
  readonly subject: string;
  readonly names?: readonly string[] | undefined;
  readonly trusted?: string | undefined;
  readonly fault?: string | undefined;
  readonly detail?: string | undefined;
  readonly version?: string | undefined;
  readonly alpn?: string | undefined;
}

/** The request as the realm saw it: PROTOCOL.md section 12. */
export interface Seen {
  readonly http: string;
  readonly target: string;
  readonly headers: readonly Header[];
  readonly address?: string | null | undefined;
  readonly secure: boolean;
  readonly protocol?: string | null | undefined;
  readonly extensions?: string | null | undefined;
}

/** What the realm says became of a handshake: PROTOCOL.md section 10.8. */
export interface Diagnosis {
  readonly seen: boolean;
  readonly outcome?: string | null | undefined;
  readonly code?: string | null | undefined;
  readonly message?: string | null | undefined;
  readonly via?: string | null | undefined;
  readonly http?: string | null | undefined;
  readonly upgrade?: boolean | null | undefined;
}
