// Programs that a test starts: each is ended by its id, whatever becomes of the test.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const running = new Set();

/** The binary under test: `THROUGHLINE`, as ./test sets it. */
export function binary() {
  const path = process.env.THROUGHLINE;
  if (!path) throw new Error("THROUGHLINE names no binary; run the tests by ./test, or set it to a built throughline");
  return path;
}

/** The same with the feature `negotiate`, in place of it where a proxy asks for that. */
export function negotiating() {
  const path = process.env.NEGOTIATING;
  if (!path) throw new Error("NEGOTIATING names no binary; run the tests by ./test, or set it to a throughline with the feature negotiate");
  return path;
}

/** Ends what still runs when this process ends. */
function endAll() {
  for (const program of running) program.signal("SIGKILL");
}
process.on("exit", endAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => process.exit(1));
}

/** A started program: its output as it comes, and its end. */
export class Program {
  /**
   * `group`: signals go to whatever it starts as well.
   * @param {string} file @param {string[]} args @param {{input?: boolean, env?: Record<string, string>, group?: boolean}} [options]
   */
  constructor(file, args, options = {}) {
    this.group = options.group;
    this.command = [file, ...args].join(" ");
    this.stderr = "";
    this.lines = [];
    this.waiting = new Set();
    this.child = spawn(file, args, {
      stdio: [options.input ? "pipe" : "ignore", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
      detached: options.group,
    });
    running.add(this);
    this.child.stderr.setEncoding("utf8").on("data", (text) => {
      this.stderr = (this.stderr + text).slice(-100_000);
      this.look();
    });
    this.output = createInterface({ input: this.child.stdout, crlfDelay: Infinity });
    this.output.on("line", (line) => {
      this.lines.push(line);
      this.look();
    });
    this.ended = this.end();
    this.ended.then(() => this.look(), () => this.look());
  }

  async end() {
    const drained = once(this.output, "close");
    const [code, signal] = await Promise.race([
      once(this.child, "exit"),
      once(this.child, "error").then(([error]) => {
        throw new Error(`${this.command}: ${error.message}`);
      }),
    ]);
    await drained;
    running.delete(this);
    this.exit = signal ?? code;
    return this.exit;
  }

  look() {
    for (const check of this.waiting) check();
  }

  /** Resolves to what `find(lines)` returns as soon as that is not undefined; fails when the program ends before. */
  until(find) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = find(this.lines);
        if (found === undefined && this.exit === undefined) return;
        this.waiting.delete(check);
        if (found !== undefined) resolve(found);
        else reject(new Error(`${this.command} ended with ${this.exit} too early\n${this.stderr}`));
      };
      this.waiting.add(check);
      check();
    });
  }

  signal(signal) {
    if (!this.group) this.child.kill(signal);
    else if (this.child.pid) process.kill(-this.child.pid, signal);
  }

  /** Sends a signal and awaits the end. */
  async kill(signal = "SIGKILL") {
    if (this.exit === undefined) this.signal(signal);
    return this.ended;
  }
}

/** Runs a program to its end; fails unless it ends with the status wanted. */
export async function run(file, args, { input, status = 0, env } = {}) {
  const program = new Program(file, args, { input: input !== undefined, env });
  if (input !== undefined) program.child.stdin.end(input);
  const exit = await program.ended;
  if (status !== null && exit !== status) throw new Error(`${program.command} ended with ${exit}, not ${status}\n${program.stderr}`);
  return { lines: program.lines, stderr: program.stderr };
}
