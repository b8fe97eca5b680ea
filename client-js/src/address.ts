// From what an application gives, or from where its script came, to the address of the realm.

import { ThroughlineError } from "./errors.js";

const MARK = "/throughline/v1/";

/** What is known of the place the program runs in. */
export interface Place {
  /** Address of this library's script. */
  readonly script: string | undefined;
  /** Address of the page. */
  readonly page: string | undefined;
}

/** The realm's base: http or https, ending with a slash. `url` may be relative to the page. Throws `bad_address`. */
export function baseUrl(url: string | URL | undefined, place: Place): URL {
  if (url === undefined) {
    if (place.script?.includes(MARK)) return tidy(new URL(place.script));
    if (place.page === undefined) throw bad("no page to take the address from: give one, as in http://localhost:9000");
    return tidy(new URL(".", place.page));
  }
  let parsed: URL;
  try {
    // As a string every object would be an address relative to the page.
    if (typeof ((url as Partial<URL> | null)?.href ?? url) !== "string") throw url;
    parsed = new URL(url, place.page);
  } catch {
    throw bad(`"${String(url)}" is no address: expected one such as https://host/prefix`);
  }
  return tidy(parsed);
}

function bad(text: string): ThroughlineError {
  return new ThroughlineError("bad_address", text);
}

function tidy(url: URL): URL {
  const scheme = { "http:": "http:", "https:": "https:", "ws:": "http:", "wss:": "https:" }[url.protocol];
  if (scheme === undefined) throw bad(`"${url.href}": http, https, ws and wss are understood`);
  const at = `${url.pathname}/`.indexOf(MARK);
  const path = at < 0 ? url.pathname.replace(/\/*$/, "/") : url.pathname.slice(0, at + 1);
  return new URL(`${scheme}//${url.host}${path}`);
}
