// Writes the files that the server embeds; the same sources give the same bytes.
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const assets = process.env.ASSETS ?? here("../crates/server/assets");
// Properties and methods that only objects of the client's own have: neither the API, nor messages, nor the browser know
// these names. Short ones make the files a fortieth smaller.
const own = `accepted addresses adopt adopted adoptedAt answered asked attempt available awaits beacon beside broken callbacks
  calm candidate changed core deadline deliver died dropAll ended environment fail failed fitting flying forget giveUpMs greet
  greeting heard hears held hint hold input interval journal kept known leave loaded lost missed moved newEpoch note
  opened ours over owed parts pause paused pinged place ponged probe proved provedUntil pump purpose reached
  receivedBytes refused remembered reports resume rewind rotateBytes rotating scripted secret sentence setup silence
  startedAt steer stop survived suspect suspend taken takeOutputs tick transmit tried twice unreached until uplink
  work`.split(/\s+/);
const common = {
  absWorkingDir: here("."),
  bundle: true,
  minify: true,
  mangleProps: new RegExp(`^(${own.join("|")})$`),
  charset: "utf8",
  legalComments: "none",
  target: ["es2022"],
  logLevel: "warning",
};

await mkdir(assets, { recursive: true });
await Promise.all([
  build({ ...common, entryPoints: ["src/index.ts"], format: "esm", outfile: `${assets}/throughline.js` }),
  build({ ...common, entryPoints: ["src/websocket-only.ts"], format: "esm", outfile: `${assets}/throughline-websocket.js` }),
  build({
    ...common,
    entryPoints: ["src/iife.ts"],
    format: "iife",
    globalName: "Throughline",
    logOverride: { "empty-import-meta": "silent" },
    outfile: `${assets}/throughline.iife.js`,
  }),
  build({ ...common, entryPoints: ["src/shared/index.ts"], format: "esm", outfile: `${assets}/throughline-shared.js` }),
  build({ ...common, entryPoints: ["src/shared/worker.ts"], format: "iife", logOverride: { "empty-import-meta": "silent" }, outfile: `${assets}/throughline-worker.js` }),
  build({ ...common, entryPoints: ["page/page.ts"], format: "esm", outfile: `${assets}/page.js` }),
  // What the doctor saw is written down under the names that docs/doctor.md has.
  build({ ...common, mangleProps: undefined, entryPoints: ["page/doctor/view.ts"], format: "esm", outfile: `${assets}/doctor.js` }),
  build({ ...common, entryPoints: ["page/page.css"], outfile: `${assets}/page.css` }),
  copyFile(here("page/index.html"), `${assets}/index.html`),
]);
