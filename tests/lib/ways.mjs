// What holds for every way to open a link over HTTP, whatever carries the requests.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

/** Subscribes, publishes what is hard to carry, loses the link and resumes on another. */
export async function resumes(open, base, channel) {
  const first = await open(base);
  const { number, epoch } = await first.request({ type: "subscribe", id: 1, channel, from: "new" });
  const text = '</script><!--\u2028\u2029\\"\n\u0000ä😀';
  await first.request({ type: "publish", id: 2, channel, data: text, properties: { a: "</script>" } });
  await first.request({ type: "publish", id: 3, channel, base64: "AP8=" });
  const event = await first.until((m) => m.type === "event" && m.base64 === "AP8=");
  const before = first.received.find((m) => m.type === "event");
  assert.equal(before.data, text);
  assert.deepEqual([before.channel, before.properties], [number, { a: "</script>" }]);
  if (first.drop) first.drop();
  else await first.stop();
  // The last publish again, as after a lost reply, and what was missed.
  const second = await open(base, { session: first.welcome.session });
  assert.equal(second.welcome.session, first.welcome.session);
  const reply = await second.request({ type: "publish", id: 3, channel, base64: "AP8=" });
  assert.deepEqual([reply.eid, reply.duplicate], [event.eid, true]);
  await second.request({ type: "subscribe", id: 4, channel, after: before.eid, epoch });
  assert.equal((await second.until((m) => m.type === "event")).eid, event.eid);
  await second.say({ type: "close" });
  assert.equal((await second.until((m) => m.type === "close")).code, 1000);
  if (second.finished) assert.equal(await second.finished, "end", "the body ends as it should");
}

export async function carriesLargeEvents(open, base, channel) {
  const link = await open(base);
  await link.request({ type: "subscribe", id: 1, channel, from: "new" });
  const base64 = randomBytes(1 << 20).toString("base64");
  const line = Buffer.from(`${JSON.stringify({ type: "publish", id: 2, channel, base64 })}\n`);
  for (let at = 0; at < line.length; at += 300_001) await link.send(line.subarray(at, at + 300_001));
  const event = await link.until((m) => m.type === "event");
  assert.ok(event.base64 === base64, "the data are the same");
  await link.say({ type: "close" });
  await link.until((m) => m.type === "close");
}
