// What middleboxes do to a path, one fault per row of the matrix.
//
// Members of a fault, all optional: `upgrade(tunnel)` sees a handshake, `request(exchange)` a request; each returns true
// when it has dealt with it. `established(tunnel)` sees a WebSocket after its 101, and those that live when the fault is
// switched on; `onframe(tunnel)` each frame that the realm has sent. `underway(exchange)` sees a request before it goes
// on, and those under way when the fault is switched on; `answered(exchange)` the head of its answer.

import { connect } from "node:net";

import { head, headers } from "./middlebox.mjs";

const reset = (tunnel) => tunnel.reset();
const refuse403 = (tunnel) => (tunnel.refuse(403, "Forbidden"), true);

/** No WebSocket: what is left is HTTP. */
const withoutWebSocket = { upgrade: refuse403, established: reset };

/** Reads a whole request body; gives up above `max` bytes. */
function body(request, max, done) {
  const parts = [];
  let size = 0;
  request.on("data", (bytes) => {
    parts.push(bytes);
    size += bytes.length;
    if (size > max) done(undefined);
  });
  request.on("end", () => size <= max && done(Buffer.concat(parts)));
}

/** Passes a request on as another hop would write it, and the answer until the realm closes. */
function relay(box, socket, request, { version, bytes = Buffer.alloc(0) }) {
  const server = connect(box.target);
  const first = `${request.method} ${request.url} HTTP/${version}`;
  const via = ["Via", `${version} middlebox`];
  server.write(Buffer.concat([head(first, [...headers(request.rawHeaders), via, ["Connection", "close"]]), bytes]));
  let rewritten = version !== "1.0";
  server.on("data", (part) => {
    const text = rewritten ? part : Buffer.concat([Buffer.from("HTTP/1.0"), part.subarray(8)]);
    rewritten = true;
    if (socket.writable && !socket.write(text)) {
      server.pause();
      socket.once("drain", () => server.resume());
    }
  });
  server.on("end", () => socket.end());
  server.on("error", () => socket.destroy());
  socket.on("error", () => server.destroy());
  socket.on("close", () => server.destroy());
}

/** Every request becomes HTTP/1.0: no upgrade, no chunks, the answer ends with the connection. */
function http10() {
  return {
    established: reset,
    underway: (exchange) => exchange.response.headersSent && exchange.cut(),
    upgrade({ box, client, request }) {
      relay(box, client, request, { version: "1.0" });
      return true;
    },
    request({ box, flow, request }) {
      body(request, 64 << 20, (bytes) => bytes && relay(box, flow.socket, request, { version: "1.0", bytes }));
      return true;
    },
  };
}

/** GET and POST with little in them, answered by little; nothing else. */
function smallOnly({ requestBytesMax = 16_384, answerBytesMax = 262_144 } = {}) {
  return {
    upgrade: refuse403,
    established: reset,
    underway: (exchange) => exchange.response.headersSent && exchange.cut(),
    request(exchange) {
      const { method, url, headers: fields } = exchange.request;
      if (method !== "GET" && method !== "POST") return exchange.refuse(405, "Method Not Allowed"), true;
      if (url.length > 2048) return exchange.refuse(414, "URI Too Long"), true;
      const large = fields["transfer-encoding"] !== undefined || Number(fields["content-length"] ?? 0) > requestBytesMax;
      if (large) return exchange.refuse(413, "Content Too Large"), true;
      return false;
    },
    answered(exchange) {
      const size = Number(exchange.incoming.headers["content-length"] ?? Infinity);
      if (size <= answerBytesMax) return false;
      exchange.refuse(502, "Bad Gateway");
      return true;
    },
  };
}

/** The first frames of the realm pass, then the WebSocket is cut. */
function framesThenCut({ frames = 3 } = {}) {
  const passed = new WeakMap();
  const start = (tunnel) => passed.set(tunnel, 0);
  return {
    established: start,
    onframe(tunnel) {
      const count = (passed.get(tunnel) ?? 0) + 1;
      passed.set(tunnel, count);
      if (count >= frames) tunnel.reset();
    },
  };
}

const FAULTS = {
  refuse: () => withoutWebSocket,
  reset: () => ({ upgrade: (tunnel) => (tunnel.reset(), true), established: reset }),
  "black-hole": () => ({ upgrade: (tunnel) => (tunnel.swallow(), true), established: (tunnel) => tunnel.swallow() }),
  cut: ({ cutMs = 200 } = {}) => ({
    established(tunnel) {
      tunnel.swallow();
      setTimeout(() => tunnel.reset(), cutMs);
    },
  }),
  swallow: () => ({ established: (tunnel) => tunnel.swallow() }),
  "frames-then-cut": framesThenCut,
  "buffer-end": () => ({ ...withoutWebSocket, underway: (exchange) => exchange.hold(Infinity) }),
  "buffer-16k": () => ({ ...withoutWebSocket, underway: (exchange) => exchange.hold(16_384) }),
  "stream-cut": ({ cutMs = 15_000 } = {}) => ({
    ...withoutWebSocket,
    underway: (exchange) => exchange.later(cutMs, () => exchange.refuse(504, "Gateway Timeout")),
  }),
  "idle-drop": ({ idleMs = 20_000 } = {}) => ({ idleMs }),
  "idle-drop-http": ({ idleMs = 20_000 } = {}) => ({ ...withoutWebSocket, idleMs }),
  http10,
  strip: () => ({
    established: reset,
    upgrade({ box, client, request }) {
      relay(box, client, request, { version: "1.1" });
      return true;
    },
  }),
  "small-only": smallOnly,
  /** What the browser says passes; what the realm says does not. */
  deaf: () => ({ established: (tunnel) => tunnel.mute(), underway: (exchange) => exchange.mute() }),
  /** Nothing passes at all. */
  down: () => ({
    connection: (socket) => (socket.resetAndDestroy(), true),
    upgrade: (tunnel) => (tunnel.reset(), true),
    request: (exchange) => (exchange.cut(), true),
    established: reset,
    underway: (exchange) => exchange.cut(),
  }),
};

/** The names of all faults. */
export const faultNames = Object.keys(FAULTS);

/** A new fault by its name. */
export function newFault(name, parameters) {
  const make = FAULTS[name];
  if (make === undefined) throw new Error(`no fault is called ${name}; there are ${faultNames.join(", ")}`);
  return { name, ...make(parameters) };
}
