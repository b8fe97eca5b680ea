// The versions of WebSocket before RFC 6455, byte by byte.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { socketsFall, socketsOf } from "./lib/fronts.mjs";
import { Hixie } from "./lib/hixie.mjs";
import { Raw, frame } from "./lib/raw.mjs";
import { Realm } from "./lib/realm.mjs";

let realm;
before(async () => (realm = await Realm.start({ config: "shards = 2\n[websocket]\nkey_ms = 300\n[timeouts]\nheartbeat_ms = 1000\nconnect_ms = 1000\n" })));
after(() => realm.end());

const probe = () => realm.address("probe/websocket");

async function using(link, use) {
  try {
    return await use(link);
  } finally {
    link.end();
  }
}

const dialled = async (use, url = probe()) => using(await Hixie.dial(url), use);

/** Echoes some texts, and closes. */
async function echoes(link) {
  for (const text of ["text", "ä€😀", "", "long ".repeat(40_000)]) {
    link.say(text);
    assert.equal(await link.next(), text);
  }
  link.write(Buffer.of(0xff, 0));
  assert.equal(await link.next(), undefined);
  await link.closed;
}

const metric = async (name) => {
  const text = await (await fetch(`${realm.url}/metrics`)).text();
  return Number(text.split("\n").find((line) => line.startsWith(`throughline_${name} `))?.split(" ")[1]);
};

test("hixie-76: the head comes before the key bytes are sent, letter by letter", async () => {
  await dialled(async (link) => {
    link.ask(link.headers76({ "Sec-WebSocket-Protocol": "sample other" }), undefined, "/throughline/v1/probe/websocket?x=1");
    const host = link.url.host;
    assert.equal(
      await link.head(),
      "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Origin: http://${host}\r\nSec-WebSocket-Location: ws://${host}/throughline/v1/probe/websocket?x=1\r\n` +
        "Sec-WebSocket-Protocol: sample\r\n\r\n",
    );
    for (const byte of link.keyBytes()) link.write(Buffer.of(byte));
    await link.digest();
    await echoes(link);
  });
});

test("hixie-76: key bytes as a body, and with the first frames behind them", async () => {
  for (const more of [{}, { "Content-Length": "8" }]) {
    await dialled(async (link) => {
      link.ask(link.headers76(more), Buffer.concat([link.keyBytes(), Buffer.from("\0one\xff\0two\xff", "latin1")]));
      await link.head();
      await link.digest();
      assert.deepEqual([await link.next(), await link.next()], ["one", "two"]);
      await echoes(link);
    });
  }
});

test("hixie-76 byte by byte", async () => {
  await dialled(async (link) => {
    link.socket.setNoDelay(true);
    const { pathname, host } = link.url;
    const lines = Object.entries(link.headers76()).map(([name, value]) => `${name}: ${value}`);
    const head = Buffer.from([`GET ${pathname} HTTP/1.1`, ...lines, "", ""].join("\r\n"));
    for (const byte of Buffer.concat([head, link.keyBytes(), Buffer.from("\0one\xff", "latin1")])) link.write(Buffer.of(byte));
    assert.ok((await link.head()).includes(`ws://${host}${pathname}`));
    await link.digest();
    assert.equal(await link.next(), "one");
  });
});

test("hixie-76: spaces at the ends of a key count", async () => {
  await dialled(async (link) => {
    link.ask(link.headers76({ "Sec-WebSocket-Key1": " 1 2 " }), link.keyBytes());
    await link.head();
    await link.digest([4, 259970620]);
  });
});

test("hixie-76 and hixie-75 as later requests of a connection, whole and in pieces", async () => {
  for (const more of [{}, { "Content-Length": "8" }]) {
    for (const pieces of [1, 2]) {
      await dialled(async (link) => {
        const first = `GET /healthz HTTP/1.1\r\nHost: ${link.url.host}\r\n\r\n`;
        link.write(first);
        assert.equal((await link.answer()).status, 200);
        const behind = Buffer.concat([link.keyBytes(), Buffer.from("\0one\xff", "latin1")]);
        link.ask(link.headers76(more), pieces === 1 ? behind : undefined);
        assert.match(await link.head(), /^HTTP\/1\.1 101 WebSocket Protocol Handshake\r\n/);
        if (pieces === 2) link.write(behind);
        await link.digest();
        assert.equal(await link.next(), "one");
        await echoes(link);
      });
    }
  }
  await dialled(async (link) => {
    link.write(`GET /healthz HTTP/1.1\r\nHost: ${link.url.host}\r\n\r\n`);
    assert.equal((await link.answer()).status, 200);
    link.ask(link.headers75(), Buffer.from("\0one\xff", "latin1"));
    assert.match(await link.head(), /^HTTP\/1\.1 101 Web Socket Protocol Handshake\r\n/);
    assert.equal(await link.next(), "one");
    await echoes(link);
  });
});

test("hixie-75", async () => {
  await dialled(async (link) => {
    link.ask(link.headers75({ "WebSocket-Protocol": "throughline.v1" }));
    const { host, pathname } = link.url;
    assert.equal(
      await link.head(),
      "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n" +
        `WebSocket-Origin: http://${host}\r\nWebSocket-Location: ws://${host}${pathname}\r\nWebSocket-Protocol: throughline.v1\r\n\r\n`,
    );
    await echoes(link);
  });
});

test("key bytes that do not come: closed, counted, logged, and told to who asks", async () => {
  const before = await metric("websocket_keys_lost_total");
  const url = `${probe()}?id=lost-key`;
  await dialled(async (link) => {
    link.ask(link.headers76({ Via: "1.1 cache.example", "X-Forwarded-For": "192.0.2.7" }), Buffer.from("three"));
    assert.match(await link.head(), /^HTTP\/1\.1 101 /);
    await link.closed;
    assert.equal(link.bytes.length, 0);
  }, url);
  assert.equal(await metric("websocket_keys_lost_total"), before + 1);
  const seen = await realm.http("GET", "diagnose?id=lost-key");
  assert.deepEqual([seen.outcome, seen.code, seen.via, seen.forwarded], ["refused", "key_bytes_lost", "1.1 cache.example", "192.0.2.7"]);
  const reason = /5 of the 8 key bytes.*layer-7 proxy dropped the key bytes \(Via: 1\.1 cache\.example; X-Forwarded-For: 192\.0\.2\.7\)/;
  assert.match(seen.message, reason);
  await realm.server.until(() => (reason.test(realm.server.stderr) ? true : undefined));
});

test("many handshakes without key bytes leave nothing behind, and do not fill the log", async () => {
  const [held, lines] = [socketsOf(realm.server), () => realm.server.stderr.split("key bytes of a hixie-76").length];
  const before = lines();
  const links = await Promise.all(Array.from({ length: 200 }, () => Hixie.dial(probe())));
  for (const link of links) link.ask(link.headers76());
  await Promise.all(links.map((link) => link.closed));
  await socketsFall(realm.server, held + 1);
  assert.ok(lines() - before < 20, "one line a second");
});

test("a realm that stops waits for no key bytes", async () => {
  const stopping = await Realm.start({ config: "[websocket]\nkey_ms = 10000\n[timeouts]\ndrain_ms = 600000\n" });
  try {
    await dialled(async (link) => {
      link.ask(link.headers76());
      await link.head();
      await stopping.stop();
      await link.closed;
    }, stopping.websocket);
  } finally {
    await stopping.end();
  }
});

test("hixie-76 in one piece with the request before it", async () => {
  await dialled(async (link) => {
    const lines = Object.entries(link.headers76()).map(([name, value]) => `${name}: ${value}`);
    const head = [`GET ${link.url.pathname} HTTP/1.1`, ...lines, "", ""].join("\r\n");
    link.write(Buffer.concat([Buffer.from(`GET /healthz HTTP/1.1\r\nHost: ${link.url.host}\r\n\r\n${head}`), link.keyBytes(), Buffer.from("\0one\xff", "latin1")]));
    assert.equal((await link.answer()).status, 200);
    assert.match(await link.head(), /^HTTP\/1\.1 101 /);
    await link.digest();
    assert.equal(await link.next(), "one");
  });
});

test("handshakes of the drafts that are refused", async () => {
  const cases = [
    [{ "Sec-WebSocket-Key1": "1 2 3 4" }, 400],
    [{ "Sec-WebSocket-Key2": "no spaces" }, 400],
    [{ "Content-Length": "9" }, 400],
    [{ Upgrade: "h2c" }, 426],
    [{ Connection: "keep-alive" }, 426],
    [{ Origin: "http://elsewhere.example" }, 403],
  ];
  for (const [more, status] of cases) {
    await dialled(async (link) => {
      link.ask(link.headers76(more), link.keyBytes());
      const answer = await link.answer();
      assert.equal(answer.status, status, JSON.stringify(more));
      assert.match(answer.headers.get("connection"), /close/);
      await link.closed;
      assert.equal(link.bytes.length, 0, "the key bytes were answered");
    });
  }
  await dialled(async (link) => {
    link.ask(link.headers75({ Origin: "http://elsewhere.example" }));
    assert.equal((await link.answer()).status, 403);
  });
});

test("frames that are no text are passed over, endless and broken ones end the link", async () => {
  await using(await Hixie.open76(probe()), async (link) => {
    link.write(Buffer.from([0x05, 1, 2, 0xff, 0x81, 3, 9, 9, 9]));
    link.say("still here");
    assert.equal(await link.next(), "still here");
  });
  const broken = [Buffer.from([0, 0xc3, 0x28, 0xff]), Buffer.from([0x80, 0xff, 0xff, 0xff, 0x7f]), Buffer.concat([Buffer.of(0), Buffer.alloc(3_000_000, 97)])];
  const codes = [1007, 1009, 1009];
  for (const [at, bytes] of broken.entries()) {
    await using(await Hixie.open76(realm.websocket), async (link) => {
      link.write(bytes);
      const { code, reason } = await link.message("close");
      assert.equal(code, codes[at]);
      assert.ok(reason.length > 5);
      assert.equal(await link.next(), undefined);
      await link.closed;
    });
  }
});

for (const [version, open] of Object.entries({ "hixie-76": Hixie.open76, "hixie-75": Hixie.open75 })) {
  test(`${version}: a session that subscribes, publishes bytes, lives and resumes`, async () => {
    const channel = `legacy-${version}`;
    const first = await open(realm.websocket);
    first.say('{"type":"connect","versions":[1]}');
    const { session } = await first.message("welcome");
    first.say(JSON.stringify({ type: "subscribe", id: 1, channel, from: "new" }));
    const { epoch } = await first.message("reply");
    first.say(JSON.stringify({ type: "publish", id: 2, channel, base64: "AP8A" }));
    const event = await first.message("event");
    assert.equal(event.base64, "AP8A");
    // The realm asks by a message of its own whether the client lives.
    assert.equal((await first.message("ping")).type, "ping");
    first.end();
    await realm.http("POST", `channels/${channel}/events`, { body: "while away", status: 201 });
    await using(await open(realm.websocket), async (second) => {
      second.say(JSON.stringify({ type: "connect", versions: [1], session }));
      assert.equal((await second.message("welcome")).session, session);
      second.say(JSON.stringify({ type: "subscribe", id: 3, channel, after: event.eid, epoch }));
      assert.equal((await second.message("event")).data, "while away");
      second.say(JSON.stringify({ type: "publish", id: 2, channel, base64: "AP8A" }));
      let reply;
      do reply = await second.message("reply");
      while (reply.id !== 2);
      assert.equal(reply.duplicate, true);
      second.write(Buffer.of(0xff, 0));
      assert.equal(await second.next(), undefined);
    });
  });
}

test("versions 7 and 8, with the origin that they send", async () => {
  for (const version of ["7", "8"]) {
    await using(await Raw.connect(probe()), async (raw) => {
      const origin = `http://${raw.url.host}`;
      await raw.upgrade({ "Sec-WebSocket-Version": version, "Sec-WebSocket-Origin": origin });
      raw.write(frame(1, "hello"));
      assert.equal((await raw.frame()).payload.toString(), "hello");
    });
    await using(await Raw.connect(probe()), async (raw) => {
      const answer = await raw.request("GET", raw.handshake({ "Sec-WebSocket-Version": version, "Sec-WebSocket-Origin": "http://elsewhere.example" }));
      assert.equal(answer.status, 403);
    });
    await using(await Raw.connect(probe()), async (raw) => {
      const answer = await raw.request("GET", raw.handshake({ "Sec-WebSocket-Version": version, Origin: "http://elsewhere.example" }));
      assert.equal(answer.status, 403);
    });
  }
});

test("versions that are switched off are refused with those that are not", async () => {
  const strict = await Realm.start({ config: '[websocket]\nversions = ["13"]\n' });
  try {
    const refused = async (ask) => {
      await dialled(async (link) => {
        ask(link);
        const answer = await link.answer();
        assert.equal(answer.status, 426);
        assert.equal(answer.headers.get("sec-websocket-version"), "13");
        assert.equal(JSON.parse(answer.body).error.code, "version_not_supported");
      }, strict.websocket);
    };
    await refused((link) => link.ask(link.handshake({ "Sec-WebSocket-Version": "8" })));
    await refused((link) => link.ask(link.headers76(), link.keyBytes()));
    await refused((link) => link.ask(link.headers75()));
  } finally {
    await strict.end();
  }
});
