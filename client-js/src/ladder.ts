// Which transports are tried, when, and which one wins: PROTOCOL.md, "The client's ladder". Pure: no clock, no sockets.

import { type Deed, GIVE_UP_MS, type Steering, type SteeringOptions } from "./steering.js";
import type { Failure, TransportName } from "./transports/transport.js";

/** All transports; the place in this list is the rank. */
export const RANKS: readonly TransportName[] = ["websocket", "http-stream", "event-source", "iframe-stream", "long-poll", "jsonp-poll"];

/** After how many round trips the next transport starts beside one that is silent, and the bounds of that. */
const DELAY_RTTS = 3;
const DELAY_MS_MIN = 300;
const DELAY_MS_MAX = 2_000;
const DELAY_MS_UNKNOWN = 500;
const UPGRADE_MS = 30_000;
const UPGRADE_JITTER_MS = 6_000;
/** So often while streams are replaced before others cut them, which takes attempts as well. */
const UPGRADE_ROTATING_MS = 45_000;
/** A link that dies younger, or by silence younger, strikes its transport. */
const CUT_MS = 10_000;
const SILENCE_MS = 30_000;
/** How long a struck transport is left out of rounds, and how long a link must live to clear it. */
const STRUCK_MS = 30_000;
const CLEAR_MS = 60_000;
const PROBATION_MS = 5_000;
const PROBATION_MS_MAX = 20_000;
/** Others cut a stream of this transport at that age, twice: it is replaced at so many tenths of the age. */
const ROTATE_TENTHS = 9;
/** Younger ends are not learned: rotations would take all permits. */
const AGE_MS_MIN = 12_500;
const AGE_EXPIRY_MS = 600_000;
const ROTATE_AGAIN_MS = 30_000;
/** Every start takes a permit; one comes back at a time. What can wait leaves some for rounds. */
const PERMITS = 12;
const PERMITS_LEFT = 4;
const PERMIT_MS = 10_000;
/** So many, and for so long, a search keeps for what worked before. */
const PERMITS_KEPT = 2;
const KEEP_MS = 30_000;

interface Runner {
  readonly id: number;
  readonly transport: TransportName;
  readonly startedAt: number;
  readonly purpose: "round" | "upgrade" | "rotate";
  /** Proven, and on probation until then. */
  provedUntil?: number;
  asked?: boolean;
}

interface Live {
  readonly transport: TransportName;
  readonly startedAt: number;
  readonly adoptedAt: number;
}

/** Ages at which others ended a stream: the last one, and the one that was seen twice. */
interface Age {
  readonly last: number;
  readonly twice: number | undefined;
  readonly at: number;
}

interface Round {
  readonly list: readonly TransportName[];
  readonly tried: Set<TransportName>;
  /** Started soon after the first. */
  readonly beside: TransportName | undefined;
  first: Runner | undefined;
  /** The last one, `beside` aside. */
  last: Runner | undefined;
}

interface Strikes {
  count: number;
  until: number;
}

const rank = (transport: TransportName): number => RANKS.indexOf(transport);

function group(transport: TransportName): number {
  const at = rank(transport);
  return at === 0 ? 0 : at < 4 ? 1 : 2;
}

export class Ladder implements Steering {
  rtt: number | undefined;
  readonly #options: SteeringOptions;
  readonly #giveUpMs: number;
  #deeds: Deed[] = [];
  #lastId = 0;
  readonly #runners = new Map<number, Runner>();
  #live: Live | undefined;
  #round: Round | undefined;
  /** Rounds of two candidates, whose second ones take turns. */
  #turns = 0;
  #suspected = false;
  /** What worked last, here or according to memory. */
  #worked: TransportName | undefined;
  readonly #strikes = new Map<TransportName, Strikes>();
  #permits = PERMITS;
  /** When the last permit came back, or the first was taken. */
  #permitAt = 0;
  /** Rounds have used up all permits: they keep their distance until a link is adopted. */
  #spaced = false;
  /** When the next of such rounds may begin. */
  #apartAt = 0;
  /** The session has had a link. */
  #linked = false;
  /** Until then a search for a link keeps permits for what worked before. */
  #keptUntil: number | undefined;
  #draining = false;
  #upgradeAt = Infinity;
  /** When the best transport was tried last. */
  #bestAt = 0;
  /** Permits that the next upgrade leaves for rounds. The first one after an adoption leaves none. */
  #spared = PERMITS_LEFT;
  #upgrades = 0;
  readonly #upgraded = new Set<TransportName>();
  #rotateAt = Infinity;
  readonly #ages = new Map<TransportName, Age>();

  constructor(options: SteeringOptions) {
    this.#options = options;
    this.#giveUpMs = options.giveUpMs ?? GIVE_UP_MS;
    this.#worked = options.remembered;
  }

  begin(now: number): void {
    if (this.#live === undefined) this.#seek(now);
  }

  proved(now: number, id: number): void {
    const runner = this.#runners.get(id);
    if (runner === undefined) return;
    const strikes = this.#strikes.get(runner.transport)?.count ?? 0;
    if (this.#live === undefined || this.#suspected || strikes === 0) return this.#settle(now, runner);
    runner.provedUntil = now + Math.min(PROBATION_MS_MAX, PROBATION_MS * 2 ** (strikes - 1));
  }

  answered(now: number, id: number): void {
    const runner = this.#runners.get(id);
    if (runner?.asked === true) this.#settle(now, runner);
  }

  failed(now: number, id: number, _failure: Failure): void {
    const runner = this.#runners.get(id);
    if (runner === undefined) return;
    this.#runners.delete(id);
    if (runner.provedUntil !== undefined) this.#strike(now, runner.transport);
    if (runner.purpose === "rotate") this.#rotateAt = now + ROTATE_AGAIN_MS;
    this.#step(now);
  }

  died(now: number, failure: Failure | undefined, silent: boolean): void {
    const live = this.#live;
    if (live === undefined) return;
    this.#live = undefined;
    this.#suspected = false;
    this.#worked = live.transport;
    this.#judge(now, live, failure, silent);
  }

  suspect(now: number): void {
    if (this.#live === undefined || this.#suspected || this.#draining) return;
    this.#suspected = true;
    this.#seek(now);
  }

  calm(): void {
    if (!this.#suspected) return;
    this.#suspected = false;
    this.#round = undefined;
    for (const runner of this.#runners.values()) if (runner.purpose === "round") this.#abandon(runner);
  }

  rotate(now: number): void {
    if (this.#live === undefined || [...this.#runners.values()].some(({ purpose }) => purpose === "rotate")) return;
    this.#rotateAt = Math.min(this.#rotateAt, now);
    this.#rotations(now);
  }

  drain(): void {
    this.#draining = true;
    this.stop();
  }

  stop(): void {
    this.#round = undefined;
    this.#suspected = false;
    for (const runner of this.#runners.values()) this.#abandon(runner);
  }

  tick(now: number): void {
    for (const runner of [...this.#runners.values()]) this.#check(now, runner);
    if (this.#live !== undefined) {
      this.#clear(now, this.#live);
      // Rotations that use up every permit must not keep the best transport from being tried.
      this.#upgrade(now);
      this.#rotations(now);
    }
    this.#step(now);
  }

  take(): Deed | undefined {
    return this.#deeds.shift();
  }

  deadline(): number {
    let due = Infinity;
    if (this.#live !== undefined && !this.#draining) {
      due = Math.min(Math.max(this.#upgradeAt, this.#permitsAt(this.#spared + 1)), Math.max(this.#rotateAt, this.#permitsAt(PERMITS_LEFT + 1)));
    }
    for (const runner of this.#runners.values()) due = Math.min(due, this.#checkAt(runner));
    return Math.min(due, this.#stepAt());
  }

  // Candidates.

  #start(now: number, transport: TransportName, purpose: Runner["purpose"]): Runner {
    this.#lastId += 1;
    const runner: Runner = { id: this.#lastId, transport, startedAt: now, purpose };
    this.#runners.set(runner.id, runner);
    if (this.#permits === PERMITS) this.#permitAt = now;
    this.#permits -= 1;
    this.#spaced ||= this.#live === undefined && this.#permits === 0;
    if (transport === this.#options.list[0]) this.#bestAt = now;
    if (this.#spaced) this.#apartAt = Math.max(now, this.#apartAt) + PERMIT_MS;
    this.#deeds.push({ do: "start", id: runner.id, transport });
    return runner;
  }

  #abandon(runner: Runner): void {
    this.#runners.delete(runner.id);
    this.#deeds.push({ do: "abandon", id: runner.id });
  }

  #checkAt({ startedAt, provedUntil, asked }: Runner): number {
    if (provedUntil === undefined) return startedAt + this.#giveUpMs;
    return asked === true ? provedUntil + this.#giveUpMs : provedUntil;
  }

  #check(now: number, runner: Runner): void {
    if (now < this.#checkAt(runner)) return;
    if (runner.provedUntil !== undefined && runner.asked !== true) {
      runner.asked = true;
      this.#deeds.push({ do: "ping", id: runner.id });
      return;
    }
    this.#deeds.push({ do: "give_up", id: runner.id });
    this.failed(now, runner.id, "silent");
  }

  /** It has passed all there is to pass: adopted if that is better than what there is. */
  #settle(now: number, runner: Runner): void {
    const live = this.#live;
    const better = live === undefined || this.#suspected || runner.purpose === "rotate" || rank(runner.transport) < rank(live.transport);
    if (better) this.#adopt(now, runner);
    else this.#abandon(runner);
  }

  #adopt(now: number, runner: Runner): void {
    const { id, transport, startedAt } = runner;
    // Whom another had to replace while it was silent died of silence.
    if (this.#live !== undefined) this.#judge(now, this.#live, this.#suspected ? "idle" : undefined, this.#suspected);
    // A rotation is no reason to put off what is better.
    const same = this.#live?.transport === transport;
    this.#runners.delete(id);
    this.#deeds.push({ do: "adopt", id });
    this.#live = { transport, startedAt, adoptedAt: now };
    this.#worked = transport;
    const [best = transport] = this.#options.list;
    const passedOver = this.#round?.tried.has(best) === false;
    this.#round = undefined;
    this.#suspected = false;
    this.#draining = false;
    this.#spaced = false;
    this.#linked = true;
    this.#keptUntil = undefined;
    for (const other of this.#runners.values()) if (rank(other.transport) >= rank(transport)) this.#abandon(other);
    if (!same) {
      this.#upgraded.clear();
      this.#spared = 0;
      const due = this.#nextUpgrade(passedOver ? this.#bestAt : now, transport);
      this.#upgradeAt = transport === best ? Infinity : Math.max(now, due, this.#struckUntil(best));
    }
    const age = this.#age(now, transport)?.twice;
    this.#rotateAt = age === undefined ? Infinity : startedAt + (age * ROTATE_TENTHS) / 10;
  }

  // Rounds.

  /** Probation is for those who have something: a candidate that is proven is adopted, or else one is looked for. */
  #seek(now: number): void {
    const first = this.#live !== undefined || this.#keptUntil === undefined;
    if (this.#live === undefined) this.#keptUntil ??= now + KEEP_MS;
    const proved = [...this.#runners.values()].find((runner) => runner.provedUntil !== undefined);
    if (proved !== undefined) return this.#adopt(now, proved);
    if (this.#round !== undefined) return;
    const struck = (transport: TransportName): boolean => this.#struckUntil(transport) > now;
    const all = [...this.#options.list].sort((a, b) => Number(struck(a)) - Number(struck(b)));
    const home = all.find((transport) => transport === this.#worked && !struck(transport));
    const heads = all.filter((transport, at) => at === all.findIndex((other) => group(other) === group(transport)));
    const wide = first && this.#spare(now) && !this.#spaced;
    const likely = this.#live === undefined && this.#linked ? all.filter((transport) => heads.includes(transport) || transport === home) : all;
    this.#round = {
      list: wide ? likely : this.#pair(all, heads, home),
      tried: new Set([...this.#runners.values()].map(({ transport }) => transport)),
      beside: wide ? home : undefined,
      first: undefined,
      last: undefined,
    };
    this.#step(now);
  }

  /** What worked before, and then one other: the best of each group in turn, and after each turn through the groups one of the rest. */
  #pair(all: readonly TransportName[], heads: readonly TransportName[], home = all[0]): readonly TransportName[] {
    const others = all.filter((transport) => transport !== home);
    const first = others.filter((transport) => heads.includes(transport));
    const rest = others.filter((transport) => !heads.includes(transport));
    const cycle = first.length + Math.sign(rest.length);
    const other = first[this.#turns % cycle] ?? rest[Math.floor(this.#turns / cycle) % rest.length];
    this.#turns += 1;
    return [home, other].filter((transport) => transport !== undefined);
  }

  #step(now: number): void {
    this.#refill(now);
    for (let round = this.#round; round !== undefined; round = this.#round) {
      const spent = this.#isSpent(now, round);
      if (!spent && now < this.#stepAt()) return;
      const next = spent ? undefined : this.#next(now, round);
      if (next === undefined) {
        if (this.#runners.size > 0) return;
        this.#round = undefined;
        if (this.#live === undefined) this.#deeds.push({ do: "over" });
        return;
      }
      round.tried.add(next);
      const runner = this.#start(now, next, "round");
      round.first ??= runner;
      if (next !== round.beside || round.first === runner) round.last = runner;
    }
  }

  /** All that the round has started failed, what worked before too, and the permits that are left are kept for that. */
  #isSpent(now: number, round: Round): boolean {
    const tried = round.first !== undefined && this.#besideAt(round) === Infinity;
    // A search that takes long keeps none: what passes may be another one by now.
    const kept = this.#spaced || now >= (this.#keptUntil ?? 0) ? 0 : PERMITS_KEPT;
    return tried && this.#live === undefined && this.#runners.size === 0 && !this.#spare(now, kept);
  }

  /** When the round's next candidate is due. */
  #stepAt(): number {
    const round = this.#round;
    if (round === undefined) return Infinity;
    const runners = [...this.#runners.values()];
    const left = round.list.some((transport) => !round.tried.has(transport));
    if (!left && runners.length > 0) return Infinity;
    const youngest = Math.max(-Infinity, ...runners.map(({ startedAt }) => startedAt));
    const due = Math.min(youngest + this.#delay(), this.#besideAt(round));
    if (!left) return due;
    // Doubts about a link must not leave nothing for its end.
    return Math.max(due, this.#permitsAt(this.#live === undefined ? 1 : PERMITS_LEFT + 1), this.#spaced && round.first === undefined ? this.#apartAt : due);
  }

  #besideAt({ beside, tried, first }: Round): number {
    if (beside === undefined || tried.has(beside) || first === undefined) return Infinity;
    return this.#runners.has(first.id) ? first.startedAt + Math.floor(this.#delay() / 3) : -Infinity;
  }

  #next(now: number, round: Round): TransportName | undefined {
    if (now >= this.#besideAt(round)) return round.beside;
    const { list, tried, last } = round;
    const left = list.filter((transport) => !tried.has(transport));
    if (last === undefined) return left[0];
    const silent = this.#runners.has(last.id);
    const wanted = silent
      ? left.find((transport) => group(transport) > group(last.transport))
      : left.find((transport) => rank(transport) > rank(last.transport));
    return wanted ?? left[0];
  }

  #delay(): number {
    if (this.rtt === undefined) return DELAY_MS_UNKNOWN;
    return Math.min(DELAY_MS_MAX, Math.max(DELAY_MS_MIN, DELAY_RTTS * this.rtt));
  }

  // Permits.

  #refill(now: number): void {
    const back = Math.min(PERMITS - this.#permits, Math.floor((now - this.#permitAt) / PERMIT_MS));
    if (back <= 0) return;
    this.#permits += back;
    this.#permitAt += back * PERMIT_MS;
  }

  /** When there are so many. */
  #permitsAt(count: number): number {
    return this.#permits >= count ? -Infinity : this.#permitAt + (count - this.#permits) * PERMIT_MS;
  }

  #spare(now: number, left = PERMITS_LEFT): boolean {
    this.#refill(now);
    return this.#permits > left;
  }

  // What a live link leads to.

  /** What its life says of its transport. */
  #judge(now: number, live: Live, failure: Failure | undefined, silent: boolean): void {
    const lived = now - live.adoptedAt;
    this.#clear(now, live);
    if (failure === undefined) return;
    if (lived < (silent ? SILENCE_MS : CUT_MS)) this.#strike(now, live.transport);
    else if (!silent && group(live.transport) === 1) this.#learnAge(now, live.transport, now - live.startedAt);
  }

  #strike(now: number, transport: TransportName): void {
    const strikes = this.#strikes.get(transport) ?? { count: 0, until: 0 };
    strikes.count += 1;
    strikes.until = now + STRUCK_MS;
    this.#strikes.set(transport, strikes);
  }

  #struckUntil(transport: TransportName): number {
    return this.#strikes.get(transport)?.until ?? 0;
  }

  #clear(now: number, { transport, adoptedAt }: Live): void {
    if (now - adoptedAt >= CLEAR_MS) this.#strikes.delete(transport);
  }

  #nextUpgrade(now: number, live: TransportName): number {
    const period = this.#age(now, live)?.twice ? UPGRADE_ROTATING_MS : UPGRADE_MS;
    return now + period + UPGRADE_JITTER_MS * (2 * this.#options.random() - 1);
  }

  /** Tries the best transport, and every second time also the best of the other better ones. */
  #upgrade(now: number): void {
    const live = this.#live;
    if (live === undefined || this.#draining || now < this.#upgradeAt || !this.#spare(now, this.#spared)) return;
    this.#upgradeAt = this.#nextUpgrade(now, live.transport);
    this.#upgrades += 1;
    const [best, ...others] = this.#options.list.filter((transport) => rank(transport) < rank(live.transport));
    if (best !== undefined) this.#tryBetter(now, best);
    this.#spared = PERMITS_LEFT;
    if (this.#upgrades % 2 !== 0) return;
    if (others.every((transport) => this.#upgraded.has(transport))) this.#upgraded.clear();
    const other = others.find((transport) => !this.#upgraded.has(transport));
    if (other === undefined) return;
    this.#upgraded.add(other);
    this.#tryBetter(now, other);
  }

  #tryBetter(now: number, transport: TransportName): void {
    const running = [...this.#runners.values()].some((runner) => runner.transport === transport);
    if (!running && this.#spare(now, this.#spared)) this.#start(now, transport, "upgrade");
  }

  #learnAge(now: number, transport: TransportName, age: number): void {
    if (age < AGE_MS_MIN) return;
    const known = this.#age(now, transport);
    const same = known !== undefined && Math.abs(known.last - age) <= known.last / 4;
    this.#ages.set(transport, { last: age, twice: same ? Math.min(known.last, age) : known?.twice, at: now });
  }

  #age(now: number, transport: TransportName): Age | undefined {
    const age = this.#ages.get(transport);
    return age !== undefined && now - age.at < AGE_EXPIRY_MS ? age : undefined;
  }

  #rotations(now: number): void {
    if (this.#live === undefined || this.#draining || now < this.#rotateAt || !this.#spare(now)) return;
    this.#rotateAt = Infinity;
    this.#start(now, this.#live.transport, "rotate");
  }
}
