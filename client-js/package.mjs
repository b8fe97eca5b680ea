// Fills dist, which is what the package holds, with the scripts that build.mjs wrote; tsc adds the types beside them.
import { copyFile, mkdir, rm } from "node:fs/promises";

const dist = new URL("dist/", import.meta.url);
const assets = new URL("../crates/server/assets/", import.meta.url);
const names = {
  "throughline.js": "index.js",
  "throughline-websocket.js": "websocket-only.js",
  "throughline-shared.js": "shared/index.js",
  "throughline-worker.js": "shared/worker.js",
};

await rm(dist, { recursive: true, force: true });
await mkdir(new URL("shared/", dist), { recursive: true });
for (const [from, to] of Object.entries(names)) await copyFile(new URL(from, assets), new URL(to, dist));
