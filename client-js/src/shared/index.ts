// The client with all that it has, and `connect`, by which the tabs of an origin share a session.
export * from "../index.js";
export { connect } from "./connect.js";
export type { ConnectOptions } from "./connect.js";
