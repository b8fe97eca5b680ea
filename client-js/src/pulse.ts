// Whether a link lives: PROTOCOL.md section 6, and "Suspect" of the client's ladder.

/** After a hint that the network changed: how long a link may stay silent when asked. */
const PROBE_MS = 5_000;
/** A check that comes so much after its time means that the page slept. */
const LATE_MS = 2_000;
/** How many round trips an answer may take before the link is doubted, and the bounds of that. */
const PATIENCE_RTTS = 4;
const PATIENCE_MS_MIN = 2_000;
const PATIENCE_MS_MAX = 5_000;

export class Pulse {
  /** The interval that the welcome told, milliseconds. */
  readonly interval: number;
  /** The last round trip. */
  rtt: number;
  /** Silent intervals after which the link spoke again. */
  survived = 0;
  readonly #strain: number;
  #quiet = false;
  #heardAt: number;
  /** When each ping was sent that was not answered. */
  readonly #pings: number[] = [];
  /** When the link was asked whether it lives, and nothing came since. */
  #askedAt: number | undefined;
  #probeUntil = Infinity;
  /** A sleep was made good for already since anything came. */
  #excused = false;
  /** Since when an answer is owed and nothing came; and how often that was noted: a ping, then a doubt. */
  #owedAt: number | undefined;
  #noted = 0;

  /** `strain` stretches the time before a doubt. */
  constructor(now: number, interval: number, rtt: number, strain: number) {
    this.#heardAt = now;
    this.#strain = strain;
    this.interval = interval;
    this.rtt = rtt;
  }

  /** Anything came. */
  heard(now: number): void {
    if (this.#quiet) this.survived += 1;
    this.#quiet = false;
    this.#heardAt = now;
    this.#askedAt = undefined;
    this.#probeUntil = Infinity;
    this.#excused = false;
    this.#owedAt = undefined;
    this.#noted = 0;
  }

  /** Whether other answers than pongs are outstanding. */
  owed(now: number, others: boolean): void {
    if (!others && this.#pings.length === 0) this.#owedAt = undefined;
    else this.#owedAt ??= now;
  }

  /** A ping goes out. */
  pinged(now: number): void {
    this.#pings.push(now);
  }

  /** Its round trip, when a pong answers a ping. */
  ponged(now: number): number | undefined {
    const sentAt = this.#pings.shift();
    if (sentAt === undefined) return undefined;
    this.rtt = now - sentAt;
    return this.rtt;
  }

  /** Gives the link little time to prove that it lives; false when it is being asked already. */
  probe(now: number): boolean {
    if (this.#probeUntil !== Infinity) return false;
    this.#askedAt = now;
    this.#probeUntil = now + PROBE_MS;
    return true;
  }

  /** What is due: the link is `dead` or to be doubted, or a `ping` has to go out. */
  check(now: number): "dead" | "doubt" | "ping" | "nothing" {
    const life = this.#life(now);
    if (life !== "nothing" || now < this.#patience()) return life;
    // A late check says nothing about the link: the page slept.
    if (now >= this.#patience() + LATE_MS) this.#noted = 0;
    this.#noted += 1;
    this.#owedAt = now;
    return this.#noted === 1 ? "ping" : "doubt";
  }

  silence(now: number): number {
    return Math.round(now - this.#heardAt);
  }

  /** When {@link check} has something to say. */
  deadline(): number {
    return Math.min(this.#due(), this.#patience());
  }

  #life(now: number): "dead" | "ping" | "nothing" {
    const due = this.#due();
    if (now < due) return "nothing";
    if (this.#askedAt !== undefined) {
      if (this.#excused || now < due + LATE_MS) return "dead";
      // The page slept, and the answer may be among what waits to be delivered. Once only, or a page whose timers are
      // always late would never find out.
      this.#excused = true;
      this.#probeUntil = Infinity;
    }
    this.#quiet = true;
    this.#askedAt = now;
    return "ping";
  }

  #due(): number {
    const silent = this.#askedAt === undefined ? this.#heardAt + this.interval : this.#askedAt + 2 * this.interval;
    return Math.min(silent, this.#probeUntil);
  }

  #patience(): number {
    if (this.#owedAt === undefined || this.#noted > 1) return Infinity;
    return this.#owedAt + this.#strain * Math.min(PATIENCE_MS_MAX, Math.max(PATIENCE_MS_MIN, PATIENCE_RTTS * this.rtt));
  }
}
