// The doctor on paths that are broken in every way that tests can break them: what it finds is compared word by word with
// tests/doctor/NAME.json. Numbers that are others at every run are taken out.
// `UPDATE=1` puts down what it finds now, `CASES=a,b` is for some of them alone.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Authority } from "./lib/authority.mjs";
import { CASES, settled } from "./lib/doctor-cases.mjs";
import { binary, run } from "./lib/processes.mjs";
import { INSPECTOR } from "./lib/proxy-path.mjs";
import { NAME } from "./lib/proxy-configs.mjs";
import { Realm } from "./lib/realm.mjs";

const FOLDER = join(import.meta.dirname, "doctor");
/** Cases that are under way at a time. */
const CONCURRENT_MAX = 6;
const PROBES = "probes.per_minute_max = 100000\n";

const scene = { realms: {} };
before(async () => {
  const folder = mkdtempSync(join(tmpdir(), "throughline-doctor-"));
  Object.assign(scene, { folder });
  const authority = new Authority(folder, "Throughline tests");
  scene.inspection = new Authority(folder, INSPECTOR);
  // Of the loopback network, so that nobody else has its port 443.
  const address = ["127", 1 + (process.pid >> 14), 1 + ((process.pid >> 7) & 127), 1 + (process.pid & 127)].join(".");
  scene.issued = authority.issue("good", [NAME], ["127.0.0.1", address]);
  scene.secureAuthority = `${address}:443`;
  const misnamed = authority.issue("misnamed", ["other.test"], []);
  const expired = authority.issue("expired", [], ["127.0.0.1"]);
  outdate(folder, expired, authority);
  const tls = ({ cert, key }) => `${PROBES}[tls]\ncertificates = ["${cert}"]\nkeys = ["${key}"]\n`;
  const { realms } = scene;
  realms.open = await Realm.start({ config: PROBES });
  realms.secure = await Realm.start({ config: tls(scene.issued), listen: scene.secureAuthority });
  realms.misnamed = await Realm.start({ config: tls(misnamed) });
  realms.expired = await Realm.start({ config: tls(expired) });
  realms.selfSigned = await Realm.start({ config: `${PROBES}tls.self_signed = true\n` });
  realms.authority = await Realm.start({ config: tls(selfMade(scene)) });
  realms.mute = await Realm.start({ config: "probes.enabled = false\n" });
});
after(async () => {
  await Promise.all(Object.values(scene.realms).map((realm) => realm.end()));
  rmSync(scene.folder, { recursive: true, force: true });
});

/** What `openssl req -x509` makes by itself: self-signed, and an authority's. */
function selfMade(scene) {
  const [cert, key] = ["authority.pem", "authority.key"].map((name) => join(scene.folder, name));
  const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=self-made"];
  execFileSync("openssl", ["req", "-x509", ...made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "pipe" });
  return { cert: (scene.authority = cert), key };
}

/** Puts a certificate of yesterday in the place of a good one. */
function outdate(folder, { cert }, { root, key }) {
  const signing = ["-CA", root, "-CAkey", key, "-CAcreateserial", "-extfile", join(folder, "expired.cnf")];
  const day = (ago) => new Date(Date.now() - ago * 86_400_000).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  const times = ["-not_before", day(30), "-not_after", day(1)];
  try {
    execFileSync("openssl", ["x509", "-req", "-in", join(folder, "expired.csr"), ...signing, ...times, "-out", cert], { stdio: "pipe" });
  } catch {
    // Before OpenSSL 3.4 the days may be negative, and there are no times.
    execFileSync("openssl", ["x509", "-req", "-in", join(folder, "expired.csr"), ...signing, "-days", "-1", "-out", cert], { stdio: "pipe" });
  }
}

/** What a run says, as far as it is the same at every run. */
function essence(report) {
  const findings = report.findings.map(({ code, severity, transports, sentence, fix, product, line }) => ({
    code,
    severity,
    transports,
    sentence: settled(sentence),
    fix: settled(fix),
    ...(product ? { product, line: settled(line) } : {}),
  }));
  return { works: report.works, verdict: settled(report.verdict), findings };
}

async function examine({ name, make, status = 0 }) {
  const path = await make(scene);
  try {
    const args = ["doctor", ...path.args, "--json"];
    const silence = path.args.includes("--idle") ? [] : ["--idle", "0"];
    const { lines, stderr } = await run(binary(), [...args, ...silence], { status });
    assert.equal(lines.length, 1, stderr);
    const report = JSON.parse(lines[0]);
    if (status === 1) assert.equal(stderr.trim(), `throughline: ${report.verdict}`);
    return { report, found: `${JSON.stringify(essence(report), undefined, 2)}\n` };
  } catch (error) {
    throw new Error(`${name}: ${error.message}`, { cause: error });
  } finally {
    await path.end();
  }
}

/** At most so many at a time. */
const waiting = [];
let free = CONCURRENT_MAX;
async function inTurn(act) {
  if (free === 0) await new Promise((resolve) => waiting.push(resolve));
  else free -= 1;
  try {
    return await act();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }
}

test("every broken path is named, with its fix", { concurrency: true }, async (group) => {
  const wanted = process.env.CASES?.split(",");
  const cases = CASES.filter(({ name }) => wanted === undefined || wanted.includes(name));
  await Promise.all(
    cases.map((one) =>
      group.test(one.name, async () => {
        const { report, found } = await inTurn(() => examine(one));
        const file = join(FOLDER, `${one.name}.json`);
        if (process.env.UPDATE) writeFileSync(file, found);
        const golden = existsSync(file) ? readFileSync(file, "utf8") : "";
        assert.equal(found, golden, JSON.stringify(report.observations.trials.filter(({ fault }) => fault)));
      }),
    ),
  );
});

test("every golden file has its case", () => {
  const names = CASES.map(({ name }) => `${name}.json`).sort();
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  assert.deepEqual(files.sort(), names);
});

test("of a path with TLS it is told whether HTTP/2 passes, and WebSocket within it", async () => {
  const { realms, issued } = scene;
  const args = [realms.secure.url, "--proxy", "none", "--idle", "0", "--ca", issued.root];
  const { lines } = await run(binary(), ["doctor", ...args, "--json"]);
  const [trial, ...others] = JSON.parse(lines[0]).observations.trials.filter(({ what }) => what === "http2");
  assert.deepEqual(others, []);
  assert.deepEqual([trial.fault, trial.tls.alpn, trial.extended_connect], [undefined, "h2", true]);
  const told = await run(binary(), ["doctor", ...args]);
  assert.match(told.lines.join("\n"), /\n {2}request in HTTP\/2 +works, with extended CONNECT +\d+/);
});

test("a person gets a verdict, sentences with fixes, and a table", async () => {
  const { realms } = scene;
  const { lines } = await run(binary(), ["--url", realms.open.url, "doctor", "--proxy", "none", "--idle", "0"]);
  assert.equal(lines[0], "Sessions work over WebSocket, streams and long polls.");
  const text = lines.join("\n");
  assert.match(text, /\nnote: There is no TLS at .*\n {4}Set tls\.certificates/);
  assert.match(text, /\ndirectly +connect +TLS +head +first +round\n/);
  assert.match(text, /\n {2}WebSocket hixie-76 +works +\d+ +- +\d+ +\d+ +\d+\n/);
  assert.match(text, /\n {2}event stream +works, one by one +\d+/);
});

test("a command line that makes no sense ends with 2", async () => {
  for (const args of [["ftp://host"], ["http://host", "--origin", "page.test"], ["http://host", "--idle", "soon"], ["http://host", "--proxy", "x://y"]]) {
    const { stderr } = await run(binary(), ["doctor", ...args], { status: 2 });
    assert.notEqual(stderr, "");
  }
});

test("nobody who reads no more is an error", async () => {
  const { realms } = scene;
  await run("bash", ["-o", "pipefail", "-c", '"$0" "$@" | true', binary(), "doctor", realms.open.url, "--proxy", "none", "--idle", "0"]);
});
