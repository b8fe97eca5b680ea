// What the realm saw of a WebSocket attempt, asked by plain HTTP: scripts never see why a WebSocket failed.

import { isObject } from "./properties.js";
import type { Failure } from "./transports/transport.js";

/** What the realm's answer says. */
export interface Diagnosis {
  readonly failure?: Failure;
  readonly detail: string;
}

/** Where to ask; `unique` keeps caches out of it. */
export function diagnosisUrl(base: URL, id: string, unique: number): string {
  const url = new URL("throughline/v1/diagnose", base);
  url.searchParams.set("id", id);
  url.searchParams.set("u", String(unique).slice(2));
  return url.href;
}

/** Undefined when it is no answer of a realm. */
export function diagnosis(text: string): Diagnosis | undefined {
  const json: unknown = JSON.parse(text);
  return isObject(json) && typeof json["seen"] === "boolean" ? explain(json) : undefined;
}

function explain(json: { readonly [key: string]: unknown }): Diagnosis {
  const { seen, outcome, code, message, upgrade, via, http } = json;
  if (seen === false) return { detail: "the realm saw nothing of it: stopped on the way" };
  if (outcome === "accepted") return { detail: "the realm accepted it: its answer was stopped on the way back" };
  const route = `${typeof http === "string" ? ` by HTTP/${http}` : ""}${typeof via === "string" ? ` via ${via}` : ""}`;
  if (upgrade === false) return { detail: `it came${route} without its Upgrade header: removed by a proxy` };
  const detail = `the realm refused it${route}: ${String(message)}`;
  return code === "bad_origin" ? { failure: "origin", detail } : { detail };
}
