// What no suite and no library sends: broken handshakes, broken frames, foreign origins, garbage.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import { Link } from "./lib/link.mjs";
import { Raw, frame, newKey } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

let realm;
before(async () => (realm = await Realm.start()));
after(() => realm.end());

const probe = () => realm.address("probe/websocket");

async function withRaw(use, url = probe()) {
  const raw = await Raw.connect(url);
  try {
    return await use(raw);
  } finally {
    raw.end();
  }
}

function assertRefusal(answer, status, code, what) {
  assert.equal(answer.status, status, `${what}: ${answer.body}`);
  assert.equal(answer.headers.get("throughline"), "1", `${what}: the answer lacks the header Throughline`);
  const { error } = JSON.parse(answer.body);
  assert.equal(error.code, code, what);
  assert.ok(error.message.length > 10, `${what}: the message says nothing`);
}

test("a bad key is refused with 400", async () => {
  const keys = {
    missing: undefined,
    empty: "",
    short: randomBytes(15).toString("base64"),
    long: randomBytes(17).toString("base64"),
    "not base64": "!!!!!!!!!!!!!!!!!!!!!!==",
    "without padding": newKey().slice(0, 22),
    "given twice": [newKey(), newKey()],
  };
  for (const [what, key] of Object.entries(keys)) {
    await withRaw(async (raw) => {
      const { "Sec-WebSocket-Key": _, ...rest } = raw.handshake();
      const answer = await raw.request("GET", key === undefined ? rest : { ...rest, "Sec-WebSocket-Key": key });
      assertRefusal(answer, 400, "bad_request", `key ${what}`);
    });
  }
});

test("another version is refused with 426 and the versions that are spoken", async () => {
  for (const version of ["0", "6", "9", "12", "14", "130", "thirteen"]) {
    await withRaw(async (raw) => {
      const answer = await raw.request("GET", raw.handshake({ "Sec-WebSocket-Version": version }));
      assertRefusal(answer, 426, "version_not_supported", `version ${version}`);
      assert.equal(answer.headers.get("sec-websocket-version"), "13, 8, 7");
    });
  }
});

test("what is no upgrade is answered with 426, another method with 405", async () => {
  const incomplete = { "no Upgrade": { Upgrade: "h2c" }, "no Connection": { Connection: "keep-alive" } };
  for (const [what, headers] of Object.entries(incomplete)) {
    await withRaw(async (raw) => {
      const answer = await raw.request("GET", raw.handshake(headers));
      assertRefusal(answer, 426, "upgrade_required", what);
      assert.equal(answer.headers.get("upgrade"), "websocket");
      assert.equal(answer.headers.get("sec-websocket-version"), "13, 8, 7");
    });
  }
  await withRaw(async (raw) => {
    const answer = await raw.request("GET", { Host: raw.url.host });
    assertRefusal(answer, 426, "upgrade_required", "a plain GET");
  });
  await withRaw(async (raw) => {
    const answer = await raw.request("POST", { ...raw.handshake(), "Content-Length": "0" });
    assertRefusal(answer, 405, "method_not_allowed", "POST");
    assert.equal(answer.headers.get("allow"), "GET");
  });
});

test("header names and tokens are compared as HTTP wants it", async () => {
  const good = {
    "lower case": { Upgrade: undefined, upgrade: "WebSocket", Connection: undefined, connection: "upgrade" },
    "list of tokens": { Connection: "keep-alive, Upgrade" },
    "several headers": { Connection: ["keep-alive", "Upgrade"] },
    "foreign subprotocol": { "Sec-WebSocket-Protocol": "chat, superchat" },
  };
  for (const [what, more] of Object.entries(good)) {
    await withRaw(async (raw) => {
      const headers = Object.fromEntries(Object.entries(raw.handshake(more)).filter(([, value]) => value !== undefined));
      const answer = await raw.request("GET", headers);
      assert.equal(answer.status, 101, `${what}: ${answer.body}`);
      assert.equal(answer.headers.get("sec-websocket-protocol"), undefined, what);
    });
  }
});

test("the subprotocol is selected when it is offered", async () => {
  await withRaw(async (raw) => {
    const answer = await raw.upgrade({ "Sec-WebSocket-Protocol": "chat, throughline.v1" });
    assert.equal(answer.headers.get("sec-websocket-protocol"), "throughline.v1");
  }, realm.address("websocket"));
});

test("only the realm's own origin may connect", async () => {
  const host = new URL(realm.url).host;
  const foreign = ["http://evil.example", `http://${host}1`, "null", "http://localhost:1", `http://${host}@evil.example`];
  for (const path of ["websocket", "probe/websocket"]) {
    for (const origin of foreign) {
      await withRaw(async (raw) => {
        assertRefusal(await raw.request("GET", raw.handshake({ Origin: origin })), 403, "bad_origin", `origin ${origin}`);
      }, realm.address(path));
    }
    // A proxy in front may end TLS: the page's scheme is not the realm's matter.
    for (const scheme of ["http", "https"]) {
      await withRaw((raw) => raw.upgrade({ Origin: `${scheme}://${host}` }), realm.address(path));
    }
  }
});

test("an origin of the configuration may connect, and no other", async () => {
  const other = await Realm.start({ config: '[origins]\nallowed = ["https://app.example"]\n' });
  try {
    await withRaw((raw) => raw.upgrade({ Origin: "https://app.example" }), other.address("websocket"));
    await withRaw(async (raw) => {
      assertRefusal(await raw.request("GET", raw.handshake({ Origin: "http://app.example" })), 403, "bad_origin", "scheme");
    }, other.address("websocket"));
  } finally {
    await other.end();
  }
});

test("a kept-alive connection turns into a WebSocket", async () => {
  await withRaw(async (raw) => {
    for (let round = 0; round < 3; round++) {
      const answer = await raw.request("GET", { Host: raw.url.host }, "/healthz");
      assert.equal(answer.status, 200);
    }
    await raw.upgrade();
    raw.write(frame(1, "after three requests"));
    assert.equal((await raw.frame()).payload.toString(), "after three requests");
  });
});

test("a handshake with its first frame behind it is taken byte by byte", async () => {
  await withRaw(async (raw) => {
    raw.socket.setNoDelay(true);
    const head = Object.entries(raw.handshake()).map(([name, value]) => `${name}: ${value}`);
    const bytes = Buffer.concat([Buffer.from(`GET ${raw.url.pathname} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`), frame(1, "x".repeat(200))]);
    for (const byte of bytes) {
      await new Promise((resolve) => raw.socket.write(Buffer.of(byte), resolve));
    }
    assert.equal((await raw.answer()).status, 101);
    assert.equal((await raw.frame()).payload.toString(), "x".repeat(200));
  });
});

const header = (...bytes) => Buffer.from(bytes);

const BROKEN = {
  "an unmasked text": [frame(1, "hello", { mask: false }), 1002],
  "an unmasked ping": [frame(9, "", { mask: false }), 1002],
  "an unmasked close of one byte": [frame(8, "x", { mask: false }), 1002],
  "a continuation of nothing": [frame(0, "x"), 1002],
  "a text within a text": [Buffer.concat([frame(1, "a", { fin: false }), frame(1, "b")]), 1002],
  "a ping in fragments": [frame(9, "a", { fin: false }), 1002],
  "a ping of 126 bytes": [frame(9, "x".repeat(126)), 1002],
  "RSV1 without compression": [frame(1, "x", { rsv: 4 }), 1002],
  RSV2: [frame(1, "x", { rsv: 2 }), 1002],
  RSV3: [frame(1, "x", { rsv: 1 }), 1002],
  "a length of 16 bits that needs 7": [header(0x81, 0xfe, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0), 1002],
  "a length of 64 bits that needs 16": [header(0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 200), 1002],
  "a length with its highest bit set": [header(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0), 1002],
  "a length of 2^62": [header(0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), 1009],
  "text that is not UTF-8": [frame(1, Buffer.from([0xc3, 0x28])), 1007],
  "half a character at the end": [frame(1, Buffer.from([0xe2, 0x82])), 1007],
  "a close with one byte": [frame(8, Buffer.from([3])), 1002],
  "a close whose reason is not UTF-8": [frame(8, Buffer.from([3, 232, 0xff])), 1007],
};
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) BROKEN[`reserved opcode ${opcode}`] = [frame(opcode, "x"), 1002];
for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]) {
  BROKEN[`close code ${code}`] = [frame(8, Buffer.from([code >> 8, code & 255])), 1002];
}

for (const path of ["probe/websocket", "websocket"]) {
  test(`a broken frame ends the link with its code: ${path}`, async () => {
    for (const [what, [bytes, code]] of Object.entries(BROKEN)) {
      await withRaw(async (raw) => {
        await raw.upgrade();
        raw.write(bytes);
        const closed = await raw.close();
        assert.equal(closed.code, code, `${what}: ${closed.reason}`);
        assert.ok(closed.reason.length > 0, `${what}: the close gives no reason`);
        await raw.closed;
      }, realm.address(path));
    }
  });
}

test("an unmasked close, as a proxy that stops sends it in the client's name, is a close", async () => {
  for (const [bytes, code] of [[frame(8, "", { mask: false }), 1000], [frame(8, Buffer.from([3, 233]), { mask: false }), 1001]]) {
    await withRaw(async (raw) => {
      await raw.upgrade();
      raw.write(bytes);
      assert.equal((await raw.close()).code, code);
      await raw.closed;
    }, realm.address("websocket"));
  }
});

test("garbage harms nobody else", async () => {
  const link = await Link.open(realm.websocket);
  await link.request({ type: "subscribe", id: 1, channel: "calm", from: "new" });
  const vandals = [];
  for (let round = 0; round < 30; round++) {
    const vandal = await Raw.connect(realm.url);
    vandals.push(vandal);
    if (round % 3 === 0) vandal.write(randomBytes(5000));
    if (round % 3 === 1) vandal.write(Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0]), randomBytes(512)]));
    if (round % 3 === 2) vandal.write(`GET / HTTP/1.1\r\n${"X-Long: y\r\n".repeat(20_000)}`);
  }
  for (let round = 0; round < 20; round++) {
    await realm.http("POST", "channels/calm/events", { body: `event ${round}`, status: 201 });
    await link.until((message) => message.type === "event" && message.data === `event ${round}`);
  }
  assert.equal((await fetch(`${realm.url}/healthz`)).status, 200);
  for (const vandal of vandals) vandal.end();
  await link.close();
});
