// What a page of the conformance suite asks of the other side: publishing, cutting, restarting.

import { textOf } from "../harness/text.js";
import { newFault } from "./faults.mjs";
import { Link } from "./link.mjs";

export class Backstage {
  constructor(realm, box) {
    Object.assign(this, { realm, box });
  }

  /** Does what the page asks for; unknown commands are errors. */
  control(command, parameters) {
    if (!COMMANDS.has(command)) throw new Error(`no command is called ${command}`);
    return this[command](parameters);
  }

  nothing() {}

  /** Publishes texts of these numbers, and waits for the answers. */
  async publish({ channel, from, to }) {
    const link = await Link.open(this.realm.websocket);
    const last = Number(to) - Number(from) + 1;
    for (let id = 1; id <= last; id++) {
      const n = Number(from) + id - 1;
      const properties = { number: { long: String(n) }, text: "</script>\u2029" };
      link.send({ type: "publish", id, channel, data: textOf(n), tag: `tag ${n}`, properties });
      if (id % 200 === 0 || id === last) {
        const reply = await link.until((message) => message.type === "reply" && message.id === id);
        if (reply.error) throw new Error(`publish: ${reply.error.message}`);
      }
    }
    await link.close();
  }

  async history({ channel }) {
    return (await this.realm.replay(channel)).map((event) => event.data);
  }

  /** Resolves when the realm holds so many events of the channel. */
  async stored({ channel, count }) {
    const link = await Link.open(this.realm.websocket);
    await link.request({ type: "subscribe", id: 1, channel, from: "all" });
    await link.until(() => link.received.filter(({ type }) => type === "event").length >= Number(count));
    await link.close();
  }

  create({ channel, type, capacity }) {
    return this.realm.createChannel(channel, { type, ...(capacity && { capacity: Number(capacity) }) });
  }

  /** From now on the page hears nothing. */
  deafen() {
    this.box.apply(newFault("deaf"));
  }

  /** Breaks every connection; new ones are healthy. */
  cut() {
    this.box.apply(undefined);
    this.box.cut();
  }

  down() {
    this.box.apply(newFault("down"));
  }

  up() {
    this.box.apply(undefined);
  }

  kill() {
    return this.realm.kill();
  }

  start() {
    return this.realm.up();
  }
}

const COMMANDS = new Set(["nothing", "publish", "history", "stored", "create", "deafen", "cut", "down", "up", "kill", "start"]);
