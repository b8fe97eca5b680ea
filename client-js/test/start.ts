// What most tests begin with: a session, and the model server in a world of virtual time.

import { Session, type SessionOptions } from "../src/client.js";
import { ThroughlineError } from "../src/index.js";
import { Realm } from "./realm.js";
import { World, type WorldOptions } from "./world.js";

export function start(options: SessionOptions = {}, { seed = 5, ...more }: WorldOptions & { readonly seed?: number } = {}): { world: World; realm: Realm; session: Session } {
  const world = new World(seed, more);
  const realm = new Realm();
  world.accept = realm.accept;
  const session = new Session("http://realm.test", options, world.environment);
  return { world, realm, session };
}

/** The code with which a promise rejects. */
export async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => "resolved", (error: unknown) => (error instanceof ThroughlineError ? error.code : String(error)));
}
