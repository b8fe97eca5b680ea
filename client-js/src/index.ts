/**
 * Throughline's client for browsers: live events in order, without loss or repetition.
 *
 * @example
 * const session = new Session("https://example.org");
 * session.subscribe("prices", (event) => console.log(event.eid, event.text()));
 * await session.publish("prices", "hello");
 */
import { setScript } from "./environment.js";

export { Session } from "./client.js";
export type { Path, PublishOptions, Published, SessionEvents, SessionOptions, StateChange } from "./client.js";
export { CloseCode } from "./close.js";
export { ThroughlineError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { ThroughlineEvent } from "./event.js";
export { compareEids } from "./messages.js";
export type { Eid, From, GapReason, Limits, Position } from "./messages.js";
export { Typed, byte, char, float, integer, long } from "./properties.js";
export type { Properties, PropertyValue, TypedName } from "./properties.js";
export type { State } from "./session.js";
export type { Callback, Gap, SubscribeOptions, Subscription, SubscriptionEvents } from "./subscription.js";

setScript((import.meta as { readonly url?: string }).url);
