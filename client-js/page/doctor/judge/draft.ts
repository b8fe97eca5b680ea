// A finding before it is put into words, and the words.

import type { Trial } from "../observations.js";
import { type Entry, type Product, catalogue } from "./catalogue.js";
import type { Path, Transport } from "./path.js";

/** `broken`: no session works, and this is among the reasons. `degraded`: sessions work, but worse for it. `note`: nothing fails for it. */
export type Severity = "broken" | "degraded" | "note";

/** One thing that a path does. */
export interface Finding {
  /** Its name in the catalogue. */
  readonly code: string;
  readonly severity: Severity;
  /** What fails for this reason. */
  readonly transports: readonly Transport[];
  readonly sentence: string;
  readonly fix: string;
  /** The proxy that does it, where it is recognised. */
  readonly product: string | null;
  /** A line for that proxy's configuration. */
  readonly line: string | null;
}

export interface Found {
  readonly severity: Severity;
  readonly place: number;
  readonly entry: Entry;
  readonly draft: Draft;
}

export class Draft {
  readonly code: string;
  /** Where it shows. */
  readonly trial: Trial | undefined;
  /** What fails for this reason. */
  transports: readonly Transport[] = [];
  /** It is about another way than the clients'. */
  aside = false;
  /** Which of a product's lines mends it, where that is a closer one than the entry's. */
  topic: string | undefined;
  /** What is filled in, beside what every sentence may name. */
  readonly #values: [name: string, value: string][] = [];

  constructor(code: string, trial: Trial | undefined) {
    this.code = code;
    this.trial = trial;
  }

  failing(transports: readonly Transport[]): this {
    this.transports = transports;
    return this;
  }

  with(name: string, value: string | number): this {
    this.#values.push([name, String(value)]);
    return this;
  }

  /** Names a closer topic than the entry's; a product that has no line for it has one for the entry's. */
  about(topic: string): this {
    this.topic = topic;
    return this;
  }

  /** Marks it as being about another way. */
  beside(): this {
    this.aside = true;
    return this;
  }

  /** The finding in words. */
  finding(path: Path, entry: Entry, severity: Severity): Finding {
    const product = entry.own === true ? this.trial && shown(this.trial) : productOf(path, this.trial);
    const line = product?.lines[this.topic ?? ""] ?? product?.lines[entry.topic ?? ""];
    return {
      code: entry.code,
      severity,
      transports: this.transports,
      sentence: this.fill(path, entry.sentence),
      fix: this.fill(path, (path.secure ? entry.secure_fix : undefined) ?? entry.fix),
      product: line === undefined || product === undefined ? null : product.title,
      line: line === undefined ? null : this.fill(path, line),
    };
  }

  /** A text with everything filled in. */
  fill(path: Path, template: string): string {
    const { observations } = path;
    const { answer, after_ms = 0 } = this.trial ?? {};
    const general: [string, string][] = [
      ["who", who(path, this)],
      ["url", observations.url],
      ["host", path.host],
      ["port", String(path.port)],
      ["authority", path.authority],
      ["prefix", path.prefix],
      ["proxy", observations.proxy ?? ""],
      ["origin", observations.origin ?? `${path.secure ? "https" : "http"}://${path.authority}`],
      ["detail", this.trial === undefined ? "" : words(this.trial)],
      ["status", answer === undefined ? "" : String(answer.status)],
      ["message", answer?.message ?? ""],
      ["ms", String(after_ms)],
    ];
    // A replacement that is no function would have a meaning of its own for dollar signs.
    return [...this.#values, ...general].reduce((text, [name, value]) => text.replaceAll(`{${name}}`, () => value), template);
  }
}

const CERTIFICATES: Readonly<Record<string, string>> = {
  expired: "has expired",
  "not-yet-valid": "is not valid yet",
  "wrong-name": "has another name",
  "self-signed": "is self-signed",
  unfit: "is none for a server",
};
const BY_STATUS = ["answered", "tunnel-refused", "credentials", "credentials-refused"];

/** How a trial ended, in few words. */
export function words({ fault = "", answer, detail, tls }: Trial): string {
  if ((fault === "" || BY_STATUS.includes(fault)) && answer !== undefined) return `status ${answer.status}`;
  if (fault === "reset" || fault === "cut") return "the connection is cut";
  if (fault === "silent") return "no answer";
  if (fault === "mute") return "no data";
  if (fault === "certificate") return `the certificate ${CERTIFICATES[tls?.fault ?? ""] ?? "is not trusted"}`;
  return detail ?? fault;
}

/** The subject of a sentence, with what betrays it. */
function who(path: Path, { code, trial }: Draft): string {
  const text = (name: string): string => catalogue.who[name] ?? "";
  const own = catalogue.findings.some((entry) => entry.code === code && entry.own === true);
  const found = evidence(path, trial, own);
  const sign = found === undefined ? "" : ` (${found})`;
  if (trial?.fault === "tunnel-refused") return text("forward").replaceAll("{proxy}", path.observations.proxy ?? "") + sign;
  return text(sign === "" ? "something" : "proxy") + sign;
}

/** What betrays a proxy: `Via` before `Server` before a product's headers; where the trial tells nothing, any of its way. */
function evidence(path: Path, trial: Trial | undefined, own: boolean): string | undefined {
  const trials = [...(trial === undefined ? [] : [trial]), ...(own ? [] : path.trials)];
  const via = firstOf(trials, viaOf);
  if (via !== undefined) return `Via: ${via}`;
  const server = firstOf(trials, ({ answer }) => answer?.server);
  if (server !== undefined) return `Server: ${server}`;
  const product = own ? trial && shown(trial) : productOf(path, trial);
  return product && `${product.title} by its marks`;
}

function firstOf<T, U>(list: readonly T[], find: (item: T) => U | null | undefined): U | undefined {
  for (const item of list) {
    const found = find(item);
    if (found !== undefined && found !== null) return found;
  }
  return undefined;
}

/** `Via` of the request as it arrived, or of the answer. */
function viaOf({ seen, diagnose, answer }: Trial): string | undefined {
  const arrived = seen?.headers.find(([name]) => name.toLowerCase() === "via")?.[1];
  return arrived ?? diagnose?.via ?? answer?.via;
}

/** The proxy that a trial shows, or else any of its way. */
function productOf(path: Path, trial: Trial | undefined): Product | undefined {
  return (trial && shown(trial)) ?? catalogue.products.find((product) => path.trials.some((other) => shows(other, product)));
}

/** The proxy that a trial shows. */
function shown(trial: Trial): Product | undefined {
  return catalogue.products.find((product) => shows(trial, product));
}

function shows(trial: Trial, { signs }: Product): boolean {
  const { answer, tls, seen } = trial;
  return signs.some(([kind = "", text = ""]) => {
    const holds = (value: string | undefined): boolean => value?.toLowerCase().includes(text) === true;
    if (kind === "via") return holds(viaOf(trial));
    if (kind === "server") return holds(answer?.server);
    if (kind === "body") return holds(answer?.body);
    if (kind === "header") return answer?.headers?.includes(text) === true;
    if (kind === "issuer") return holds(tls?.issuer);
    if (kind !== "added" || seen === undefined) return false;
    return text.split(",").every((name) => seen.headers.some(([other]) => other.toLowerCase() === name));
  });
}
