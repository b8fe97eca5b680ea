// A disk that can be filled, and a journal that can be torn.

import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, readdirSync, rmSync, rmdirSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A small file system of its own. Needs root. */
export class Disk {
  constructor(mebibytes) {
    if (process.getuid() !== 0) throw new Error("missing: root, to mount the small tmpfs that this test fills");
    this.folder = mkdtempSync(join(tmpdir(), "throughline-disk-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "throughline-test", this.folder]);
    process.on("exit", () => this.end());
  }

  get filler() {
    return join(this.folder, "filler");
  }

  /** Takes every free byte. */
  fill() {
    const file = openSync(this.filler, "a");
    const block = Buffer.alloc(1 << 20);
    for (let size = block.length; size >= 1; ) {
      try {
        writeSync(file, block, 0, size);
      } catch (error) {
        if (error.code !== "ENOSPC") throw error;
        size = Math.floor(size / 2);
      }
    }
    closeSync(file);
  }

  /** Gives the space back. */
  empty() {
    rmSync(this.filler, { force: true });
  }

  end() {
    if (this.folder === undefined) return;
    execFileSync("umount", ["--lazy", this.folder]);
    rmdirSync(this.folder);
    this.folder = undefined;
  }
}

function files(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** Where the written part of a journal ends: what follows was only reserved, and is zero. */
function writtenBytes(file, size) {
  const block = Buffer.alloc(1 << 20);
  for (let end = size; end > 0; ) {
    const begin = Math.max(0, end - block.length);
    const read = readSync(file, block, 0, end - begin, begin);
    for (let at = read - 1; at >= 0; at--) {
      if (block[at] !== 0) return begin + at + 1;
    }
    end = begin;
  }
  return 0;
}

/** Writes behind the last record of the newest journal what a torn write may leave: noise, or the beginning of a record. */
export function tear(data, random) {
  const journals = files(data).filter((path) => path.endsWith(".jnl"));
  if (journals.length === 0) throw new Error(`no journal below ${data}: ${files(data).join(", ")}`);
  const newest = journals.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  const garbage = Buffer.alloc(1 + random(4096));
  const file = openSync(newest, "r+");
  const written = writtenBytes(file, statSync(newest).size);
  if (random(2) === 0) garbage.forEach((_, at) => (garbage[at] = random(256)));
  else readSync(file, garbage, 0, Math.min(garbage.length, 1 + random(200)), 0);
  writeSync(file, garbage, 0, garbage.length, written);
  closeSync(file);
  return { journal: newest, written, garbage: garbage.length };
}
