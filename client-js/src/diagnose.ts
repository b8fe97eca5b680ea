// What the realm saw of a WebSocket attempt, asked by plain HTTP: scripts never see why a WebSocket failed.

import type { Environment } from "./environment.js";
import { isObject } from "./properties.js";
import type { Failure } from "./transports/transport.js";

const PATIENCE_MS = 3_000;

export async function diagnose(
  environment: Environment,
  base: URL,
  id: string,
): Promise<{ readonly failure?: Failure; readonly detail: string } | undefined> {
  const url = new URL("throughline/v1/diagnose", base);
  url.searchParams.set("id", id);
  url.searchParams.set("u", String(environment.random()).slice(2));
  let cancel = (): void => undefined;
  const late = new Promise<undefined>((resolve) => {
    cancel = environment.after(PATIENCE_MS, () => resolve(undefined));
  });
  const text = await Promise.race([environment.fetch(url.href, false), late]);
  cancel();
  const json: unknown = text === undefined ? undefined : JSON.parse(text);
  return isObject(json) && typeof json["seen"] === "boolean" ? explain(json) : undefined;
}

function explain(json: { readonly [key: string]: unknown }): { readonly failure?: Failure; readonly detail: string } {
  const { seen, outcome, code, message, upgrade, via, http } = json;
  if (seen === false) return { detail: "the realm saw nothing of it: it was stopped on the way" };
  if (outcome === "accepted") return { detail: "the realm accepted it: its answer was stopped on the way back" };
  const route = `${typeof http === "string" ? ` by HTTP/${http}` : ""}${typeof via === "string" ? ` via ${via}` : ""}`;
  if (upgrade === false) return { detail: `it came${route} without its Upgrade header: a proxy removed that` };
  const detail = `the realm refused it${route}: ${String(message)}`;
  return code === "bad_origin" ? { failure: "origin", detail } : { detail };
}
