// One row of the fault matrix, as a page sees it: a session that publishes and subscribes, and a diary of its path.

import { steady, verdict } from "./rate.js";
import { numberOf, textOf } from "./text.js";

const DIARY_MS = 20;

class Load {
  constructor(Session, { realm, name, rate, pattern }) {
    Object.assign(this, { name, received: [], acknowledged: 0, faults: [], gaps: 0, duplicates: 0, diary: [], failures: [] });
    this.startedAt = Date.now();
    this.session = new Session(realm);
    this.session.on("error", (error) => this.faults.push(String(error.message)));
    this.session.on("failure", ({ transport, failure }) => this.failures.push([Date.now(), transport, failure]));
    this.session.on("gap", () => (this.gaps += 1));
    this.session.subscribe(`${name}/down`, (event) => this.take(event), { from: "all" });
    this.stop = steady(rate, pattern, (n) => this.publish(n));
    setInterval(() => this.note(), DIARY_MS);
  }

  take(event) {
    this.firstEventMs ??= Date.now() - this.startedAt;
    this.received.push(numberOf(event.text()));
    this.note();
  }

  publish(n) {
    const answered = ({ duplicate }) => {
      this.acknowledged += 1;
      if (duplicate) this.duplicates += 1;
    };
    this.session.publish(`${this.name}/up`, textOf(n)).then(answered, (error) => this.faults.push(`publish ${n}: ${error.message}`));
  }

  /** Writes down which transport carries the session, whenever that changes. */
  note() {
    const transport = this.session.state === "open" ? this.session.path.transport : "none";
    if (this.diary.at(-1)?.transport !== transport) this.diary.push({ at: Date.now(), transport });
  }

  rest() {
    this.published = this.stop();
    return this.published;
  }

  report() {
    const { startedAt, firstEventMs, acknowledged, faults, gaps, duplicates, diary, failures, published } = this;
    const counts = { received: this.received.length, acknowledged, published, gaps, duplicates };
    return { startedAt, firstEventMs, faults: faults.slice(0, 10), ...counts, diary, failures, path: JSON.stringify(this.session.path), state: this.session.state };
  }
}

let load;

globalThis.startLoad = async (options) => {
  const { Session } = await import(`${options.realm}/throughline/v1/client.js`);
  load = new Load(Session, options);
};
globalThis.restLoad = () => load.rest();
globalThis.reportLoad = () => load.report();
/** Whether so many events have come down, and every publish is answered. */
globalThis.loadIsDone = (down) => load.received.length >= down && load.acknowledged + load.faults.length >= load.published;
globalThis.judgeLoad = (down) => verdict(load.received, down);
globalThis.endLoad = () => load.session.close({ flushMs: 0 });
