// Publishers and a subscriber that go on over every restart, and write down what they are told.

import { Link } from "./link.mjs";
import { dataOf } from "./ledger.mjs";

/** Publishes without end, `window` at a time, and repeats after a restart what was not answered. */
export class Publisher {
  constructor(name, channel, ledger, { window = 32, onanswer = () => {} } = {}) {
    Object.assign(this, { name, channel, ledger, window, windowMax: window, onanswer });
    this.lastId = 0;
    this.unanswered = new Map();
    this.paused = false;
  }

  async connect(url) {
    this.link = await Link.open(url, { session: this.session, keep: false, onmessage: (message) => this.take(message) });
    this.session = this.link.welcome.session;
    for (const [id, data] of this.unanswered) this.publish(id, data);
    this.fill();
  }

  publish(id, data) {
    this.link.send({ type: "publish", id, channel: this.channel, data });
  }

  fill() {
    while (!this.paused && this.unanswered.size < this.window) {
      const id = ++this.lastId;
      this.unanswered.set(id, dataOf(this.name, id));
      this.publish(id, this.unanswered.get(id));
    }
  }

  take(message) {
    if (message.type !== "reply") return;
    const data = this.unanswered.get(message.id);
    if (data === undefined) throw new Error(`${this.name}: an answer to ${message.id}, which was answered before`);
    this.unanswered.delete(message.id);
    if (message.error) this.ledger.refuse(data);
    else this.ledger.acknowledge(message.eid, data);
    // Who is refused asks one at a time until there is room again.
    this.window = message.error ? 1 : this.windowMax;
    this.onanswer(message);
    this.fill();
  }

  /** Publishes no more; resolves when everything is answered. */
  async rest() {
    this.paused = true;
    if (this.unanswered.size > 0) await this.link.until(() => this.unanswered.size === 0);
  }
}

/** Receives a channel from its beginning, and resumes at its cursor. */
export class Subscriber {
  constructor(channel, ledger) {
    Object.assign(this, { channel, ledger });
    this.lastId = 0;
    this.cursor = undefined;
  }

  async connect(url) {
    const onmessage = (message) => this.take(message);
    this.link = await Link.open(url, { session: this.session, keep: false, onmessage });
    this.session = this.link.welcome.session;
    const position = this.epoch ? { after: this.cursor, epoch: this.epoch } : { from: "all" };
    const reply = await this.link.request({ type: "subscribe", id: ++this.lastId, channel: this.channel, ...position });
    if (reply.error) throw new Error(`subscribe: ${reply.error.code}: ${reply.error.message}`);
  }

  take(message) {
    if (message.type === "reply" && !message.error) {
      if (this.epoch && message.epoch !== this.epoch) throw new Error(`the epoch changed from ${this.epoch} to ${message.epoch}`);
      this.epoch = message.epoch;
      this.cursor ??= message.eid;
    }
    if (message.type === "gap") throw new Error(`a persistent channel reports a gap: ${JSON.stringify(message)}`);
    if (message.type !== "event") return;
    if (BigInt(message.eid) <= BigInt(this.cursor)) throw new Error(`EID ${message.eid} came after ${this.cursor}`);
    this.cursor = message.eid;
    this.ledger.deliver(message.eid, message.data);
  }

  /** Resolves when the subscription has been given this EID. */
  async reach(eid) {
    if (BigInt(this.cursor) < eid) await this.link.until(() => BigInt(this.cursor) >= eid);
  }
}
