// What a realm has promised, and the check of a history against it.

/** Data of publish `id` of publisher `name`: its text follows from its key, so that a mangled event shows. */
export function dataOf(name, id) {
  const key = `${name}:${id}`;
  return `${key}:${"x".repeat((id * 37) % 900)}`;
}

function keyOf(data) {
  const [name, id] = data.split(":", 2);
  if (dataOf(name, Number(id)) !== data) throw new Error(`an event holds what nobody published: ${data.slice(0, 80)}`);
  return { name, id: Number(id), key: `${name}:${id}` };
}

export class Ledger {
  constructor() {
    /** EID to key: what publishers were told is stored. */
    this.acknowledged = new Map();
    /** EID to key: what the subscriber was given. */
    this.delivered = new Map();
    /** Keys whose publishers were told that they are not stored. */
    this.refused = new Set();
    /** EID to key: the history as it was last read. */
    this.history = new Map();
    this.places = new Map();
    this.lastEid = 0n;
    this.lastIds = new Map();
  }

  acknowledge(eid, data) {
    const { key } = keyOf(data);
    const known = this.acknowledged.get(eid) ?? key;
    if (known !== key) throw new Error(`EID ${eid} was acknowledged for ${known} and for ${key}`);
    this.acknowledged.set(eid, key);
  }

  refuse(data) {
    this.refused.add(keyOf(data).key);
  }

  deliver(eid, data) {
    const { key } = keyOf(data);
    if (this.delivered.has(eid)) throw new Error(`EID ${eid} was delivered twice`);
    this.delivered.set(eid, key);
  }

  /** Takes the part of the history after what was read before, and holds it against every promise. */
  extend(events) {
    for (const { eid, data } of events) {
      const { name, id, key } = keyOf(data);
      if (BigInt(eid) <= this.lastEid) throw new Error(`EID ${eid} does not increase: it follows ${this.lastEid}`);
      if (this.places.has(key)) throw new Error(`${key} is stored twice: as EID ${this.places.get(key)} and ${eid}`);
      if (id <= (this.lastIds.get(name) ?? 0)) throw new Error(`${key} stands after publish ${this.lastIds.get(name)}`);
      if (this.refused.has(key)) throw new Error(`${key} was refused, yet EID ${eid} holds it`);
      this.lastEid = BigInt(eid);
      this.lastIds.set(name, id);
      this.places.set(key, eid);
      this.history.set(eid, key);
    }
    this.hold(this.acknowledged, "acknowledged");
    this.hold(this.delivered, "delivered");
  }

  hold(promised, word) {
    for (const [eid, key] of promised) {
      const stored = this.history.get(eid);
      if (stored !== key) throw new Error(`${key} was ${word} as EID ${eid}; the history holds ${stored ?? "nothing"} there`);
    }
  }

  /** The whole history, read anew, must be what was read piece by piece. */
  compare(events) {
    const same = events.length === this.history.size && events.every(({ eid, data }) => this.history.get(eid) === keyOf(data).key);
    if (!same) throw new Error(`the history holds ${events.length} events, ${this.history.size} were read piece by piece`);
  }

  /** The subscriber must have been given the whole history. */
  complete() {
    for (const eid of this.history.keys()) {
      if (!this.delivered.has(eid)) throw new Error(`EID ${eid} was never delivered`);
    }
  }
}
