// TLS as a foreign judge sees it: testssl.sh, no finding above "low".

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { run } from "./lib/processes.mjs";
import { Realm } from "./lib/realm.mjs";

const ABOVE_LOW = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];

test("testssl.sh finds nothing above low", async () => {
  const folder = mkdtempSync(join(tmpdir(), "throughline-testssl-"));
  const file = (name) => join(folder, name);
  const openssl = (...args) => execFileSync("openssl", args, { stdio: "pipe" });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", "-days", "300", ...curve, "-subj", "/CN=root of a test", "-keyout", file("root.key"), "-out", file("root.pem"));
  const extensions = ["subjectAltName=DNS:localhost,IP:127.0.0.1", "basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth"];
  extensions.push("crlDistributionPoints=URI:http://127.0.0.1/crl");
  const added = extensions.flatMap((text) => ["-addext", text]);
  const signer = ["-CA", file("root.pem"), "-CAkey", file("root.key")];
  openssl("req", "-x509", "-days", "300", ...signer, ...curve, "-subj", "/CN=localhost", ...added, "-keyout", file("key.pem"), "-out", file("leaf.pem"));
  writeFileSync(file("chain.pem"), readFileSync(file("leaf.pem"), "utf8") + readFileSync(file("root.pem"), "utf8"));
  const realm = await Realm.start({ config: `[tls]\ncertificates = ["${file("leaf.pem")}"]\nkeys = ["${file("key.pem")}"]\n` });
  try {
    const args = ["--quiet", "--color", "0", "--add-ca", file("root.pem"), "--jsonfile", file("out.json")];
    await run("testssl", [...args, new URL(realm.url).host], { status: null });
    const findings = JSON.parse(readFileSync(file("out.json"), "utf8"));
    assert.ok(findings.some(({ id, severity }) => id === "TLS1_3" && severity === "OK"), "testssl.sh did not get through");
    assert.deepEqual(findings.filter(({ severity }) => ABOVE_LOW.includes(severity)), []);
  } finally {
    await realm.end();
    rmSync(folder, { recursive: true, force: true });
  }
});
