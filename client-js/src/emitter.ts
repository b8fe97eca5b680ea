/** Listeners by type; `Events` maps each type to what its listeners are given. */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` at each such event, until the function that is returned is called. */
  on<K extends keyof Events>(type: K, listener: (value: Events[K]) => void): () => void {
    const set = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, set);
    set.add(listener);
    return () => void set.delete(listener);
  }

  /** Whether there are listeners. */
  protected hears(type: keyof Events): boolean {
    return (this.#listeners.get(type)?.size ?? 0) > 0;
  }

  /** Calls the listeners; false when there are none. A listener that throws hinders no other. */
  protected emit<K extends keyof Events>(type: K, value: Events[K]): boolean {
    const set = this.#listeners.get(type) as Set<(value: Events[K]) => void> | undefined;
    if (set === undefined || set.size === 0) return false;
    for (const listener of [...set]) {
      try {
        listener(value);
      } catch (error) {
        report(error);
      }
    }
    return true;
  }
}

/** Makes a fault of the application's own code visible, as an uncaught error, without stopping the delivery. */
export function report(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
