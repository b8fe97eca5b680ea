/** Cuts text that comes in parts of any size into lines. */
export class Lines {
  #rest = "";

  /** Gives the lines that `part` completes, without their LF; blank ones are left out. */
  push(part: string): string[] {
    const [first = "", ...more] = part.split("\n");
    this.#rest += first;
    const last = more.pop();
    if (last === undefined) return [];
    const lines = [this.#rest, ...more].filter((line) => line.trim() !== "");
    this.#rest = last;
    return lines;
  }

  /** Whether a line is begun and not ended. */
  get open(): boolean {
    return this.#rest !== "";
  }
}
