// A client written from PROTOCOL.md alone, over the foreign `ws`: a session that keeps its cursors and repeats what
// was not answered. It shares no code with the clients that are shipped.

import WebSocket from "ws";

export class Link {
  /**
   * Opens a link and waits for the welcome. `session` resumes one; without `keep`, only `onmessage` sees what comes; `socket` is one that
   * is opening, in place of the address.
   */
  static async open(url, { session, keep = true, onmessage = () => {}, tls = {}, socket } = {}) {
    const link = new Link();
    link.keep = keep;
    link.onmessage = onmessage;
    link.socket = socket ?? new WebSocket(url, "throughline.v1", tls);
    link.received = [];
    link.waiting = new Set();
    link.socket.on("message", (data, binary) => link.take(data, binary));
    link.closed = new Promise((resolve) => {
      link.socket.on("close", (code, reason) => {
        link.ended = { code, reason: reason.toString() };
        resolve(link.ended);
        for (const waiter of link.waiting) waiter();
      });
    });
    link.socket.on("error", () => {});
    link.socket.on("open", () => link.send({ type: "connect", versions: [1], ...(session && { session }) }));
    link.welcome = await link.until((message) => message.type === "welcome");
    return link;
  }

  take(data, binary) {
    const message = binary ? decode(data) : JSON.parse(data.toString());
    if (message.type === "ping") this.send({ type: "pong" });
    if (this.keep) this.received.push(message);
    this.onmessage(message);
    for (const waiter of this.waiting) waiter(message);
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  /** The first message, kept or to come, that fits; fails when the link closes before. */
  until(fits) {
    const kept = this.received.find(fits);
    if (kept) return Promise.resolve(kept);
    return new Promise((resolve, reject) => {
      const waiter = (message) => {
        if (this.ended === undefined && !fits(message)) return;
        this.waiting.delete(waiter);
        if (this.ended === undefined) resolve(message);
        else reject(new Error(`the link closed before: ${this.ended.code} ${this.ended.reason}`));
      };
      this.waiting.add(waiter);
      if (this.ended) waiter();
    });
  }

  /** Sends a request and waits for its reply. */
  request(message) {
    this.send(message);
    return this.until((reply) => reply.type === "reply" && reply.id === message.id);
  }

  async close() {
    this.socket.close(1000);
    return this.closed;
  }
}

/** The binary carriage of section 2. */
function decode(bytes) {
  const length = bytes.readUInt32BE(0);
  const message = JSON.parse(bytes.subarray(4, 4 + length).toString());
  message.bytes = bytes.subarray(4 + length);
  return message;
}
