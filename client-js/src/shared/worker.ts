// The script of the shared worker. Its name holds the address of the realm and the options of the session.
import type { SessionOptions } from "../client.js";
import { browser } from "../environment.js";
import { Session } from "../index.js";
import { web } from "../transports/web.js";
import { Hub } from "./hub.js";
import { reading } from "./replay.js";
import type { PortLike } from "./talk.js";

interface Scope {
  readonly name: string;
  onconnect: ((event: { readonly ports: readonly PortLike[] }) => void) | null;
}

/** A page of older events that takes longer is asked for again. */
const READ_MS_MAX = 30_000;

const scope = globalThis as unknown as Scope;
const { url, ...options } = JSON.parse(scope.name) as SessionOptions & { readonly url: string };
const environment = browser();
const { after, random } = environment;
const credentials = options.credentials === true ? "include" : "same-origin";
const read = async (address: string): Promise<string> => {
  const answer = await fetch(address, { credentials, cache: "no-store", signal: AbortSignal.timeout(READ_MS_MAX) });
  return answer.text();
};
const hub = new Hub({
  session: () => new Session(url, options, environment),
  read: reading(new URL(url), { after, random, fetch: read }),
  after,
  secret: () => web().secret(),
});
scope.onconnect = ({ ports }) => {
  for (const port of ports) hub.join(port);
};
