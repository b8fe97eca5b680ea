// The page's second view: examines the network that the browser is in, and says what it found.

import { copy } from "../copy.js";
import type { Limits } from "./ask.js";
import type { Judgement } from "./judge.js";
import { judge } from "./judge.js";
import { type Means, type Sessions, type Timing, browserMeans } from "./means.js";
import type { Observations } from "./observations.js";
import { INSPECT } from "./requests.js";
import { CHECKS, type Progress, observe } from "./observe.js";
import { Report } from "./report.js";
import { Table } from "./table.js";

const LIMITS: Limits = { silent_ms: 6_000, hold_s: 12, idle_s: 20 };
/** What the address of the view may ask for, seconds. */
const SECONDS_MAX = 60;

/** What is saved: the observations as every doctor makes them, and what only a page can add. */
interface Examination {
  readonly made: string;
  readonly browser: string;
  readonly timing: Timing | undefined;
  readonly observations: Observations;
  readonly judgement: Judgement;
}

export class Doctor {
  readonly #root: HTMLElement;
  readonly #url: () => string;
  readonly #sessions: Sessions;
  readonly #table: Table;
  readonly #report: Report;
  #means: Means | undefined;
  #examination: Examination | undefined;
  #limits = LIMITS;

  constructor(root: HTMLElement, url: () => string, sessions: Sessions) {
    this.#root = root;
    this.#url = url;
    this.#sessions = sessions;
    this.#table = new Table(this.#part("tried"));
    this.#report = new Report((id) => this.#part(id), url());
    this.#on("examine", () => void this.#examine());
    this.#on("stop", () => this.#stop());
    this.#on("copy-json", () => void copy(this.#part("copy-json"), this.#json(), this.#part("json")));
    this.#on("save-json", () => this.#save());
    this.#part("silence").addEventListener("change", () => (this.#limits = { ...this.#limits, idle_s: Number(this.#choice.value) }));
    this.#part("examine").removeAttribute("disabled");
    this.#say("");
  }

  /** Takes what the address says: `idle` and `hold`, seconds. */
  wants(address: URLSearchParams): void {
    const seconds = (name: string, otherwise: number): number => {
      const wanted = Number(address.get(name) ?? otherwise);
      return Number.isInteger(wanted) && wanted > 0 && wanted <= SECONDS_MAX ? wanted : otherwise;
    };
    this.#limits = { ...LIMITS, idle_s: seconds("idle", LIMITS.idle_s), hold_s: seconds("hold", LIMITS.hold_s) };
    const { idle_s } = this.#limits;
    if (![...this.#choice.options].some(({ value }) => Number(value) === idle_s)) this.#choice.add(new Option(`${idle_s} s`, String(idle_s)));
    this.#choice.value = String(idle_s);
  }

  async #examine(): Promise<void> {
    const means = (this.#means = browserMeans(this.#sessions));
    const began = means.now();
    this.#busy(true);
    this.#table.reset();
    this.#report.hide();
    const observations = await observe({ means, url: this.#url(), limits: this.#limits }, (progress) => this.#heard(progress));
    const stopped = this.#means === undefined;
    this.#means = undefined;
    this.#busy(false);
    if (stopped) return this.#say("Stopped.");
    this.#say(`Done in ${Math.round((means.now() - began) / 1_000)} s.`);
    this.#show(observations, means.timing(INSPECT));
  }

  /** What is under way ends at once, and what it seems to have found is not believed. */
  #stop(): void {
    const means = this.#means;
    this.#means = undefined;
    means?.stop();
  }

  #show(observations: Observations, timing: Timing | undefined): void {
    const judgement = judge(observations);
    this.#examination = { made: new Date().toISOString(), browser: navigator.userAgent, timing, observations, judgement };
    this.#report.show(observations, judgement, timing);
    this.#part("json").textContent = this.#json();
    this.#root.dataset["done"] = "";
  }

  #heard(progress: Progress): void {
    this.#table.heard(this.#means === undefined ? { ...progress, trials: [] } : progress);
    const bar = this.#part("examined");
    if (!(bar instanceof HTMLProgressElement)) return;
    bar.max = CHECKS.length;
    bar.value = this.#table.done;
    this.#say(`${this.#table.done} of ${CHECKS.length} checks done`);
  }

  #busy(busy: boolean): void {
    delete this.#root.dataset["done"];
    const held = document.activeElement?.id ?? "";
    this.#part("examine").toggleAttribute("disabled", busy);
    this.#part("silence").toggleAttribute("disabled", busy);
    for (const id of ["stop", "examined"]) this.#part(id).hidden = !busy;
    this.#part("examine").textContent = busy ? "Examining…" : "Examine again";
    // A button that goes leaves the focus to the one that comes.
    const [goes, comes] = busy ? ["examine", "stop"] : ["stop", "examine"];
    if (held === goes) this.#part(comes).focus();
  }

  #json(): string {
    return JSON.stringify(this.#examination ?? null, null, 2);
  }

  #save(): void {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.#json()], { type: "application/json" }));
    link.download = `throughline-doctor-${(this.#examination?.made ?? "").slice(0, 19).replaceAll(":", "-")}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  #say(text: string): void {
    this.#part("stage").textContent = text;
  }

  get #choice(): HTMLSelectElement {
    return this.#part("silence") as HTMLSelectElement;
  }

  #on(id: string, act: () => void): void {
    this.#part(id).addEventListener("click", act);
  }

  #part(id: string): HTMLElement {
    const part = this.#root.querySelector(`#${id}`);
    if (!(part instanceof HTMLElement)) throw new Error(`the page lacks #${id}`);
    return part;
  }
}
