// The other party of a matrix row: on the healthy side of the middlebox it publishes and subscribes without end.

import { steady, verdict } from "../harness/rate.js";
import { numberOf, textOf } from "../harness/text.js";
import { Link } from "./link.mjs";

export class Peer {
  /** Begins to publish to `name`/down and to listen to `name`/up. */
  static async start(realm, name, { rate, pattern }) {
    const peer = new Peer();
    peer.received = [];
    peer.link = await Link.open(realm.websocket, { keep: false, onmessage: (message) => peer.take(message) });
    const reply = await peer.link.request({ type: "subscribe", id: 1, channel: `${name}/up`, from: "all" });
    if (reply.error) throw new Error(reply.error.message);
    peer.stop = steady(rate, pattern, (n) => peer.link.send({ type: "publish", id: n + 2, channel: `${name}/down`, data: textOf(n) }));
    return peer;
  }

  take(message) {
    if (message.type === "event") this.received.push(numberOf(message.data));
    if (message.type === "gap") throw new Error(`the peer missed events: ${JSON.stringify(message)}`);
    if (message.type === "reply" && message.error) throw new Error(`the peer was refused: ${message.error.message}`);
  }

  /** Publishes no more; how many there were. */
  rest() {
    return this.stop();
  }

  judge(count) {
    return verdict(this.received, count);
  }

  async end() {
    this.stop?.();
    await this.link.close();
  }
}
