// Links over the HTTP transports, written from PROTOCOL.md alone over node's http: streams in each form, and polls.

import { randomBytes } from "node:crypto";
import { Agent, request } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: 1000 });
let unique = 0;

/** What a browser says of scripts and frames of the realm's own pages. */
export const OWN_PAGE = { "Sec-Fetch-Site": "same-origin" };

export const newLink = () => randomBytes(16).toString("hex");

/** The address of a request. */
export function address(base, path, query) {
  const url = new URL(`${base}/throughline/v1/${path}`);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  url.searchParams.set("u", String(++unique));
  return url;
}

/** One request to its end. */
export async function ask(base, path, query, { method = "GET", body, headers = {} } = {}) {
  const response = await begin(address(base, path, query), { method, body, headers });
  const parts = [];
  for await (const part of response) parts.push(part);
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() };
}

const connections = new Map();

/** From now on requests to an origin go over this connection, a client session of node's http2. */
export function carry(origin, session) {
  connections.set(origin, session);
}

/** A request over HTTP/2 up to the head of its answer, which looks like one of HTTP/1. */
function beginStream(session, url, { method, body, headers }) {
  return new Promise((resolve, reject) => {
    const named = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    const stream = session.request({ ":method": method, ":path": url.pathname + url.search, ...named }, { endStream: body === undefined });
    stream.on("response", (answer) => resolve(Object.assign(stream, { statusCode: answer[":status"], headers: answer })));
    stream.on("error", reject);
    if (body !== undefined) stream.end(body);
  });
}

/** A request up to the head of its answer. */
export function begin(url, { method = "GET", body, headers = {} } = {}) {
  const session = connections.get(url.origin);
  if (session) return beginStream(session, url, { method, body, headers });
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers: body === undefined ? headers : { "Content-Type": "text/plain;charset=UTF-8", ...headers }, agent });
    outgoing.on("response", resolve).on("error", reject);
    outgoing.end(body);
  });
}

/** The messages in the text of an answer to a poll, which is checked to begin with its number. */
function lines(text) {
  const all = text.split("\n");
  if (all.pop() !== "") throw new Error(`a line is cut: ${text.slice(-100)}`);
  return all.filter((line) => line.trim() !== "").map((line) => JSON.parse(line));
}

/** What a script of JSONP calls its function with. */
export function jsonp(script, callback) {
  let given;
  new Function(callback, script)((text) => (given = text));
  return given;
}

/** Cuts whole messages off the front of a stream's text: gives them, and the rest. */
const FORMS = {
  lines: (text) => split(text, "\n", (line) => line),
  "event-stream": (text) =>
    split(text, "\n\n", (event) =>
      event
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trim())
        .join("\n"),
    ),
  script: (text) => split(text, "</script>\n", (element) => /<script>m\((".*")\)$/.exec(element)?.[1] ?? "", (literal) => (literal ? new Function(`return ${literal}`)() : "")),
};

function split(text, end, content, read = (found) => found) {
  const parts = text.split(end);
  const rest = parts.pop();
  const found = parts.map((part) => read(content(part))).filter((part) => part.trim() !== "");
  return { messages: found.map((part) => JSON.parse(part)), rest };
}

/** What all kinds have in common: messages that came, and an uplink in pieces. */
class HttpLink {
  constructor(base) {
    this.base = base;
    this.link = newLink();
    this.received = [];
    this.waiting = new Set();
    this.piece = 1;
    this.sent = Promise.resolve();
  }

  take(message) {
    this.received.push(message);
    if (message.type === "close") this.ended = message;
    if (message.type === "ping") this.say({ type: "pong" }).catch(() => undefined);
    for (const check of this.waiting) check();
  }

  over(error) {
    this.broken ??= error ?? new Error("the link is over");
    for (const check of this.waiting) check();
  }

  /** The first message, kept or to come, that fits. */
  until(fits) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.received.find(fits);
        if (found === undefined && this.broken === undefined) return;
        this.waiting.delete(check);
        if (found !== undefined) resolve(found);
        else reject(this.broken);
      };
      this.waiting.add(check);
      check();
    });
  }

  /** Sends bytes of the uplink as its next piece; one at a time. */
  send(bytes) {
    const n = this.piece++;
    const answer = this.sent.then(() => ask(this.base, "uplink", { link: this.link, n }, { method: "POST", body: bytes }));
    this.sent = answer.then(({ status, text }) => {
      if (status !== 200 || JSON.parse(text).n !== n) throw new Error(`piece ${n}: ${status} ${text}`);
    });
    return this.sent;
  }

  say(message) {
    return this.send(`${JSON.stringify(message)}\n`);
  }

  async request(message) {
    await this.say(message);
    return this.until((reply) => reply.type === "reply" && reply.id === message.id);
  }

  connect(session) {
    return `${JSON.stringify({ type: "connect", versions: [1], ...(session && { session }) })}\n`;
  }
}

export class Stream extends HttpLink {
  /** Opens a stream in one of the forms and waits for the welcome. */
  static async open(base, { as = "lines", session, headers, method = "POST" } = {}) {
    const link = new Stream(base);
    const query = { link: link.link, as, n: link.piece++, ...(as === "script" && { origin: base }) };
    const first = link.connect(session);
    const options = method === "POST" ? { method, body: first, headers } : { method, headers };
    link.response = await begin(address(base, "stream", method === "POST" ? query : { ...query, m: first }), options);
    if (link.response.statusCode !== 200) throw new Error(`the stream was refused: ${link.response.statusCode}`);
    link.bytes = 0;
    let text = "";
    link.response.setEncoding("utf8").on("data", (data) => {
      link.bytes += data.length;
      const { messages, rest } = FORMS[as](text + data);
      text = rest;
      for (const message of messages) link.take(message);
    });
    link.finished = new Promise((resolve) => {
      link.response.on("end", () => resolve("end")).on("error", () => resolve("cut"));
      link.response.on("close", () => link.over());
    });
    link.welcome = await link.until((message) => message.type === "welcome");
    return link;
  }

  drop() {
    this.response.destroy();
  }
}

export class Polled extends HttpLink {
  /** Opens a link on polls, which asks again and again until it is stopped, and waits for the welcome. */
  static async open(base, { session, callback, hold = 2000 } = {}) {
    const link = new Polled(base);
    Object.assign(link, { callback, hold, ack: 0, answers: [] });
    const first = link.connect(session);
    const given = callback ? await link.poll({ n: link.piece++, m: first }) : await link.poll({ n: link.piece++ }, first);
    if (given.status !== 200) throw new Error(`the poll was refused: ${given.status} ${given.text}`);
    link.running = link.run();
    link.welcome = await link.until((message) => message.type === "welcome");
    return link;
  }

  /** One poll; its messages are taken, unless it was one that was taken before. */
  async poll(more = {}, body) {
    const { link, callback, hold, ack } = this;
    const query = { link, ack, hold, ...more, ...(callback && { callback }) };
    const given = await ask(this.base, "poll", query, body === undefined ? { headers: OWN_PAGE } : { method: "POST", body });
    if (given.status !== 200) return given;
    const [head, ...messages] = lines(callback ? jsonp(given.text, callback) : given.text);
    if (head.type === "error") return { ...given, status: 400, text: JSON.stringify(head) };
    this.answers.push(head.number);
    if (head.number > this.ack) {
      this.ack = head.number;
      for (const message of messages) this.take(message);
    }
    return given;
  }

  async run() {
    this.broken = undefined;
    this.stopped = false;
    while (!this.stopped && !this.ended) {
      const given = await this.poll().catch((error) => ({ text: error.message }));
      if (given.status !== 200) return this.over(new Error(`${given.status} ${given.text}`));
    }
    this.over();
  }

  stop() {
    this.stopped = true;
    return this.running;
  }
}

/** Every way to open a link over HTTP, for tests that hold for all. */
export const WAYS = {
  "http-stream": (base, options) => Stream.open(base, options),
  "event-source": (base, options) => Stream.open(base, { ...options, as: "event-stream", method: "GET", headers: OWN_PAGE }),
  "iframe-stream": (base, options) => Stream.open(base, { ...options, as: "script", method: "GET", headers: OWN_PAGE }),
  "long-poll": (base, options) => Polled.open(base, options),
  "jsonp-poll": (base, options) => Polled.open(base, { ...options, callback: "take_it$1" }),
};
