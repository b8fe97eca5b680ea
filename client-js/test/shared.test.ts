// Tabs that share one session through a worker: the same guarantees as with a session of their own.

import { describe, expect, test } from "vitest";
import type { Session } from "../src/client.js";
import { connect } from "../src/shared/connect.js";
import { code } from "./start.js";
import { Browser, hear } from "./tabs.js";
import { seeded } from "./world.js";

describe("tabs", () => {
  test("have one link, and each its own subscriptions and answers", async () => {
    const browser = new Browser();
    const [one, two] = [browser.tab(), browser.tab()];
    const heard = [hear(one, "c"), hear(two, "c")];
    await browser.world.run(20);
    expect(browser.world.peers).toHaveLength(1);
    expect([one.state, two.state]).toEqual(["open", "open"]);
    expect(one.path.url).toBe("ws://realm.test/throughline/v1/websocket");
    expect(await Promise.all([one.publish("c", "1"), browser.world.run(10)])).toMatchObject([{ eid: "1", duplicate: false }, undefined]);
    void two.publish("c", new Uint8Array([50]));
    await browser.world.run(10);
    expect(heard).toEqual([["1", "2"], ["1", "2"]]);
    expect(browser.realm.log.filter((m) => m["type"] === "subscribe")).toHaveLength(1);
  });

  test("events keep their tag, time, types and bytes", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    const events: unknown[] = [];
    tab.subscribe("c", ({ data, tag, properties, ttl, time, eid }) => void events.push({ data, tag, properties, ttl, time, eid }));
    await browser.world.run(10);
    void tab.publish("c", new Uint8Array([1, 2]), { tag: "t", properties: { n: 5n, a: [1.5, { b: true }] }, ttl: 7 });
    void tab.publish("c", "text");
    await browser.world.run(10);
    expect(events).toEqual([
      { data: new Uint8Array([1, 2]), tag: "t", properties: { n: 5n, a: [1.5, { b: true }] }, ttl: 7, time: 1_700_000_000_001, eid: "1" },
      { data: "text", tag: undefined, properties: {}, ttl: undefined, time: 1_700_000_000_002, eid: "2" },
    ]);
  });

  test.each([
    ["all", ["1", "2", "3", "4", "5", "6", "7", "8"]],
    ["5", ["5", "6", "7", "8"]],
    ["new", ["8"]],
  ])("one that comes later is given what its from %s asks for", async (from, expected) => {
    const browser = new Browser();
    const first = hear(browser.tab(), "c");
    await browser.world.run(10);
    for (let i = 1; i <= 7; i += 1) browser.realm.publish("c", String(i));
    await browser.world.run(10);
    const late = hear(browser.tab(), "c", from);
    await browser.world.run(10);
    browser.realm.publish("c", "8");
    await browser.world.run(10);
    expect(late).toEqual(expected);
    expect(first).toHaveLength(8);
    expect(browser.reads.length > 0).toBe(from !== "new");
  });

  test("a refusal is told to the one who asked", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    tab.on("error", () => undefined);
    const sub = tab.subscribe("c", () => undefined, { from: "99" });
    await browser.world.run(20);
    expect(await code(sub.ready)).toBe("bad_position");
    const big = tab.publish("c", "x".repeat(2_000));
    void code(big);
    await browser.world.run(20);
    expect(await code(big)).toBe("event_too_large");
    expect(tab.limits).toMatchObject({ event_bytes: 1_000 });
  });

  test("a slow one hinders nobody, and misses nothing", async () => {
    const browser = new Browser();
    const quick = hear(browser.tab(), "c");
    const slow = browser.tab().subscribe("c", { bufferEventsMax: 4 });
    await browser.world.run(10);
    for (let i = 1; i <= 100; i += 1) {
      browser.realm.publish("c", String(i));
      await browser.world.run(1);
    }
    await browser.world.run(10);
    expect(quick).toHaveLength(100);
    const taken: string[] = [];
    const reader = slow[Symbol.asyncIterator]();
    for (let i = 0; i < 100; i += 1) {
      const [next] = await Promise.all([reader.next(), browser.world.run(10)]);
      taken.push(next.value?.text() ?? "");
    }
    expect(taken).toEqual(quick);
  });

  test("state, path and round trips are those of the shared link", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    const states: string[] = [];
    const rtts: number[] = [];
    tab.on("state", ({ state }) => states.push(state));
    tab.on("rtt", (rtt) => rtts.push(rtt));
    await browser.world.run(20);
    browser.world.door = "refuse";
    browser.world.peer.cut();
    await browser.world.run(2_000);
    browser.world.door = "accept";
    await browser.world.run(40_000);
    expect(states[0]).toBe("open");
    expect(states).toContain("waiting");
    expect(states.at(-1)).toBe("open");
    expect(tab.path.failures.length).toBeGreaterThan(0);
    rtts.length = 0;
    tab.ping();
    await browser.world.run(10);
    expect(rtts).toEqual([2]);
    expect(tab.path.rtt).toBe(2);
  });
});

describe("what tabs lose", () => {
  test("nothing, over tabs that come and go, pause and sleep, and links that break", async () => {
    for (let seed = 1; seed <= 8; seed += 1) {
      const browser = new Browser();
      const random = seeded(seed);
      const published: string[] = [];
      const tabs: { readonly texts: string[]; readonly from: number; readonly session: Session }[] = [];
      for (let step = 0; step < 150; step += 1) {
        const dice = random();
        if (dice < 0.1 || tabs.length === 0) {
          const session = browser.tab();
          const from = random() < 0.5 ? 0 : Math.floor(random() * (published.length + 1));
          const texts: string[] = [];
          const consume = (event: { text(): string }): unknown => {
            texts.push(event.text());
            return random() < 0.1 ? new Promise<void>((resolve) => browser.world.at(browser.world.time + 20, resolve)) : undefined;
          };
          session.subscribe("c", consume, { from: from === 0 ? "all" : String(from), bufferEventsMax: 5 });
          tabs.push({ texts, from: Math.max(0, from - 1), session });
        } else if (dice < 0.14) {
          void tabs[Math.floor(random() * tabs.length)]?.session.close();
        } else if (dice < 0.2 && browser.world.peers.length > 0) {
          browser.world.peer.cut();
        } else if (dice < 0.23) {
          browser.world.hint("hide");
          await browser.world.run(random() * 50);
          browser.world.hint("wake");
        } else {
          for (let i = 0; i < 1 + random() * 4; i += 1) {
            published.push(String(published.length + 1));
            browser.realm.publish("c", String(published.length));
          }
        }
        await browser.world.run(random() * 20);
      }
      await browser.world.run(120_000);
      for (const { texts, from, session } of tabs) {
        const expected = published.slice(from, session.state === "closed" ? from + texts.length : undefined);
        expect({ seed, texts }).toEqual({ seed, texts: expected });
      }
    }
  }, 60_000);

  test("a publish whose answer was lost with the tab's link is not published twice", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    await browser.world.run(10);
    browser.realm.hold = true;
    const published = tab.publish("c", "once");
    await browser.world.run(10);
    browser.world.hint("hide");
    await browser.world.run(10);
    browser.realm.hold = false;
    browser.realm.answer();
    browser.world.hint("wake");
    await browser.world.run(2_000);
    expect(await published).toEqual({ eid: "1", duplicate: false });
    expect(browser.realm.channel("c").last).toBe(1);
  });

  test("when the worker itself is lost, tabs go on with the next; what had no answer is told so", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    const heard = hear(tab, "c");
    await browser.world.run(10);
    browser.realm.hold = true;
    const lost = code(tab.publish("c", "perhaps"));
    await browser.world.run(10);
    browser.crash();
    browser.realm.hold = false;
    browser.realm.publish("c", "meanwhile");
    await browser.world.run(60_000);
    expect(await lost).toBe("closed");
    const next = tab.publish("c", "after");
    await browser.world.run(10);
    expect(await next).toEqual({ eid: "3", duplicate: false });
    expect(heard).toEqual(["perhaps", "meanwhile", "after"]);
  });

  test("a new history is told to all", async () => {
    const browser = new Browser();
    const gaps: unknown[] = [];
    const texts: string[][] = [];
    for (let i = 0; i < 2; i += 1) {
      const tab = browser.tab();
      tab.on("gap", ({ from, to, reason }) => gaps.push({ from, to, reason }));
      texts.push(hear(tab, "c"));
    }
    await browser.world.run(10);
    browser.realm.publish("c", "old");
    await browser.world.run(10);
    browser.world.peer.cut();
    browser.realm.forget("c");
    browser.realm.publish("c", "new");
    await browser.world.run(5_000);
    expect(texts).toEqual([["old", "new"], ["old", "new"]]);
    expect(gaps).toEqual([{ from: "2", to: "0", reason: "epoch" }, { from: "2", to: "0", reason: "epoch" }]);
  });

  test("a gap in what is kept is told in its place", async () => {
    const browser = new Browser();
    browser.realm.capacity = 2;
    hear(browser.tab(), "c");
    await browser.world.run(10);
    for (let i = 1; i <= 5; i += 1) browser.realm.publish("c", String(i));
    await browser.world.run(10);
    const tab = browser.tab();
    const order: string[] = [];
    tab.on("gap", ({ from, to, reason }) => order.push(`${from}-${to} ${reason}`));
    tab.subscribe("c", (event) => void order.push(event.text()), { from: "2" });
    await browser.world.run(10);
    expect(order).toEqual(["2-3 capacity", "4", "5"]);
  });
});

describe("tabs that are gone", () => {
  test("are missed, and their subscriptions end", async () => {
    const browser = new Browser();
    hear(browser.tab(), "c");
    const other = browser.tab();
    await browser.world.run(10);
    for (const port of browser.ports.slice(0, 2)) port.dead = true;
    browser.runs = false;
    await browser.world.run(45_000);
    expect(browser.realm.log.some((m) => m["type"] === "unsubscribe")).toBe(true);
    expect(other.state).toBe("open");
  });

  test("leave at once when they say so; when none is left the realm is left, until one comes again", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    hear(tab, "c");
    await browser.world.run(10);
    await tab.close();
    await browser.world.run(4_000);
    expect(browser.realm.log.at(-1)).toMatchObject({ type: "unsubscribe" });
    expect(browser.world.peer.closed).toBeUndefined();
    await browser.world.run(2_000);
    expect(browser.world.peer.closed).toMatchObject({ code: 1000 });
    const next = browser.tab();
    await browser.world.run(20);
    expect(next.state).toBe("open");
  });
});

describe("connect", () => {
  test("without shared workers, or without the wish, the session is the tab's own", async () => {
    const browser = new Browser();
    const { environment } = browser.world;
    const own = [connect({ url: "http://realm.test", shared: true }, environment, undefined), connect({ url: "http://realm.test" }, environment)];
    await browser.world.run(20);
    expect(own.map(({ state }) => state)).toEqual(["open", "open"]);
    expect(browser.world.peers).toHaveLength(2);
    expect(browser.started).toEqual([]);
  });

  test("the worker is the realm's, and named by address and options", async () => {
    const browser = new Browser();
    browser.tab({ client: "shop" });
    await browser.world.run(10);
    expect(browser.started).toEqual(['http://realm.test/throughline/v1/worker.js {"url":"http://realm.test/","client":"shop"}']);
  });

  test("a realm of another origin needs a copy of the script", async () => {
    const browser = new Browser();
    const url = "https://elsewhere.test/prefix";
    const refused = await code(Promise.resolve().then(() => browser.tab({ url })));
    expect(refused).toBe("bad_address");
    browser.tab({ url, worker: "/copy.js" });
    await browser.world.run(10);
    expect(browser.started).toEqual(['http://realm.test/copy.js {"url":"https://elsewhere.test/prefix/"}']);
  });

  test("a script that cannot be loaded is asked for again", async () => {
    const browser = new Browser();
    browser.runs = false;
    const tab = browser.tab();
    const errors: unknown[] = [];
    tab.on("state", ({ error }) => errors.push(error?.message));
    await browser.world.run(10);
    (browser.workers[0]?.onerror as () => void)();
    await browser.world.run(10);
    expect(tab.state).toBe("waiting");
    expect(errors[0]).toContain("could not be loaded");
    browser.runs = true;
    await browser.world.run(60_000);
    expect(tab.state).toBe("open");
  });
});

describe("the end", () => {
  test("of a deleted channel's subscription is none for those that are made after it", async () => {
    const browser = new Browser();
    const [one, two] = [browser.tab(), browser.tab()];
    const ends: string[] = [];
    one.on("error", (error) => ends.push(error.code));
    hear(one, "c");
    await browser.world.run(10);
    browser.realm.remove("c");
    await browser.world.run(10);
    expect(ends).toEqual(["channel_deleted"]);
    const heard = [hear(one, "c"), hear(two, "c")];
    await browser.world.run(10);
    browser.realm.publish("c", "anew");
    await browser.world.run(10);
    expect(heard).toEqual([["anew"], ["anew"]]);
  });

  test("of one that still reads older events brings it back", async () => {
    const browser = new Browser();
    const [one, two] = [browser.tab(), browser.tab()];
    one.on("error", () => undefined);
    hear(one, "c");
    await browser.world.run(10);
    for (let i = 0; i < 10; i += 1) browser.realm.publish("c", "old");
    await browser.world.run(10);
    const heard = hear(two, "c", "all");
    await browser.world.run(2);
    browser.realm.remove("c");
    await browser.world.run(5_000);
    browser.realm.publish("c", "anew");
    await browser.world.run(10);
    expect(heard.at(-1)).toBe("anew");
  });

  test("of a request that was given up says nothing about the next one", async () => {
    const browser = new Browser();
    hear(browser.tab(), "c");
    const tab = browser.tab();
    await browser.world.run(10);
    tab.subscribe("c", () => undefined, { from: "99" }).close();
    const heard = hear(tab, "c");
    await browser.world.run(20);
    browser.realm.publish("c", "1");
    await browser.world.run(10);
    expect(heard).toEqual(["1"]);
  });

  test("of the session is none for the pages that come after it", async () => {
    const browser = new Browser();
    const tab = browser.tab();
    tab.on("error", () => undefined);
    hear(tab, "c");
    await browser.world.run(10);
    browser.world.peer.close(4200);
    await browser.world.run(10);
    expect(tab.state).toBe("closed");
    const next = browser.tab();
    const heard = hear(next, "c");
    await browser.world.run(20);
    browser.realm.publish("c", "1");
    await browser.world.run(10);
    expect([next.state, heard]).toEqual(["open", ["1"]]);
  });

  test("of a tab is the end of its reading", async () => {
    const browser = new Browser();
    hear(browser.tab(), "c");
    await browser.world.run(10);
    let reads = 0;
    browser.world.answer = () => Promise.reject(new Error(`nothing answers, ${(reads += 1)}`));
    const tab = browser.tab();
    hear(tab, "c", "all");
    await browser.world.run(10_000);
    expect(reads).toBeGreaterThan(3);
    await tab.close();
    await browser.world.run(10);
    reads = 0;
    await browser.world.run(60_000);
    expect(reads).toBe(0);
  });

  test("of many tabs leaves the answers to the last ones only", async () => {
    const browser = new Browser();
    const first = browser.tab();
    await browser.world.run(10);
    for (let i = 0; i < 70; i += 1) {
      const tab = browser.tab();
      void tab.publish("c", "x");
      await browser.world.run(10);
      await tab.close();
    }
    expect(browser.hub.answers.size).toBe(64);
    expect(await Promise.all([first.publish("c", "y"), browser.world.run(10)])).toMatchObject([{ eid: "71" }, undefined]);
  });
});
