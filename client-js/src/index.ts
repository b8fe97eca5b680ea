/**
 * Throughline's client for browsers: live events in order, without loss or repetition,
 * over every transport.
 *
 * @example
 * const session = new Session("https://example.org");
 * session.subscribe("prices", (event) => console.log(event.eid, event.text()));
 * await session.publish("prices", "hello");
 */
import { diagnose } from "./diagnose.js";
import { setParts, setScript } from "./environment.js";
import { Ladder } from "./ladder.js";
import { PathMemory } from "./memory.js";
import { httpTransports } from "./transports/all.js";
import { web } from "./transports/web.js";
import { sockets } from "./transports/websocket.js";

export * from "./api.js";

setScript((import.meta as { readonly url?: string }).url);
setParts({
  transports: () => [...sockets(), ...httpTransports(web())],
  steer: (options) => new Ladder(options),
  memory: (environment, base) => new PathMemory(environment, base),
  diagnose,
});
