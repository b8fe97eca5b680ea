// Whether connections open, who shows which certificate, and whether a realm answers.

import type { Certificate, Trial } from "../observations.js";
import { Draft } from "./draft.js";
import type { Path } from "./path.js";

export function reach(path: Path, drafts: Draft[]): void {
  connections(path, drafts);
  certificates(path, drafts);
  answers(path, drafts);
  inspected(path, drafts);
}

/** What keeps a connection from opening. */
function connections(path: Path, drafts: Draft[]): void {
  for (const trial of path.trials.filter(({ what }) => !["root", "http2", "idle"].includes(what))) {
    const code = connection(path, trial);
    if (code === undefined || drafts.some((draft) => draft.code === code)) continue;
    const failing = path.failing((other) => connection(path, other) === code);
    const draft = new Draft(code, trial).failing(failing).with("schemes", trial.answer?.schemes?.join(", ") ?? "");
    drafts.push(draft.with("extended", path.http2?.extended_connect === true ? "announces" : "does not announce"));
  }
}

const CONNECTIONS: Readonly<Record<string, string>> = {
  unresolved: "name-unresolved",
  refused: "nothing-listens",
  unreachable: "unreachable",
  "proxy-unreachable": "proxy-unreachable",
  credentials: "proxy-credentials",
  "credentials-refused": "proxy-credentials-refused",
  tls: "tls-failed",
  "not-tls": "not-tls",
  "not-http": "not-http",
};

function connection({ port, http2 }: Path, { fault = "", answer }: Trial): string | undefined {
  if (http2 !== undefined && (fault === "tls" || fault === "not-http")) return "http2-only";
  if (fault !== "tunnel-refused") return CONNECTIONS[fault];
  const status = answer?.status ?? 0;
  if (status >= 502 && status <= 504) return "tunnel-failed";
  return port === 443 ? "tunnels-forbidden" : "tunnel-refused";
}

/** What is wrong with the certificate. */
function certificates(path: Path, drafts: Draft[]): void {
  const trial = path.trials.find(({ tls }) => tls?.fault !== undefined);
  const draft = trial && certificate(trial);
  if (draft !== undefined) drafts.push(draft.failing(path.failing(({ fault }) => fault === "certificate")));
}

const CERTIFICATES = ["expired", "not-yet-valid", "wrong-name", "self-signed", "unfit"];

/** A certificate's fault as a finding. */
export function certificate(trial: Trial): Draft | undefined {
  const { tls } = trial;
  if (tls?.fault === undefined) return undefined;
  const code = `certificate-${CERTIFICATES.includes(tls.fault) ? tls.fault : "untrusted"}`;
  const draft = new Draft(code, trial).with("issuer", tls.issuer).with("subject", tls.subject);
  return draft.with("detail", tls.detail ?? "").with("names", names(tls));
}

function names({ names = [] }: Certificate): string {
  return names.length === 0 ? "no host at all" : names.join(", ");
}

const HTTP: Readonly<Record<string, string>> = { reset: "http-reset", cut: "http-reset", silent: "http-silent", mute: "http-silent", failed: "http-lost" };

/** What the answers say about who gives them. */
function answers(path: Path, drafts: Draft[]): void {
  ownRefusals(path, drafts);
  const inspect = path.first("inspect");
  if (inspect?.fault === undefined) return;
  const code = inspect.fault === "answered" ? answered(path, inspect) : HTTP[inspect.fault];
  if (code === undefined) return;
  const { fault } = inspect;
  const alike = isOwn(inspect) ? path.fails : path.failing((trial) => trial.fault === fault && !isOwn(trial));
  const failing = code === "probes-off" ? [] : alike;
  const server = inspect.answer?.server;
  const draft = new Draft(code, inspect).failing(failing).with("root", root(path));
  drafts.push(draft.with("server", server === undefined ? "" : `, Server: ${server}`));
}

/** Whether the realm itself said it. */
function isOwn({ answer }: Trial): boolean {
  return answer?.ours === true;
}

/** The address without its path. */
function root({ observations: { url }, prefix }: Path): string {
  return url.endsWith(prefix) ? url.slice(0, url.length - prefix.length) : url;
}

/** Who answers a probe so, and why. */
function answered(path: Path, { answer }: Trial): string | undefined {
  if (answer === undefined) return undefined;
  const found = (what: "realm" | "root"): boolean => {
    const trial = path.first(what);
    return trial !== undefined && trial.fault === undefined;
  };
  const { ours, status } = answer;
  if (found("realm")) return ours && status === 404 ? "probes-off" : ours ? undefined : "http-refused";
  if (found("root")) return "wrong-prefix";
  if (ours) return status !== 404 ? undefined : path.prefix === "" ? "realm-fault" : "prefix-kept";
  if (status >= 502 && status <= 504) return "realm-not-reached";
  return [401, 403, 405, 451].includes(status) ? "http-refused" : "not-a-realm";
}

/** What the realm refuses of its own accord. */
function ownRefusals(path: Path, drafts: Draft[]): void {
  for (const trial of path.trials.filter(({ what }) => what !== "root" && what !== "http2")) {
    const code = ownRefusal(trial);
    if (code === undefined || drafts.some((draft) => draft.code === code)) continue;
    drafts.push(new Draft(code, trial).failing(path.failing((other) => code !== "probes-busy" && ownRefusal(other) === code)));
  }
}

const REFUSALS: Readonly<Record<string, string>> = {
  bad_origin: "origin-refused",
  draining: "realm-draining",
  overloaded: "realm-full",
  too_many_probes: "probes-busy",
};

function ownRefusal({ fault, answer, diagnose }: Trial): string | undefined {
  if (fault === undefined) return undefined;
  const own = answer?.ours === true ? answer : undefined;
  const code = own?.code ?? diagnose?.code;
  if (code === undefined || code === null) return undefined;
  const status = own?.status ?? 0;
  return REFUSALS[code] ?? (status >= 500 && status <= 599 ? "realm-fault" : undefined);
}

/** TLS that is opened on the way: a certificate that is not the world's, and requests that were changed within. */
function inspected(path: Path, drafts: Draft[]): void {
  const trial = path.trials.find(({ tls }) => tls !== undefined);
  if (trial?.tls === undefined || trial.tls.trusted === "system") return;
  const forward = path.trials.some(({ seen }) => {
    const via = seen?.headers.find(([name]) => name.toLowerCase() === "via")?.[1].toLowerCase() ?? "";
    return via.includes("squid") || via.includes("mitmproxy");
  });
  if (forward) drafts.push(new Draft("tls-inspected", trial).with("issuer", trial.tls.issuer));
}
