// What an application imports, whichever build it takes.

export { Session } from "./client.js";
export type { Path, Published, SessionEvents, SessionOptions, StateChange } from "./client.js";
export { CloseCode } from "./close.js";
export { ThroughlineError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { ThroughlineEvent } from "./event.js";
export type { PathFailure } from "./failure.js";
export { compareEids } from "./messages.js";
export type { Eid, From, GapReason, Limits, Position, PublishOptions } from "./messages.js";
export { Typed, byte, char, float, integer, long } from "./properties.js";
export type { Properties, PropertyValue, TypedName } from "./properties.js";
export type { State } from "./session.js";
export type { Callback, Gap, SubscribeOptions, Subscription, SubscriptionEvents } from "./subscription.js";
export type { Failure, TransportName } from "./transports/transport.js";
