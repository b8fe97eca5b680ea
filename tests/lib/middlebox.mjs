// A middlebox between a browser and a realm: a transparent proxy whose faults can be switched on and off under way.
//
// Without a fault every byte passes. What a fault does stands in faults.mjs; the flows it acts on are below.

import { readFile } from "node:fs/promises";
import { Agent, createServer, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { extname, join, normalize } from "node:path";

import { FrameCounter } from "./frames.mjs";

/** One connection per request, so that what happens to one answer never touches another. */
const agent = new Agent({ keepAlive: false });

const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]);
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8" };
/** A build of the client to test in place of the one that the realm serves: no need to build the server anew. */
const { CLIENT_JS } = process.env;
const API = /\/throughline\/v1\/(websocket|stream|poll|uplink|diagnose)(?:\?|$)/;
const STREAMS = { lines: "http-stream", "event-stream": "event-source", script: "iframe-stream" };

/** Name and value pairs of Node's flat list, without those that a hop keeps to itself. */
export function headers(rawHeaders, drop = HOP_BY_HOP) {
  const kept = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (!drop.has(rawHeaders[at].toLowerCase())) kept.push([rawHeaders[at], rawHeaders[at + 1]]);
  }
  return kept;
}

/** A request or status line with its headers, as bytes. */
export function head(first, pairs) {
  return Buffer.from([first, ...pairs.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n"), "latin1");
}

/** An answer of the middlebox itself: it carries no mark of the realm. */
export function ownAnswer(status, reason) {
  const body = `${status} ${reason}: said by the middlebox\n`;
  const pairs = [["Via", "1.1 middlebox"], ["Content-Type", "text/plain"], ["Content-Length", body.length], ["Connection", "close"]];
  return Buffer.concat([head(`HTTP/1.1 ${status} ${reason}`, pairs), Buffer.from(body)]);
}

/** Writes, and pauses the source while the sink is full. */
function pass(source, sink, bytes) {
  if (sink.writable && !sink.write(bytes)) {
    source.pause();
    sink.once("drain", () => source.resume());
  }
}

/** A connection from the browser, as a firewall that forgets idle flows sees it. */
class Flow {
  constructor(box, socket) {
    this.box = box;
    this.socket = socket;
    this.lastAt = box.now();
    this.forgotten = false;
  }

  /** Notes that bytes want to pass; false once the flow has been forgotten. */
  touch() {
    const idleMs = this.box.fault?.idleMs;
    const now = this.box.now();
    if (idleMs !== undefined && now - this.lastAt > idleMs) this.forgotten = true;
    this.lastAt = now;
    return !this.forgotten;
  }
}

/** A WebSocket on its way through the box. */
export class Tunnel {
  constructor(box, flow, request, early) {
    Object.assign(this, { box, flow, request, early });
    this.client = flow.socket;
    this.established = false;
    this.swallowing = false;
    this.muted = false;
    this.frames = new FrameCounter();
    this.client.on("error", () => {});
  }

  /** Opens the way to the realm; `onframe` of the fault sees each whole frame that the realm sends. */
  open() {
    this.server = connect(this.box.target);
    this.server.setNoDelay(true).on("error", () => {});
    this.server.write(head(`GET ${this.request.url} HTTP/1.1`, headers(this.request.rawHeaders, new Set())));
    this.up(this.early);
    this.client.on("data", (bytes) => this.up(bytes));
    this.server.on("data", (bytes) => (this.established ? this.down(bytes) : this.answer(bytes)));
    this.client.on("close", () => !this.flow.forgotten && this.server.destroy());
    this.client.on("end", () => !this.flow.forgotten && this.server.end());
    this.server.on("end", () => this.flow.touch() && !this.swallowing && this.client.end());
    this.server.on("close", () => !this.flow.forgotten && !this.swallowing && this.client.destroySoon());
  }

  /** Takes the answer to the handshake, up to the end of its head. */
  answer(bytes) {
    this.pending = Buffer.concat([this.pending ?? Buffer.alloc(0), bytes]);
    const end = this.pending.indexOf("\r\n\r\n");
    if (end < 0) return;
    this.established = true;
    this.flow.touch();
    this.client.write(this.pending.subarray(0, end + 4));
    this.frames.ignore = !this.pending.toString("latin1", 0, 12).endsWith(" 101");
    this.box.fault?.established?.(this);
    this.down(this.pending.subarray(end + 4));
  }

  down(bytes) {
    if (bytes.length === 0 || !this.flow.touch() || this.swallowing || this.muted) return;
    const { fault } = this.box;
    for (const part of this.frames.split(bytes)) {
      if (this.swallowing || this.client.destroyed) return;
      pass(this.server, this.client, part);
      if (this.frames.whole) fault?.onframe?.(this);
    }
  }

  up(bytes) {
    if (bytes.length > 0 && this.flow.touch() && !this.swallowing) pass(this.client, this.server, bytes);
  }

  /** From now on nothing passes, in either direction, and nobody is told. */
  swallow() {
    this.swallowing = true;
    this.client.resume();
    this.server?.resume();
  }

  /** From now on nothing passes that the realm says. */
  mute() {
    this.muted = true;
  }

  /** Ends the WebSocket with a reset to both sides. */
  reset() {
    this.client.resetAndDestroy();
    this.server?.destroy();
  }

  /** Answers in the realm's place. */
  refuse(status, reason) {
    this.client.end(ownAnswer(status, reason));
  }
}

/** One request and its answer on their way through the box. */
export class Exchange {
  constructor(box, flow, request, response) {
    Object.assign(this, { box, flow, request, response });
    this.holdBytes = 0;
    this.muted = false;
    this.held = [];
    this.heldBytes = 0;
    this.timers = [];
    response.on("close", () => this.end());
    response.on("error", () => {});
  }

  open() {
    const { request } = this;
    const pairs = headers(request.rawHeaders, new Set(["connection", "keep-alive"])).flat();
    this.upstream = httpRequest({ ...this.box.target, agent, method: request.method, path: request.url, headers: pairs, setHost: false });
    this.upstream.on("response", (answer) => this.answer(answer));
    this.upstream.on("error", () => this.cut());
    request.on("data", (bytes) => this.flow.touch() && this.upstream.write(bytes));
    request.on("end", () => this.flow.touch() && this.upstream.end());
  }

  answer(answer) {
    this.incoming = answer;
    if (this.box.fault?.answered?.(this)) return;
    if (this.holdBytes === 0) this.writeHead();
    answer.on("data", (bytes) => this.take(bytes));
    answer.on("end", () => this.finish());
    answer.on("error", () => this.cut());
    answer.on("aborted", () => this.cut());
  }

  writeHead() {
    if (this.response.headersSent || this.muted || !this.flow.touch()) return;
    const { statusCode, statusMessage, rawHeaders } = this.incoming;
    this.response.sendDate = false;
    this.response.writeHead(statusCode, statusMessage, headers(rawHeaders).flat());
    this.response.flushHeaders();
  }

  take(bytes) {
    if (this.muted || !this.flow.touch()) return;
    if (this.holdBytes === 0) return pass(this.incoming, this.response, bytes);
    this.held.push(bytes);
    this.heldBytes += bytes.length;
    if (this.heldBytes < this.holdBytes) return;
    const all = Buffer.concat(this.held);
    const whole = all.length - (all.length % this.holdBytes);
    this.held = [all.subarray(whole)];
    this.heldBytes = all.length - whole;
    this.writeHead();
    this.response.write(all.subarray(0, whole));
  }

  finish() {
    if (this.muted || !this.flow.touch()) return;
    this.writeHead();
    for (const bytes of this.held) this.response.write(bytes);
    this.response.end();
  }

  /** From now on nothing of the answer passes. */
  mute() {
    this.muted = true;
  }

  /** From now on the answer passes in blocks of so many bytes, and what is left at its end. */
  hold(bytes) {
    this.holdBytes = bytes;
  }

  /** Calls after so many milliseconds, unless the exchange is over. */
  later(ms, call) {
    this.timers.push(setTimeout(call, ms));
  }

  /** Answers in the realm's place. */
  refuse(status, reason) {
    if (this.response.headersSent) return this.cut();
    // What is unread when a socket closes would turn the answer into a reset.
    this.request.resume();
    this.flow.socket.end(ownAnswer(status, reason));
    this.end();
  }

  /** Breaks the answer off with a reset. */
  cut() {
    if (!this.flow.forgotten && !this.response.writableEnded) this.flow.socket.resetAndDestroy();
    this.end();
  }

  end() {
    for (const timer of this.timers) clearTimeout(timer);
    this.box.exchanges.delete(this);
    // A firewall that has forgotten a flow does not pass its end on either.
    if (!this.flow.forgotten) this.upstream?.destroy();
  }
}

export class Middlebox {
  /**
   * Starts a box in front of the realm at `upstream`. Files below `files` are served as /harness/..., whatever the
   * fault; `control`, if given, answers requests to /control/... with JSON.
   */
  static async start(upstream, { files, control, host = "127.0.0.1", now = () => performance.now() } = {}) {
    const box = new Middlebox();
    Object.assign(box, { files, control, now });
    if (upstream !== undefined) box.retarget(upstream);
    box.flows = new WeakMap();
    box.sockets = new Set();
    box.tunnels = new Set();
    box.exchanges = new Set();
    box.links = new Set();
    /** Link openings: WebSocket handshakes, stream requests, first polls of a chain. */
    box.openings = [];
    /** Every request below /throughline/v1 that is part of a link, or asks about one. */
    box.requests = [];
    box.server = createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 75_000 });
    box.server.on("connection", (socket) => box.connection(socket));
    box.server.on("request", (request, response) => box.exchange(request, response));
    box.server.on("upgrade", (request, socket, early) => box.upgrade(request, socket, early));
    await new Promise((resolve, reject) => box.server.once("error", reject).listen(0, host, resolve));
    box.url = `http://${host}:${box.server.address().port}`;
    return box;
  }

  /** Puts the box in front of another realm. */
  retarget(upstream) {
    const { hostname, port } = new URL(upstream);
    this.target = { host: hostname, port: Number(port) };
  }

  /** Switches a fault on, or with `undefined` off. What is under way suffers it too; what it has broken stays broken. */
  apply(fault) {
    this.fault = fault;
    if (fault === undefined) return;
    for (const tunnel of this.tunnels) if (tunnel.established) fault.established?.(tunnel);
    for (const exchange of this.exchanges) fault.underway?.(exchange);
  }

  /** Breaks everything that is under way, as a change of the network does. */
  cut() {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  connection(socket) {
    socket.setNoDelay(true);
    if (this.fault?.connection?.(socket)) return;
    this.flows.set(socket, new Flow(this, socket));
    this.sockets.add(socket);
    socket.on("close", () => this.sockets.delete(socket));
  }

  count(request, upgrade) {
    const kind = API.exec(request.url)?.[1];
    if (kind === undefined) return;
    const query = new URL(request.url, this.url).searchParams;
    const at = this.now();
    this.requests.push({ at, kind, method: request.method, url: request.url });
    const link = query.get("link") ?? "";
    if (kind === "websocket" && upgrade) this.openings.push({ at, transport: "websocket" });
    if (kind === "stream") this.openings.push({ at, transport: STREAMS[query.get("as")] ?? "unknown", link });
    if (kind === "poll" && !this.links.has(link)) {
      this.openings.push({ at, transport: query.has("callback") ? "jsonp-poll" : "long-poll", link });
    }
    if (kind === "poll") this.links.add(link);
  }

  upgrade(request, socket, early) {
    this.count(request, true);
    const flow = this.flows.get(socket);
    const tunnel = new Tunnel(this, flow, request, early);
    this.tunnels.add(tunnel);
    socket.on("close", () => this.tunnels.delete(tunnel));
    if (!flow.touch() || this.fault?.upgrade?.(tunnel)) return;
    tunnel.open();
  }

  exchange(request, response) {
    if (request.url.startsWith("/harness/")) return void this.file(request, response);
    if (CLIENT_JS && request.url === "/throughline/v1/client.js") return void this.send(CLIENT_JS, response);
    if (request.url.startsWith("/control/")) return void this.ask(request, response);
    this.count(request, false);
    const flow = this.flows.get(request.socket);
    if (!flow.touch()) return;
    const exchange = new Exchange(this, flow, request, response);
    this.exchanges.add(exchange);
    if (this.fault?.request?.(exchange)) return;
    this.fault?.underway?.(exchange);
    exchange.open();
  }

  file(request, response) {
    const path = normalize(new URL(request.url, this.url).pathname.slice("/harness".length));
    return this.send(join(this.files, path), response);
  }

  async send(path, response) {
    try {
      const bytes = await readFile(path);
      response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "text/plain", "Cache-Control": "no-store" }).end(bytes);
    } catch (error) {
      response.writeHead(404).end(String(error));
    }
  }

  async ask(request, response) {
    const url = new URL(request.url, this.url);
    const open = { "Access-Control-Allow-Origin": "*", "Cache-Control": "no-store", "Content-Type": "application/json" };
    try {
      const answer = await this.control(url.pathname.slice("/control/".length), Object.fromEntries(url.searchParams));
      response.writeHead(200, open).end(JSON.stringify(answer ?? null));
    } catch (error) {
      response.writeHead(500, open).end(JSON.stringify({ error: String(error.stack ?? error) }));
    }
  }
}
