// What is tried, with its outcome as it comes.

import { CHECKS, type Check, type Progress } from "./observe.js";
import { CARRIERS, NAMES, type Row, rowOf } from "./rows.js";
import { strip } from "./strip.js";

const TIMES = ["Opens", "First message", "Round trip"];
const WAITING: Row = { state: "waiting", outcome: "–", detail: "", times: [undefined, undefined, undefined] };
const TRYING: Row = { ...WAITING, state: "trying", outcome: "trying…" };

export class Table {
  readonly #rows = new Map<Check, HTMLTableRowElement>();
  /** Checks that are done. */
  readonly #over = new Set<Check>();

  constructor(table: HTMLElement) {
    const groups: readonly (readonly [string, readonly Check[]])[] = [
      ["What carries sessions", CARRIERS],
      ["What the path is like", CHECKS.filter((check) => !CARRIERS.includes(check))],
    ];
    for (const [title, checks] of groups) table.append(this.#group(title, checks));
  }

  get done(): number {
    return this.#over.size;
  }

  reset(): void {
    this.#over.clear();
    for (const [check, row] of this.#rows) fill(row, check, WAITING);
  }

  heard({ check, done, trials }: Progress): void {
    const row = this.#rows.get(check);
    if (row === undefined) return;
    if (done) this.#over.add(check);
    fill(row, check, done ? rowOf(check, trials) : TRYING);
  }

  #group(title: string, checks: readonly Check[]): HTMLElement {
    const body = document.createElement("tbody");
    const head = body.insertRow();
    const name = document.createElement("th");
    name.colSpan = 6;
    name.scope = "rowgroup";
    name.textContent = title;
    head.append(name);
    for (const check of checks) {
      const row = body.insertRow();
      row.dataset["check"] = check;
      this.#rows.set(check, row);
      fill(row, check, WAITING);
    }
    return body;
  }
}

function fill(row: HTMLTableRowElement, check: Check, { state, outcome, detail, times, drawn }: Row): void {
  row.dataset["state"] = state;
  const { name, also } = NAMES[check];
  const title = document.createElement("th");
  title.scope = "row";
  title.textContent = name;
  if (also !== undefined) {
    const other = document.createElement("small");
    other.textContent = also;
    title.append(" ", other);
  }
  const cells = [["outcome", outcome] as const, ...times.map((ms) => ["time", ms === undefined ? "" : `${ms.toLocaleString("en")} ms`] as const), ["detail", detail] as const];
  const made = cells.map(([kind, text], at) => {
    const cell = document.createElement("td");
    cell.className = kind;
    cell.textContent = text;
    const label = TIMES[at - 1];
    if (label !== undefined) cell.dataset["label"] = label;
    return cell;
  });
  if (drawn !== undefined) made.at(-1)?.append(strip(drawn));
  row.replaceChildren(title, ...made);
}
