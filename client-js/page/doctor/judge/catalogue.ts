// The texts of findings, and the proxies that are known: the file that the Rust client reads too.

import json from "../../../../crates/client/src/doctor/findings.json";

export interface Entry {
  readonly code: string;
  /** It never keeps a session from working. */
  readonly note?: boolean;
  /** Its sentence is about one answer: what other answers show is no evidence. */
  readonly own?: boolean;
  /** The reason as a clause, for the verdict. */
  readonly because?: string;
  readonly sentence: string;
  readonly fix: string;
  /** What to do where TLS is spoken already. */
  readonly secure_fix?: string;
  /** Which of a product's lines mends it. */
  readonly topic?: string;
}

export interface Product {
  readonly name: string;
  readonly title: string;
  /** Kind and text. */
  readonly signs: readonly (readonly string[])[];
  readonly lines: Readonly<Record<string, string>>;
}

export interface Catalogue {
  readonly verdicts: Readonly<Record<string, string>>;
  readonly who: Readonly<Record<string, string>>;
  readonly names: Readonly<Record<string, { readonly name: string; readonly do: string }>>;
  /** In the order in which they are told. */
  readonly findings: readonly Entry[];
  /** In the order in which they are looked for. */
  readonly products: readonly Product[];
}

export const catalogue = json as unknown as Catalogue;
