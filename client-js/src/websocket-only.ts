/** The client with WebSocket alone: the same API, smaller, for paths that are known to pass it. */
import { setParts, setScript } from "./environment.js";
import { Line } from "./line.js";
import { sockets } from "./transports/websocket.js";

export * from "./api.js";

setScript((import.meta as { readonly url?: string }).url);
setParts({ links: (setup) => new Line(setup, sockets()[0]) });
