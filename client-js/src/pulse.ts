// Whether a link lives: PROTOCOL.md section 6.

/** After a hint that the network changed: how long a link may stay silent when asked. */
const PROBE_MS = 5_000;

export class Pulse {
  /** The interval that the welcome told, milliseconds. */
  interval = Infinity;
  #heardAt: number;
  /** When each ping was sent that was not answered. */
  readonly #pings: number[] = [];
  #asked = false;
  #probeUntil = Infinity;

  constructor(now: number) {
    this.#heardAt = now;
  }

  /** Anything came. */
  heard(now: number): void {
    this.#heardAt = now;
    this.#asked = false;
    this.#probeUntil = Infinity;
  }

  /** A ping goes out. */
  pinged(now: number): void {
    this.#pings.push(now);
  }

  /** Its round trip, when a pong answers a ping. */
  ponged(now: number): number | undefined {
    const sentAt = this.#pings.shift();
    return sentAt === undefined ? undefined : now - sentAt;
  }

  /** Gives the link little time to prove that it lives; false when it is being asked already. */
  probe(now: number): boolean {
    if (this.#probeUntil !== Infinity) return false;
    this.#probeUntil = now + PROBE_MS;
    return true;
  }

  /** What is due: the link is `dead`, or a `ping` has to go out. */
  check(now: number): "dead" | "ping" | "nothing" {
    if (now >= this.#probeUntil || now >= this.#heardAt + 3 * this.interval) return "dead";
    if (this.#asked || now < this.#heardAt + this.interval) return "nothing";
    this.#asked = true;
    return "ping";
  }

  silence(now: number): number {
    return Math.round(now - this.#heardAt);
  }

  /** When {@link check} has something to say. */
  deadline(): number {
    return Math.min(this.#heardAt + this.interval * (this.#asked ? 3 : 1), this.#probeUntil);
  }
}
