/** The client with WebSocket alone: the same API, smaller, for paths that are known to pass it. */
import { setParts, setScript } from "./environment.js";
import { Solo } from "./solo.js";
import { sockets } from "./transports/websocket.js";

export * from "./api.js";

setScript((import.meta as { readonly url?: string }).url);
setParts({ transports: () => sockets(), steer: (options) => new Solo(options) });
