// What was found, in sentences, and how a request arrived.

import { copy } from "../copy.js";
import type { Finding, Judgement } from "./judge.js";
import type { Timing } from "./means.js";
import type { Header, Observations } from "./observations.js";

const SEVERITIES = { broken: "Broken", degraded: "Degraded", note: "Note" };
const PROTOCOLS: Readonly<Record<string, string>> = { "http/1.0": "HTTP/1.0", "http/1.1": "HTTP/1.1", h2: "HTTP/2", h3: "HTTP/3" };

export class Report {
  readonly #part: (id: string) => HTMLElement;

  constructor(part: (id: string) => HTMLElement, url: string) {
    this.#part = part;
    const line = part("doctor-line");
    line.textContent = `throughline doctor ${url}`;
    part("copy-line").addEventListener("click", () => void copy(part("copy-line"), line.textContent ?? "", line));
  }

  hide(): void {
    for (const id of ["verdict", "found", "arrival", "export"]) this.#part(id).hidden = true;
  }

  show(observations: Observations, judgement: Judgement, timing: Timing | undefined): void {
    const { works, verdict, findings } = judgement;
    const grave = findings.some(({ severity }) => severity !== "note");
    const card = this.#part("verdict");
    card.dataset["works"] = works ? (grave ? "partly" : "yes") : "no";
    card.hidden = false;
    this.#part("verdict-text").textContent = verdict;
    this.#part("found").hidden = findings.length === 0;
    this.#part("findings").replaceChildren(...findings.map(item));
    this.#arrival(observations, timing);
    this.#part("export").hidden = false;
  }

  #arrival({ trials }: Observations, timing: Timing | undefined): void {
    const secure = location.protocol === "https:";
    const seen = trials.find(({ what, secure: same, seen }) => what === "inspect" && same === secure && seen !== undefined)?.seen;
    this.#part("arrival").hidden = seen === undefined;
    if (seen === undefined) return;
    const facts: readonly (readonly [string, string | null | undefined])[] = [
      ["From this browser", timing?.protocol === undefined ? undefined : (PROTOCOLS[timing.protocol] ?? timing.protocol)],
      ["At the realm", `HTTP/${seen.http}${seen.secure ? ", with TLS" : ""}`],
      ["The realm takes you for", seen.address],
    ];
    this.#part("facts").replaceChildren(...facts.flatMap(([name, value]) => (value === undefined || value === null ? [] : [fact(name, value)])));
    this.#part("headers").replaceChildren(...seen.headers.map(header));
  }
}

function item({ severity, code, sentence, fix, product, line }: Finding): HTMLElement {
  const row = document.createElement("li");
  row.dataset["severity"] = severity;
  row.dataset["code"] = code;
  const badge = piece("span", "badge", SEVERITIES[severity]);
  const what = piece("p", "what", "");
  what.append(badge, " ", piece("strong", "", sentence));
  row.append(what, piece("p", "fix", fix));
  if (line !== null) row.append(configuration(product ?? "", line));
  return row;
}

function configuration(product: string, line: string): HTMLElement {
  const figure = piece("figure", "line", "");
  const code = piece("code", "", line);
  code.tabIndex = 0;
  const button = piece("button", "", "Copy");
  button.setAttribute("type", "button");
  button.setAttribute("aria-label", `Copy the line for ${product}`);
  button.addEventListener("click", () => void copy(button, line, code));
  const row = piece("div", "copyable", "");
  row.append(code, button);
  figure.append(piece("figcaption", "", `In the configuration of ${product}`), row);
  return figure;
}

function fact(name: string, value: string): HTMLElement {
  const row = document.createElement("div");
  row.append(piece("dt", "", name), piece("dd", "", value));
  return row;
}

function header([name, value]: Header): HTMLElement {
  const row = document.createElement("tr");
  const head = piece("th", "", name);
  head.setAttribute("scope", "row");
  row.append(head, piece("td", "", value));
  return row;
}

function piece(tag: string, kind: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  if (kind !== "") made.className = kind;
  made.textContent = text;
  return made;
}
