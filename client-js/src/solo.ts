// Steering where there is one transport only: a candidate at a time, adopted when it is proven.

import { type Deed, GIVE_UP_MS, type Steering, type SteeringOptions } from "./steering.js";

export class Solo implements Steering {
  rtt: number | undefined;
  readonly #options: SteeringOptions;
  #deeds: Deed[] = [];
  #lastId = 0;
  #startedAt: number | undefined;
  #live = false;

  constructor(options: SteeringOptions) {
    this.#options = options;
  }

  begin(now: number): void {
    const [transport] = this.#options.list;
    if (this.#startedAt !== undefined || transport === undefined) return;
    this.#startedAt = now;
    this.#lastId += 1;
    this.#deeds.push({ do: "start", id: this.#lastId, transport });
  }

  proved(_now: number, id: number): void {
    this.#startedAt = undefined;
    this.#live = true;
    this.#deeds.push({ do: "adopt", id });
  }

  answered(): void {
    // There is no probation.
  }

  failed(): void {
    this.#startedAt = undefined;
    if (!this.#live) this.#deeds.push({ do: "over" });
  }

  died(): void {
    this.#live = false;
  }

  suspect(now: number): void {
    this.begin(now);
  }

  calm(): void {
    this.stop();
  }

  rotate(now: number): void {
    this.begin(now);
  }

  drain(): void {
    this.stop();
  }

  stop(): void {
    if (this.#startedAt !== undefined) this.#deeds.push({ do: "abandon", id: this.#lastId });
    this.#startedAt = undefined;
  }

  tick(now: number): void {
    if (now < this.deadline()) return;
    this.#deeds.push({ do: "give_up", id: this.#lastId });
    this.failed();
  }

  take(): Deed | undefined {
    return this.#deeds.shift();
  }

  deadline(): number {
    return this.#startedAt === undefined ? Infinity : this.#startedAt + (this.#options.giveUpMs ?? GIVE_UP_MS);
  }
}
