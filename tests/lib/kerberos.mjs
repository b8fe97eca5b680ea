// A realm of Kerberos: its KDC, and what those need who know it.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePort, listening } from "./fronts.mjs";
import { Program } from "./processes.mjs";

export const REALM = "OFFICE.TEST";

export class Kerberos {
  /** Keeps everything below `folder`; knows one user and one service, such as HTTP/localhost. */
  constructor(folder, { username, password }, service) {
    this.folder = join(folder, "kerberos");
    this.user = `${username}@${REALM}`;
    Object.assign(this, { password, service });
    this.keytab = join(this.folder, "keytab");
    this.env = { KRB5_CONFIG: join(this.folder, "krb5.conf"), KRB5CCNAME: join(this.folder, "tickets") };
  }

  async start() {
    const { folder, service, keytab } = this;
    const port = await freePort();
    mkdirSync(folder);
    const client = ["[libdefaults]", `default_realm = ${REALM}`, "udp_preference_limit = 1", "dns_lookup_kdc = false", "dns_canonicalize_hostname = false"];
    const realm = [`[realms]`, `${REALM} = {`, `kdc = 127.0.0.1:${port}`, "}", ""];
    writeFileSync(this.env.KRB5_CONFIG, [...client, ...realm].join("\n"));
    const profile = join(folder, "kdc.conf");
    const files = [`database_name = ${folder}/principals`, `key_stash_file = ${folder}/stash`, `acl_file = ${folder}/acl`];
    const listen = ["[kdcdefaults]", 'kdc_listen = ""', `kdc_tcp_listen = 127.0.0.1:${port}`];
    writeFileSync(profile, [...listen, "[realms]", `${REALM} = {`, ...files, "}", ""].join("\n"));
    const env = { ...process.env, ...this.env, KRB5_KDC_PROFILE: profile };
    execFileSync("/usr/sbin/kdb5_util", ["create", "-s", "-r", REALM, "-P", "master"], { env, stdio: "pipe" });
    const commands = [`addprinc +requires_preauth -pw "${this.password}" ${this.user}`, `addprinc -randkey ${service}`, `ktadd -k ${keytab} ${service}`];
    for (const command of commands) execFileSync("/usr/sbin/kadmin.local", ["-r", REALM, "-q", command], { env, stdio: "pipe" });
    // Proxies give up being root.
    chmodSync(keytab, 0o644);
    this.kdc = new Program("/usr/sbin/krb5kdc", ["-n", "-P", join(folder, "pid")], { env });
    await listening(port, this.kdc);
  }

  /** Has a ticket for programs that take no password. */
  signIn() {
    execFileSync("/usr/bin/kinit", [this.user], { env: { ...process.env, ...this.env }, input: `${this.password}\n`, stdio: "pipe" });
  }

  async end() {
    await this.kdc?.kill("SIGTERM");
  }
}
