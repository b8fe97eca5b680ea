// Writes the files that the server embeds; the same sources give the same bytes.
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const assets = process.env.ASSETS ?? here("../crates/server/assets");
// Properties and methods that only objects of the client's own have: neither the API, nor messages, nor the browser know
// these names. Short ones make the files a fortieth smaller.
const own = `accepted addresses adopt adopted adoptedAt answered asked attempt available awaits beacon beside base broken callbacks calm cancel
  candidate changed check closed core deadline deliver died drain dropAll emit ended environment event fail failed fitting flying forget giveUpMs greet
  greeting heard hears held hint hold holdMs input interval journal kept known leave loaded lost missed moved newEpoch note
  opened ours over owed parts pause paused pinged place ponged probe proved provedUntil pump purpose reached
  receivedBytes refused remembered report reports resume rewind rotateBytes rotating scripted secret sentence setup silence
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

/** Bundles one script, and shortens it further than esbuild does. */
async function script(name, entry, format, options) {
  const { outputFiles } = await build({ ...common, ...options, entryPoints: [entry], format, write: false });
  const { code } = await minify(outputFiles[0].text, { module: format === "esm", ecma: 2022, compress: { passes: 3, sequences: false, unsafe_arrows: true, unsafe_methods: true, pure_getters: true }, format: { comments: false } });
  await writeFile(`${assets}/${name}`, `${code}\n`);
}

// A classic script has no address of its own to ask for.
const classic = { logOverride: { "empty-import-meta": "silent" } };

await mkdir(assets, { recursive: true });
await Promise.all([
  script("throughline.js", "src/index.ts", "esm"),
  script("throughline-websocket.js", "src/websocket-only.ts", "esm"),
  script("throughline.iife.js", "src/iife.ts", "iife", { ...classic, globalName: "Throughline" }),
  script("throughline-shared.js", "src/shared/index.ts", "esm"),
  script("throughline-worker.js", "src/shared/worker.ts", "iife", classic),
  script("page.js", "page/page.ts", "esm"),
  // What the doctor saw is written down under the names that docs/doctor.md has.
  script("doctor.js", "page/doctor/view.ts", "esm", { mangleProps: undefined }),
  build({ ...common, entryPoints: ["page/page.css"], outfile: `${assets}/page.css` }),
  copyFile(here("page/index.html"), `${assets}/index.html`),
]);
