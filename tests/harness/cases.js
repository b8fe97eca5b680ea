// The conformance cases, run within a page: each on one transport, alone with the realm.
//
// `runCase(name, where)` gives { ok, error }. Behind the scenes the page asks `control` for what only the other side can
// do: publish, cut, restart.

import { numberOf, textOf } from "./text.js";

const CASE_MS_MAX = 60_000;

function check(truth, text) {
  if (!truth) throw new Error(text);
}

function same(actual, expected, what) {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  check(found === wanted, `${what}: ${found.slice(0, 300)} instead of ${wanted.slice(0, 300)}`);
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

/** One case's session, and what it needs of the other side. */
class Stage {
  constructor(where, { Session }) {
    Object.assign(this, where);
    this.session = new Session(where.realm, { transports: [where.transport] });
    this.session.on("error", (error) => (this.fault = error));
  }

  async ask(command, parameters = {}) {
    const response = await fetch(`${this.control}/control/${command}?${new URLSearchParams(parameters)}`);
    const answer = await response.json();
    check(response.ok, `${command}: ${answer?.error}`);
    return answer;
  }

  /** The other side publishes texts of these numbers, and waits until the realm has them. */
  publish(from, to, channel = this.channel) {
    return this.ask("publish", { channel, from, to });
  }

  /** All that the realm holds, as text. */
  history(channel = this.channel) {
    return this.ask("history", { channel });
  }

  listen(from, { channel = this.channel, options = {} } = {}) {
    return new Listener(this.session, channel, { from, ...options });
  }
}

/** A subscription that keeps what it is given. */
class Listener {
  constructor(session, channel, options) {
    this.events = [];
    this.gaps = [];
    this.checks = new Set();
    this.subscription = session.subscribe(channel, (event) => this.take(this.events, event), options);
    this.subscription.on("gap", (gap) => this.take(this.gaps, gap));
  }

  take(list, thing) {
    list.push(thing);
    for (const check of this.checks) check();
  }

  get numbers() {
    return this.events.map((event) => numberOf(event.text()));
  }

  /** Resolves when so many events have come. */
  have(count) {
    return this.until(() => this.events.length >= count);
  }

  until(fits) {
    return new Promise((resolve) => {
      const check = () => fits() && (this.checks.delete(check), resolve());
      this.checks.add(check);
      check();
    });
  }

  /** The gaps, those that follow on each other as one: what is missed while a gap is told is told by another. */
  get spans() {
    const spans = [];
    for (const { from, to, reason } of this.gaps) {
      same(reason, "capacity", "reason");
      const last = spans.at(-1);
      if (last && BigInt(from) === BigInt(last.to) + 1n) last.to = to;
      else spans.push({ from, to });
    }
    return spans;
  }

  /** Between numbers that do not follow each other there must be a gap, and nowhere else. */
  complete() {
    const { events, spans } = this;
    const missed = events.flatMap((event, at) => {
      const before = events[at - 1];
      return before && numberOf(event.text()) > numberOf(before.text()) + 1 ? [[before.eid, event.eid]] : [];
    });
    const told = JSON.stringify(spans).slice(0, 500);
    check(missed.length > 0 && spans.length === missed.length, `${spans.length} gaps tell of ${missed.length}: ${told}`);
    spans.forEach(({ from, to }, at) => {
      const [before, next] = missed[at].map(BigInt);
      check(BigInt(from) === before + 1n && BigInt(to) < next, `the gap between ${before} and ${next} is ${from} to ${to}`);
    });
  }

  increasing() {
    const eids = this.events.map((event) => BigInt(event.eid));
    eids.forEach((eid, at) => check(at === 0 || eid > eids[at - 1], `EID ${eid} came after ${eids[at - 1]}`));
  }
}

const CASES = {
  async subscribe(stage) {
    const heard = stage.listen("new");
    await heard.subscription.ready;
    await stage.publish(1, 50);
    await heard.have(50);
    same(heard.numbers, numbers(1, 50), "events");
    const { tag, properties } = heard.events[49];
    check(tag === "tag 50" && properties.number === 50n && properties.text === "</script>\u2029", `tag or properties differ: ${tag}`);
    heard.increasing();
  },

  async replay(stage) {
    await stage.publish(1, 300);
    const all = stage.listen("all");
    await all.have(300);
    same(all.numbers, numbers(1, 300), "events");
    all.subscription.close();
    const rest = stage.listen(all.events[99].eid);
    await rest.have(201);
    same(rest.numbers, numbers(100, 300), "events from the hundredth");
  },

  async publish(stage) {
    const answers = await Promise.all(numbers(1, 200).map((n) => stage.session.publish(stage.channel, textOf(n), { tag: `tag ${n}` })));
    const eids = answers.map(({ eid }) => BigInt(eid));
    check(eids.every((eid, at) => at === 0 || eid > eids[at - 1]), "EIDs do not increase");
    check(answers.every(({ duplicate }) => !duplicate), "an event was called a duplicate");
    same(await stage.history(), numbers(1, 200).map(textOf), "history");
    const refused = await stage.session.publish("no such//name", "x").catch((error) => error.code);
    same(refused, "bad_channel_name", "refusal");
  },

  async "lost reply"(stage) {
    await stage.session.publish(stage.channel, textOf(1));
    await stage.ask("deafen");
    const answers = numbers(2, 6).map((n) => stage.session.publish(stage.channel, textOf(n)));
    await stage.ask("stored", { channel: stage.channel, count: 6 });
    await stage.ask("cut");
    const duplicates = (await Promise.all(answers)).map(({ duplicate }) => duplicate);
    // A chain of polls outlives a lost answer, which is then given again; other links are opened anew.
    const anew = stage.session.path.links > 1;
    same(duplicates, duplicates.map(() => anew), "duplicates");
    same(await stage.history(), numbers(1, 6).map(textOf), "history");
  },

  async resume(stage) {
    const heard = stage.listen("new");
    await heard.subscription.ready;
    await stage.publish(1, 20);
    await heard.have(20);
    const { id } = stage.session;
    await stage.ask("down");
    await stage.publish(21, 70);
    await stage.ask("up");
    await stage.publish(71, 80);
    await heard.have(80);
    same(heard.numbers, numbers(1, 80), "events");
    same(stage.session.id, id, "session");
    same(heard.gaps.length, 0, "gaps");
  },

  async gap(stage) {
    await stage.ask("create", { channel: stage.channel, type: "reliable", capacity: 10 });
    const heard = stage.listen("new");
    await heard.subscription.ready;
    await stage.publish(1, 5);
    await heard.have(5);
    await stage.ask("down");
    // More than the realm keeps ready for a chain of polls, which outlives this.
    await stage.publish(6, 2_000);
    await stage.ask("up");
    await heard.until(() => heard.numbers.at(-1) === 2_000);
    const all = heard.numbers;
    same([...all.slice(0, 5), ...all.slice(-10)], [...numbers(1, 5), ...numbers(1_991, 2_000)], "events");
    heard.increasing();
    heard.complete();
  },

  async "several channels"(stage) {
    const names = numbers(1, 20).map((n) => `${stage.channel}/${n}`);
    const listeners = names.map((channel) => stage.listen("new", { channel }));
    await Promise.all(listeners.map(({ subscription }) => subscription.ready));
    const own = names.flatMap((channel) => numbers(1, 10).map((n) => stage.session.publish(channel, textOf(n))));
    await Promise.all(own);
    await Promise.all(names.map((channel) => stage.publish(11, 20, channel)));
    for (const heard of listeners) {
      await heard.have(20);
      same(heard.numbers, numbers(1, 20), "events");
    }
  },

  async "1 MiB event"(stage) {
    const text = Array.from({ length: 16_384 }, (_, n) => `${String(n).padStart(8, "0")}ä€😀 ${"x".repeat(45)}`).join("");
    const filled = text + "y".repeat(1_048_576 - new TextEncoder().encode(text).length);
    const heard = stage.listen("new");
    await heard.subscription.ready;
    await stage.session.publish(stage.channel, filled);
    await heard.have(1);
    check(heard.events[0].text() === filled, "the event is not what was published");
    const refused = await stage.session.publish(stage.channel, `${filled}z`).catch((error) => error.code);
    same(refused, "event_too_large", "one byte more");
  },

  async binary(stage) {
    const every = Uint8Array.from({ length: 256 }, (_, at) => at);
    const long = Uint8Array.from({ length: 100_001 }, (_, at) => (at * 7919) >> 3);
    const heard = stage.listen("new");
    await heard.subscription.ready;
    for (const bytes of [every, long, new Uint8Array(0)]) await stage.session.publish(stage.channel, bytes);
    await heard.have(3);
    for (const [at, bytes] of [every, long, new Uint8Array(0)].entries()) {
      const { data } = heard.events[at];
      check(data instanceof Uint8Array && data.length === bytes.length && data.every((byte, n) => byte === bytes[n]), `event ${at} differs`);
    }
  },

  async "slow consumer"(stage) {
    const subscription = stage.session.subscribe(stage.channel, { from: "all", bufferEventsMax: 20 });
    await subscription.ready;
    await stage.publish(1, 1000);
    const heard = [];
    for await (const event of subscription) {
      heard.push(numberOf(event.text()));
      if (heard.length % 100 === 0) await stage.ask("nothing");
      if (heard.length === 1000) break;
    }
    same(heard, numbers(1, 1000), "events");
  },

  async "server restart"(stage) {
    await stage.ask("create", { channel: stage.channel, type: "persistent" });
    const heard = stage.listen("all");
    await heard.subscription.ready;
    await Promise.all(numbers(1, 30).map((n) => stage.session.publish(stage.channel, textOf(n))));
    await stage.ask("kill");
    const after = numbers(31, 60).map((n) => stage.session.publish(stage.channel, textOf(n)));
    await stage.ask("start");
    await Promise.all(after);
    await stage.publish(61, 70);
    await heard.have(70);
    same(heard.numbers, numbers(1, 70), "events");
    same(heard.gaps.length, 0, "gaps");
    same(await stage.history(), numbers(1, 70).map(textOf), "history");
  },
};

globalThis.caseNames = Object.keys(CASES);

/** Fails after a time that no working case takes. */
function timeout(stage) {
  return new Promise((_, reject) => {
    const late = () => reject(new Error(`not done after ${CASE_MS_MAX} ms: ${stage.session.state}, ${JSON.stringify(stage.session.path)}`));
    setTimeout(late, CASE_MS_MAX);
  });
}

/** Runs a case. `where`: `realm` and `control` are addresses, `transport` and `channel` names, `client` the library. */
globalThis.runCase = async (name, where) => {
  const stage = new Stage(where, await import(where.client));
  try {
    await Promise.race([CASES[name](stage), timeout(stage)]);
    same(stage.session.path.transport, where.transport, "transport");
    check(stage.fault === undefined, `the session complained: ${stage.fault?.message}`);
    return { ok: true };
  } catch (error) {
    return { ok: false, error: String(error.message ?? error), path: JSON.stringify(stage.session.path) };
  } finally {
    await stage.session.close({ flushMs: 0 });
  }
};
