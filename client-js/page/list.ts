// The list of events: bounded, and written at most once per frame.

import type { Gap, ThroughlineEvent } from "../src/index.js";

const ROWS_MAX = 300;
/** Bytes and characters of an event's data that a row shows. */
const DATA_MAX = 400;
/** Above so many new rows at once, rows are written a few times a second only: nobody can read them faster. */
const BUSY_ROWS = 30;
const BUSY_MS = 250;

export class EventList {
  readonly #list: HTMLElement;
  /** Rows to come, oldest first; never more than the list can show. */
  #waiting: (() => HTMLElement)[] = [];
  #wroteAt = 0;
  held = false;

  constructor(list: HTMLElement) {
    this.#list = list;
  }

  get empty(): boolean {
    return this.#list.childElementCount === 0;
  }

  add(event: ThroughlineEvent): void {
    this.#push(() => eventRow(event));
  }

  addGap(gap: Gap): void {
    const to = gap.to === "0" ? "an unknown end" : gap.to;
    const row = line("gap", `${gap.channel}: missed ${gap.from} to ${to} (${gap.reason})`);
    row.dataset["gap"] = gap.reason;
    this.#push(() => row);
  }

  addNote(text: string, good: boolean): void {
    const row = line("link", `${clock(Date.now())}  ${text}`);
    if (good) row.dataset["good"] = "";
    this.#push(() => row);
  }

  clear(): void {
    this.#waiting = [];
    this.#list.replaceChildren();
  }

  /** Writes what waits. To be called once per frame. */
  write(now: number): void {
    if (this.held || this.#waiting.length === 0) return;
    if (this.#waiting.length > BUSY_ROWS && now - this.#wroteAt < BUSY_MS) return;
    this.#wroteAt = now;
    const rows = this.#waiting.splice(0).slice(-ROWS_MAX).map((row) => row()).reverse();
    const surplus = this.#list.childElementCount + rows.length - ROWS_MAX;
    if (surplus >= this.#list.childElementCount) this.#list.replaceChildren(...rows);
    else {
      for (let i = 0; i < surplus; i += 1) this.#list.lastElementChild?.remove();
      this.#list.prepend(...rows);
    }
  }

  #push(row: () => HTMLElement): void {
    this.#waiting.push(row);
    if (this.#waiting.length > 2 * ROWS_MAX) this.#waiting.splice(0, ROWS_MAX);
  }
}

function cell(kind: string, text: string): HTMLElement {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

function line(kind: string, text: string): HTMLLIElement {
  const row = document.createElement("li");
  row.className = kind;
  row.textContent = text;
  return row;
}

function clock(time: number): string {
  const date = new Date(time);
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function eventRow(event: ThroughlineEvent): HTMLElement {
  const row = document.createElement("li");
  row.dataset["eid"] = event.eid;
  row.dataset["channel"] = event.channel;
  row.append(cell("eid", event.eid), cell("when", clock(event.time)), cell("where", event.channel));
  if (event.tag !== undefined) row.append(cell("tag", event.tag));
  row.append(cell("what", shorten(event.data)));
  return row;
}

function shorten(data: string | Uint8Array): string {
  if (typeof data === "string") return data.length > DATA_MAX ? `${data.slice(0, DATA_MAX)}…` : data;
  const head = [...data.subarray(0, DATA_MAX / 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${data.length} ${data.length === 1 ? "byte" : "bytes"}: ${head}${data.length > DATA_MAX / 8 ? " …" : ""}`;
}
