// Checks that are plain requests.

import { type Asked, type Scene, addressOf, ask, json } from "./ask.js";
import { fnv1a } from "./fnv.js";
import type { Seen, Trial, What } from "./observations.js";

/** Sizes of bodies, bytes; the first decides whether transports can send at all. */
export const BODIES = [4_096, 65_536, 1_000_000];
/** Lengths of headers and of addresses, bytes. The realm itself takes them all. */
export const LENGTHS = [1_024, 2_048, 4_096, 8_192];
/** Tells how a request arrived. */
export const INSPECT = "probe/inspect";
/** A poll that was not waited for is tried once more with so many seconds. */
const HOLD_SHORT_S = 3;
/** A header that means nothing. */
const PADDING = "X-Throughline-Padding";

export function trial(scene: Scene, what: What, kind: string | undefined, asked: Partial<Trial> = {}): Trial {
  const { fault, detail, answer, head_ms, after_ms } = asked;
  return { what, kind, way: "browser", secure: scene.url.startsWith("https:"), fault, detail, answer, head_ms, after_ms };
}

/** How the request arrived, and how long a second one takes on the connection that there is now. */
export async function inspect(scene: Scene): Promise<Trial> {
  const asked = await ask(scene, addressOf(scene, INSPECT));
  const made = trial(scene, "inspect", undefined, asked);
  if (asked.fault !== undefined) return made;
  const seen = json<Seen>(asked.text);
  if (seen === undefined || !Array.isArray(seen.headers)) return { ...made, fault: "altered", detail: "the realm's answer is no JSON" };
  const timing = scene.means.timing(asked.url);
  const again = await ask(scene, addressOf(scene, INSPECT));
  const round_trip_ms = again.fault === undefined ? again.whole_ms : undefined;
  return { ...made, connect_ms: timing?.connect_ms, tls_ms: timing?.tls_ms, seen, round_trip_ms };
}

/** Whether a realm is there, though its probes may not be. */
export async function realm(scene: Scene, what: "realm" | "root"): Promise<Trial> {
  const at = what === "root" ? { ...scene, url: new URL(scene.url).origin } : scene;
  return trial(at, what, undefined, await ask(at, addressOf(at, "diagnose", { id: scene.means.unique() })));
}

export async function poll(scene: Scene): Promise<Trial[]> {
  const first = await heldPoll(scene, scene.limits.hold_s);
  if (first.fault === undefined || first.answer?.ours === true || scene.limits.hold_s <= HOLD_SHORT_S) return [first];
  return [first, await heldPoll(scene, HOLD_SHORT_S)];
}

async function heldPoll(scene: Scene, hold_s: number): Promise<Trial> {
  const asked = await ask(scene, addressOf(scene, "probe/poll", { hold: hold_s }), {}, hold_s * 1_000 + scene.limits.silent_ms);
  return { ...trial(scene, "poll", undefined, asked), hold_s };
}

/** Bodies of growing size: the first tells whether they pass, the others how large they may be. */
export async function post(scene: Scene): Promise<Trial> {
  let passed: number | undefined;
  for (const size of BODIES) {
    const asked = await posted(scene, size);
    // A realm may be set to take less: that is nobody's fault on the way.
    if (asked.answer?.status === 413 && asked.answer.ours && passed !== undefined) break;
    const told = trial(scene, "post", undefined, asked);
    if (passed === undefined && asked.fault !== undefined) return told;
    if (asked.fault !== undefined) return { ...told, fault: undefined, passed, failed: size };
    passed = size;
  }
  return { ...trial(scene, "post", undefined), passed };
}

async function posted(scene: Scene, size: number): Promise<Asked> {
  const body = "throughline ".repeat(size / 12 + 1).slice(0, size);
  const asked = await ask(scene, addressOf(scene, "probe/post"), { body });
  if (asked.fault !== undefined) return asked;
  const told = json<{ readonly bytes?: number; readonly fnv1a?: string }>(asked.text);
  const after_ms = asked.whole_ms;
  if (told?.bytes !== size) return { ...asked, after_ms, fault: "altered", detail: `${told?.bytes ?? 0} bytes came of ${size}` };
  if (told.fnv1a === fnv1a(new TextEncoder().encode(body))) return asked;
  return { ...asked, after_ms, fault: "altered", detail: "other bytes came than were sent" };
}

/** Ever longer headers, or addresses. */
export async function lengths(scene: Scene, what: "header" | "address"): Promise<Trial> {
  let passed = 0;
  for (const size of LENGTHS) {
    const long = "x".repeat(size);
    const plain = addressOf(scene, INSPECT);
    const asked = await (what === "header"
      ? ask(scene, plain, { headers: { [PADDING]: long } })
      : ask(scene, `${plain}&pad=${long}`.slice(0, scene.url.length - new URL(scene.url).pathname.length + size)));
    if (asked.fault !== undefined) return { ...trial(scene, what, undefined, asked), passed, failed: size };
    passed = size;
  }
  return { ...trial(scene, what, undefined), passed };
}
