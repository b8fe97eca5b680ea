// HTTP/2 over node's own client: one connection for many requests, and WebSockets within it (RFC 8441).

import { connect } from "node:http2";

import WebSocket from "ws";

/** Opens a connection and waits for the realm's settings. */
export async function open(url, options = {}) {
  const session = connect(url, options);
  session.on("error", () => {});
  await new Promise((resolve, reject) => session.once("remoteSettings", resolve).once("error", reject));
  return session;
}

/** A request to its end. */
export async function ask(session, headers, body) {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return answered(stream);
}

/** All of the answer to a request. */
export async function answered(stream) {
  const head = await new Promise((resolve, reject) => stream.once("response", resolve).once("error", reject));
  const parts = [];
  for await (const part of stream) parts.push(part);
  return { status: head[":status"], headers: head, text: Buffer.concat(parts).toString() };
}

/** What opens a WebSocket; further headers go before. */
export const handshake = (path = "/throughline/v1/websocket", more = {}) => ({
  ":method": "CONNECT",
  ":protocol": "websocket",
  ":path": path,
  "sec-websocket-version": "13",
  "sec-websocket-protocol": "throughline.v1",
  ...more,
});

/** A stream that is a WebSocket, and the head of its answer. */
export async function connected(session, headers = handshake()) {
  const stream = session.request(headers, { endStream: false });
  const head = await new Promise((resolve, reject) => stream.once("response", resolve).once("error", reject));
  return { stream, head };
}

/** A WebSocket of the library `ws` on a stream; it opens once its listeners can be there. */
export async function websocket(session) {
  const { stream } = await connected(session);
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
  // What it is given is a client's end, which masks.
  socket._isServer = false;
  setImmediate(() => socket.setSocket(stream, Buffer.alloc(0), { allowSynchronousEvents: true, maxPayload: 1 << 26, skipUTF8Validation: false }));
  return socket;
}
