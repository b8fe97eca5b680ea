// What is tried, in which order, and how much of it at once.

import type { Scene } from "./ask.js";
import type { Observations, Trial } from "./observations.js";
import { inspect, lengths, poll, post, realm } from "./requests.js";
import { type StreamKind, idleStream, idleWebsocket, session, stream, websocket } from "./streams.js";

/** Checks in the order in which they are shown. */
export const CHECKS = [
  "websocket",
  "chunk",
  "sse",
  "iframe",
  "poll",
  "jsonp",
  "inspect",
  "other",
  "post",
  "header",
  "address",
  "idle-websocket",
  "idle-stream",
] as const;

export type Check = (typeof CHECKS)[number];

/** A check has begun, or is done: without trials it was not made. */
export interface Progress {
  readonly check: Check;
  readonly done: boolean;
  readonly trials: readonly Trial[];
}

/** Connections at a time: with those of the page's own session six, which is what browsers open to one host. */
const CONNECTIONS_MAX = 4;

const TRANSPORTS: readonly (readonly [Check, string])[] = [
  ["websocket", "websocket"],
  ["chunk", "http-stream"],
  ["sse", "event-source"],
  ["iframe", "iframe-stream"],
  ["poll", "long-poll"],
  ["jsonp", "jsonp-poll"],
];

/** Lets so many through at a time. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  async through<T>(run: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** Tries everything; `hear` is told as it goes. */
export async function observe(scene: Scene, hear: (progress: Progress) => void): Promise<Observations> {
  const trials: Trial[] = [];
  const left = new Set<Check>(CHECKS);
  const check = async (name: Check, run: () => Promise<Trial | Trial[]>): Promise<readonly Trial[]> => {
    left.delete(name);
    hear({ check: name, done: false, trials: [] });
    const made = [await run()].flat();
    trials.push(...made);
    hear({ check: name, done: true, trials: made });
    return made;
  };
  const reached = await check("inspect", () => reach(scene));
  const chains = plan(scene, reached, check);
  const gate = new Gate(CONNECTIONS_MAX);
  await Promise.all(chains.map((chain) => gate.through(chain)));
  for (const name of left) hear({ check: name, done: true, trials: [] });
  return { url: scene.url, origin: scene.means.origin, browser: true, trials };
}

/** The realm's probes; where they do not answer, whether there is a realm at all. */
async function reach(scene: Scene): Promise<Trial[]> {
  const trials = [await inspect(scene)];
  if (trials[0]?.fault === undefined) return trials;
  trials.push(await realm(scene, "realm"));
  if (trials[1]?.fault !== undefined && new URL(scene.url).pathname !== "/") trials.push(await realm(scene, "root"));
  return trials;
}

type Checker = (name: Check, run: () => Promise<Trial | Trial[]>) => Promise<readonly Trial[]>;
type Chain = () => Promise<unknown>;

function plan(scene: Scene, [first]: readonly Trial[], check: Checker): Chain[] {
  const ours = first?.answer?.ours === true;
  if (first?.fault !== undefined && ours) return TRANSPORTS.map(([name, transport]) => () => check(name, () => session(scene, transport)));
  const works = first?.fault === undefined;
  const secure = scene.url.startsWith("https:");
  const chain = (name: Check, run: () => Promise<Trial | Trial[]>, quiet?: readonly [Check, () => Promise<Trial>]): Chain => async () => {
    const [trial] = await check(name, run);
    if (quiet !== undefined && trial?.fault === undefined) await check(...quiet);
  };
  const streamed = (kind: StreamKind) => () => stream(scene, kind);
  return [
    chain("websocket", () => websocket(scene, secure), ["idle-websocket", () => idleWebsocket(scene)]),
    chain("chunk", streamed("chunk"), ["idle-stream", () => idleStream(scene)]),
    chain("poll", () => poll(scene)),
    chain("sse", streamed("sse")),
    chain("iframe", streamed("iframe")),
    chain("jsonp", () => session(scene, "jsonp-poll")),
    ...(works ? [chain("post", () => post(scene)), chain("header", () => lengths(scene, "header")), chain("address", () => lengths(scene, "address"))] : []),
    // A page that came over TLS may not do without.
    ...(secure ? [] : [chain("other", () => other(scene))]),
  ];
}

/** The same address with TLS. */
async function other(scene: Scene): Promise<Trial[]> {
  const secured = { ...scene, url: scene.url.replace("http:", "https:") };
  const found = await inspect(secured);
  return found.fault === "silent" ? [found] : [found, await websocket(secured, true)];
}
