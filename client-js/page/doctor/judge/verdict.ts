// The whole in a sentence.

import { catalogue } from "./catalogue.js";
import type { Found } from "./draft.js";
import type { Path, Transport } from "./path.js";

const text = (name: string): string => catalogue.verdicts[name] ?? "";

export function verdict(path: Path, found: readonly Found[]): string {
  const because = (transport: Transport | undefined): string | undefined => {
    for (const { entry, draft } of found) {
      const concerns = transport === undefined || draft.transports.includes(transport);
      if (entry.because !== undefined && concerns && !draft.aside) return draft.fill(path, entry.because);
    }
    return undefined;
  };
  const { works, fails } = path;
  if (works.length === 0) {
    const reasons = [...fails, undefined].map(because);
    const reason = reasons.find((one) => one !== undefined) ?? text("unknown");
    return text(fails.length === 0 ? "unclear" : "none").replaceAll("{url}", path.observations.url).replaceAll("{because}", reason);
  }
  const groups = new Map<string, Transport[]>();
  for (const transport of fails) {
    const reason = because(transport) ?? text("unknown");
    groups.set(reason, [...(groups.get(reason) ?? []), transport]);
  }
  const clauses = [...groups].map(([reason, transports]) => {
    const [what, verb] = list(transports);
    return text("fails").replaceAll("{what}", what).replaceAll("{do}", verb).replaceAll("{because}", reason);
  });
  const form = text(clauses.length === 0 ? "works" : "partly");
  return form.replaceAll("{works}", list(works)[0]).replaceAll("{fails}", clauses.join("; "));
}

/** Transports in words, and the verb that goes with them. The three kinds of stream are one word when they are all there. */
export function list(transports: readonly Transport[]): [words: string, verb: string] {
  const kinds: readonly Transport[] = ["chunk", "sse", "iframe"];
  const whole = kinds.every((kind) => transports.includes(kind));
  const names = transports
    .filter((name) => !whole || !kinds.includes(name) || name === "chunk")
    .flatMap((name) => catalogue.names[whole && name === "chunk" ? "streams" : name] ?? []);
  const [only] = names;
  return [join(names.map(({ name }) => name)), names.length === 1 && only !== undefined ? only.do : "do"];
}

/** `a`, `a and b`, `a, b and c`. */
export function join(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${String(words.at(-1))}`;
}
