// What a tab and the shared worker tell each other beside the messages of the protocol, which are text or bytes.

import type { Path } from "../client.js";
import type { Limits } from "../messages.js";
import type { State } from "../session.js";

/** An error as it is sent: a clone of the real one would lose its code. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly limit: number | undefined;
}

/** From the worker: how its session fares. */
export type Told =
  | { readonly tell: "state"; readonly state: State; readonly error: Fault | undefined }
  | { readonly tell: "path"; readonly path: Path; readonly limits: Limits | undefined }
  | { readonly tell: "failure"; readonly failure: Path["failures"][number] }
  | { readonly tell: "rtt"; readonly rtt: number }
  | { readonly tell: "drain"; readonly after: number };

/** From a tab: a round trip to the realm, please; and the last publish number that was sent to any worker. */
export type Asked = { readonly ask: "ping" } | { readonly ask: "resume"; readonly sent: number };

/** The part of a MessagePort that is used here. */
export interface PortLike {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}
