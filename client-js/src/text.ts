// The carriage where binary messages do not pass: PROTOCOL.md section 2.

import { type ClientMessage, type Frame, encode, publishJson } from "./messages.js";

const SLICE_BYTES = 8_192;

/** A message as text; bytes of a publish as base64. */
export function encodeText(message: ClientMessage): Frame {
  if (message.type !== "publish" || typeof message.body.data === "string") return encode(message);
  return publishJson(message, { base64: toBase64(message.body.data) });
}

/** In slices, because arguments of a call are limited. */
function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) text += String.fromCharCode(...bytes.subarray(at, at + SLICE_BYTES));
  return btoa(text);
}
