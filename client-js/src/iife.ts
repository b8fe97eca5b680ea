// The classic script: everything as members of the global `Throughline`.
import { setScript } from "./environment.js";

export * from "./index.js";

const script = document.currentScript;
setScript(script instanceof HTMLScriptElement ? script.src : undefined);
