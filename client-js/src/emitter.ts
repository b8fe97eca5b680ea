import { ThroughlineError } from "./errors.js";

/** Listeners by type; `Events` maps each type to what its listeners are given. */
export class Emitter<Events> {
  readonly #listeners: ReadonlyMap<keyof Events, Set<(value: never) => void>>;

  /** Of all types. */
  constructor(...types: (keyof Events)[]) {
    this.#listeners = new Map(types.map((type) => [type, new Set()]));
  }

  /** Calls `listener` at each such event, until the function that is returned is called. Throws `bad_option`. */
  on<K extends keyof Events>(type: K, listener: (value: Events[K]) => void): () => void {
    const set = this.#listeners.get(type);
    if (set === undefined || typeof listener !== "function") {
      throw new ThroughlineError("bad_option", `on: expected one of ${[...this.#listeners.keys()].join()}, and a function`);
    }
    set.add(listener);
    return () => void set.delete(listener);
  }

  /** Whether there are listeners. */
  protected hears(type: keyof Events): boolean {
    return !!this.#listeners.get(type)?.size;
  }

  /** Calls the listeners; false when there are none. A listener that throws hinders no other. */
  protected emit<K extends keyof Events>(type: K, value: Events[K]): boolean {
    const set = [...(this.#listeners.get(type) ?? [])] as ((value: Events[K]) => void)[];
    for (const listener of set) {
      try {
        listener(value);
      } catch (error) {
        report(error);
      }
    }
    return set.length > 0;
  }
}

/** Makes a fault of the application's own code visible, as an uncaught error, without stopping the delivery. */
export function report(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
