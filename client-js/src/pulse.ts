// Whether a link lives: PROTOCOL.md section 6.

/** After a hint that the network changed: how long a link may stay silent when asked. */
const PROBE_MS = 5_000;
/** A check that comes so much after its time means that the page slept. */
const LATE_MS = 2_000;

export class Pulse {
  /** The interval that the welcome told, milliseconds. */
  interval = Infinity;
  #heardAt: number;
  /** When each ping was sent that was not answered. */
  readonly #pings: number[] = [];
  /** When the link was asked whether it lives, and nothing came since. */
  #askedAt: number | undefined;
  #probeUntil = Infinity;
  /** A sleep was made good for already since anything came. */
  #excused = false;

  constructor(now: number) {
    this.#heardAt = now;
  }

  /** Anything came. */
  heard(now: number): void {
    this.#heardAt = now;
    this.#askedAt = undefined;
    this.#probeUntil = Infinity;
    this.#excused = false;
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
    this.#askedAt = now;
    this.#probeUntil = now + PROBE_MS;
    return true;
  }

  /** What is due: the link is `dead`, or a `ping` has to go out. */
  check(now: number): "dead" | "ping" | "nothing" {
    const due = this.deadline();
    if (now < due) return "nothing";
    if (this.#askedAt !== undefined) {
      if (this.#excused || now < due + LATE_MS) return "dead";
      // The page slept, and the answer may be among what waits to be delivered. Once only, or a page whose timers are
      // always late would never find out.
      this.#excused = true;
      this.#probeUntil = Infinity;
    }
    this.#askedAt = now;
    return "ping";
  }

  silence(now: number): number {
    return Math.round(now - this.#heardAt);
  }

  /** When {@link check} has something to say. */
  deadline(): number {
    const silent = this.#askedAt === undefined ? this.#heardAt + this.interval : this.#askedAt + 2 * this.interval;
    return Math.min(silent, this.#probeUntil);
  }
}
