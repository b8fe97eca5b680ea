// Certificate authorities of a test's own, and browsers that trust them.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

const openssl = (...args) => execFileSync("openssl", args, { stdio: "pipe" });

/** A root certificate with its key, in files. */
export class Authority {
  constructor(folder, name) {
    const file = join(folder, name.replace(/\W+/g, "-"));
    Object.assign(this, { folder, name, root: `${file}.pem`, key: `${file}.key`, both: `${file}-both.pem` });
    const uses = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    openssl("req", "-x509", "-days", "30", ...KEY, "-keyout", this.key, "-subj", `/CN=${name}`, ...uses, "-out", this.root);
    concatenate(this.both, this.root, this.key);
  }

  /** A certificate for `localhost`, some names and some addresses; gives the names of its file, of its key's, and of one with both. */
  issue(name, others, addresses) {
    const file = (end) => join(this.folder, `${name}${end}`);
    const issued = { cert: file(".pem"), key: file(".key"), both: file("-both.pem"), root: this.root };
    const names = [...["localhost", ...others].map((other) => `DNS:${other}`), ...addresses.map((address) => `IP:${address}`)].join(",");
    writeFileSync(file(".cnf"), `subjectAltName=${names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n`);
    openssl("req", "-new", ...KEY, "-keyout", issued.key, "-subj", "/CN=localhost", "-out", file(".csr"));
    const signing = ["-CA", this.root, "-CAkey", this.key, "-CAcreateserial", "-extfile", file(".cnf")];
    openssl("x509", "-req", "-days", "30", "-in", file(".csr"), ...signing, "-out", issued.cert);
    concatenate(issued.both, issued.cert, issued.key);
    return issued;
  }
}

function concatenate(to, ...files) {
  writeFileSync(to, files.map((file) => readFileSync(file, "utf8")).join(""));
}

/** Makes a folder in which a browser finds these authorities: a profile of Firefox, or what Chromium has in its home. */
export function trust(folder, authorities) {
  mkdirSync(folder, { recursive: true });
  const certutil = (...args) => execFileSync("certutil", [...args, "-d", `sql:${folder}`], { stdio: "pipe" });
  certutil("-N", "--empty-password");
  for (const { name, root } of authorities) certutil("-A", "-t", "C,,", "-n", name, "-i", root);
}
