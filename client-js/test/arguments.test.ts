// What an application gives is checked where it is given, and a wrong argument never ends the session.

import { expect, test } from "vitest";
import { Session } from "../src/client.js";
import { ThroughlineEvent } from "../src/event.js";
import { Typed } from "../src/index.js";
import { connect } from "../src/shared/connect.js";
import { code, start } from "./start.js";
import { World } from "./world.js";

test.each([
  ["tag", { tag: 5 }],
  ["persistent", { persistent: "yes" }],
  ["ttl", { ttl: "5" }],
  ["properties", { properties: null }],
  ["properties", { properties: [1] }],
  ["properties", { properties: new Date(0) }],
  ["properties", { properties: { nested: new Map() } }],
  ["properties", { properties: { typed: new Typed("integer", 1.5) } }],
  ["properties", { properties: { typed: new Typed("long" as never, 5) } }],
])("publish refuses a wrong %s, and the session goes on", async (member, options) => {
  const { world, session } = start();
  await world.run(10);
  const message: unknown = expect.stringMatching(`^${member}: `);
  await expect(session.publish("c", "x", options as never)).rejects.toMatchObject({ code: "bad_event", message });
  const published = code(session.publish("c", "x", null as never));
  await world.run(10);
  expect(await published).toBe("resolved");
  expect(session.state).toBe("open");
});

test("publish says how an object becomes text, and what a channel's name is", async () => {
  const { session } = start();
  await expect(session.publish("c", { price: 5 } as never)).rejects.toThrow(/^data: .*JSON.stringify/);
  for (const name of [undefined, null, 5, ["c"]]) {
    expect(await code(session.publish(name as never, "x"))).toBe("bad_channel_name");
    expect(() => session.subscribe(name as never)).toThrow(/^channel name/);
  }
});

test("a misspelt option is named, and so are those that there are", async () => {
  const { world, session } = start();
  await world.run(10);
  const misspelt = (name: string, known: string): RegExp => new RegExp(`^option "${name}" is none of .*${known}`);
  expect(() => session.subscribe("c", { form: "all" } as never)).toThrow(misspelt("form", "from"));
  expect(() => session.subscribe("c", () => undefined, { form: "all" } as never)).toThrow(misspelt("form", "from"));
  await expect(session.publish("c", "x", { tll: 5 } as never)).rejects.toThrow(misspelt("tll", "ttl"));
  const { environment } = new World();
  expect(() => new Session("http://realm.test", { transport: ["long-poll"] } as never, environment)).toThrow(misspelt("transport", "transports"));
  expect(session.state).toBe("open");
  // An event that is passed on has more than what is asked of it.
  const event = new ThroughlineEvent("c", { type: "event", channel: 1, eid: "1", time: 0, data: "x", tag: "t" } as never);
  const published = session.publish("copy", "x", event);
  await world.run(10);
  await expect(published).resolves.toMatchObject({ eid: "1" });
});

test("on refuses what never happens, and what is no function", () => {
  const { session } = start();
  const subscription = session.subscribe("c");
  const on = session.on.bind(session) as (...words: unknown[]) => unknown;
  for (const words of [["events", () => undefined], ["event"], ["event", {}]]) {
    expect(() => on(...words)).toThrow(/^on: expected one of state,event,.*, and a function/);
  }
  expect(() => subscription.on("event" as never, () => undefined)).toThrow(/^on: expected one of gap,error, and a function/);
});

test("subscribe refuses what is no function, no options or no position", () => {
  const { session } = start();
  const subscribe = session.subscribe.bind(session) as (...words: unknown[]) => unknown;
  for (const words of [["all"], [undefined, { from: "all" }], [() => undefined, "all"], [{}, {}]]) {
    expect(() => subscribe("c", ...words)).toThrow(/expected a function/);
  }
  for (const from of [5, { after: 5, epoch: "00000000000000aa" }, {}]) expect(() => subscribe("c", { from })).toThrow(/^from: /);
});

test("a session needs an address that is one, a short name, and transports that exist", () => {
  const { environment } = new World();
  const begin = (url: unknown, options?: object) => () => new Session(url as string, options, environment);
  for (const url of [{ url: "http://realm.test" }, 5, null]) expect(begin(url)).toThrow(/is no address: expected one/);
  for (const client of [5, "x".repeat(65)]) expect(begin("http://realm.test", { client })).toThrow(/^client: at most 64 bytes/);
  expect(begin("http://realm.test", { transports: ["websocket", "longpoll"] })).toThrow(/^transports: "longpoll" is none of websocket, /);
  expect(begin(new URL("http://realm.test"), null as never)().url).toBe("http://realm.test/");
  const options = { shared: true, url: "http://realm.test", transports: ["longpoll"] as never };
  expect(() => connect(options, environment, () => expect.unreachable())).toThrow(/^transports: "longpoll"/);
});
