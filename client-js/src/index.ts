import { setParts, setScript } from "./environment.js";
import { Journal, outside } from "./journal.js";
import { Ladder } from "./ladder.js";
import { LadderLinks } from "./links.js";
import { httpTransports } from "./transports/all.js";
import { web } from "./transports/web.js";
import { sockets } from "./transports/websocket.js";

export * from "./api.js";

setScript((import.meta as { readonly url?: string }).url);
setParts({
  links: (setup) => new LadderLinks(setup, {
    transports: [...sockets(), ...httpTransports(web())],
    steer: (options) => new Ladder(options),
    journal: (environment, base) => new Journal(environment, base, outside),
  }),
});
