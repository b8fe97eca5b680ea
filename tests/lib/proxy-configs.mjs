// Configurations of proxies that nobody would recommend for a realm, but that are met: those of distributions, the least that
// a manual shows, and policies of companies.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";

import { APACHE_MODULES } from "./fronts.mjs";

/** Who is let through by proxies that ask. */
export const USER = { username: "worker", password: "open sesame" };

const http = (folder) =>
  ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");

const modules = (...names) => names.map((name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so`).join("\n");

const apache = (port, ...names) =>
  `${modules("mpm_event", "authz_core", "proxy", "proxy_http", ...names)}\nServerName localhost\nPidFile pid\nErrorLog error.log
Listen 127.0.0.1:${port}\nThreadsPerChild 64\nMaxRequestWorkers 1024\n`;

const squid = (port, ...lines) =>
  [`http_port 127.0.0.1:${port}`, ...lines, "http_access allow localhost", "http_access deny all", "cache deny all", ""].join("\n");

/** Squid asks who it is. `helper` says how passwords are looked up. */
const asking = (port, upstream, scheme, helper, ...lines) =>
  squid(
    port,
    `auth_param ${scheme} program ${helper}`,
    ...lines,
    `acl tunnels port 443 ${upstream.split(":")[1]}`,
    "acl known proxy_auth REQUIRED",
    "http_access deny CONNECT !tunnels",
    "http_access deny !known",
  );

/** Squid breaks TLS open with certificates that it makes itself, and keeps in a folder of its own user. */
const inspecting = ({ folder, inspection, root, upstream }, ...ports) => {
  const kept = join(folder, "certificates");
  const hosts = join(folder, "hosts");
  writeFileSync(hosts, `${upstream.split(":")[0]} ${NAME}\n`);
  execFileSync("/usr/lib/squid/security_file_certgen", ["-c", "-s", kept, "-M", "4MB"], { stdio: "pipe" });
  if (process.getuid() === 0) execFileSync("chown", ["-R", "proxy:proxy", kept]);
  const made = `ssl-bump tls-cert=${inspection.both} generate-host-certificates=on dynamic_cert_mem_cache_size=4MB`;
  return [
    ...ports.map((port) => `${port} ${made}`),
    `sslcrtd_program /usr/lib/squid/security_file_certgen -s ${kept} -M 4MB`,
    "acl first at_step SslBump1",
    "ssl_bump peek first",
    "ssl_bump stare all",
    "ssl_bump bump all",
    `tls_outgoing_options cafile=${root}`,
    `hosts_file ${hosts}`,
    "http_access allow all",
    "cache deny all",
    "",
  ].join("\n");
};

/** It breaks TLS open by itself, with the authority that it finds in its folder. */
const mitmproxy = ({ folder, port, inspection, root }, ...lines) => {
  writeFileSync(join(folder, "mitmproxy-ca.pem"), readFileSync(inspection.both));
  return ["listen_host: 127.0.0.1", `listen_port: ${port}`, `ssl_verify_upstream_trusted_ca: ${root}`, ...lines, ""].join("\n");
};

const privoxy = (folder, port) =>
  readFileSync("/etc/privoxy/config", "utf8")
    .replace(/^listen-address.*$/gm, "")
    .replace(/^logdir.*$/m, `logdir ${folder}`)
    .concat(`\nlisten-address 127.0.0.1:${port}\n`);

/** The realm's name where TLS is inspected: Squid 5 makes no certificates for addresses. */
export const NAME = "realm.test";
/** The port to which a gate leads what it takes. */
export const INTERCEPT = 3129;

const UPGRADES = "http_upgrade_request_protocols websocket allow all\n";

const taking = (port) => `http_port 127.0.0.1:${port}\nhttp_port ${INTERCEPT} intercept\nhttp_access allow all\ncache deny all\n`;

export const CONFIGS = {
  nginx: ({ folder, port, upstream }) =>
    `events {}\nhttp { ${http(folder)} gzip on; server { listen 127.0.0.1:${port}; location / { proxy_pass http://${upstream}; } } }\n`,
  // What is passed on still begins with the prefix: the address behind proxy_pass has no slash at its end.
  "nginx-prefix-kept": ({ folder, port, upstream }) =>
    `events {}\nhttp { ${http(folder)} server { listen 127.0.0.1:${port};
location = /healthz { proxy_pass http://${upstream}; } location /live/ { proxy_pass http://${upstream}; } } }\n`,
  apache: ({ port, upstream }) => `${apache(port)}ProxyPass / http://${upstream}/\n`,
  // What BrowserMatch does to old clients in many files, to everybody: HTTP/1.0 on both sides, and nothing kept alive.
  "apache-http10": ({ port, upstream }) =>
    `${apache(port, "env")}SetEnv force-proxy-request-1.0 1\nSetEnv downgrade-1.0 1\nSetEnv force-response-1.0 1\nSetEnv nokeepalive 1
SetEnv proxy-nokeepalive 1\nProxyPreserveHost On\nProxyPass / http://${upstream}/\n`,
  lighttpd: ({ folder, port, upstream }) => {
    const [host, to] = upstream.split(":");
    return `server.document-root = "${folder}"\nserver.bind = "127.0.0.1"\nserver.port = ${port}\nserver.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "${host}", "port" => ${to})))\n`;
  },
  varnish: ({ upstream }) => {
    const [host, port] = upstream.split(":");
    return `vcl 4.1;\nbackend realm { .host = "${host}"; .port = "${port}"; }\n`;
  },
  // Debian's own file: tunnels to 443 only.
  squid: ({ port }) => readFileSync("/etc/squid/squid.conf", "utf8").replace(/^http_port .*$/m, `http_port 127.0.0.1:${port}`),
  "squid-no-tunnels": ({ port }) => squid(port, "http_access deny CONNECT"),
  "squid-basic": ({ folder, port, upstream }) => {
    const hash = execFileSync("openssl", ["passwd", "-apr1", USER.password], { encoding: "utf8" });
    writeFileSync(join(folder, "users"), `${USER.username}:${hash}`);
    return asking(port, upstream, "basic", `/usr/lib/squid/basic_ncsa_auth ${folder}/users`, "auth_param basic realm office");
  },
  "squid-digest": ({ folder, port, upstream }) => {
    const secret = createHash("md5").update(`${USER.username}:office:${USER.password}`).digest("hex");
    writeFileSync(join(folder, "users"), `${USER.username}:office:${secret}\n`);
    return asking(port, upstream, "digest", `/usr/lib/squid/digest_file_auth -c ${folder}/users`, "auth_param digest realm office");
  },
  // Samba's helper knows the one password by itself, and needs no domain controller.
  "squid-ntlm": ({ folder, port, upstream }) => {
    const kept = join(folder, "samba");
    mkdirSync(kept);
    chmodSync(kept, 0o777);
    const folders = ["private dir", "lock directory", "state directory", "cache directory"].map((name) => `${name} = ${kept}`);
    writeFileSync(join(folder, "smb.conf"), ["[global]", "workgroup = OFFICE", "server role = standalone server", ...folders, ""].join("\n"));
    const who = `--domain=OFFICE --username=${USER.username} --password='${USER.password}'`;
    const helper = join(folder, "helper");
    writeFileSync(helper, `#!/bin/sh\nexec /usr/bin/ntlm_auth --configfile=${folder}/smb.conf --helper-protocol=squid-2.5-ntlmssp ${who}\n`);
    chmodSync(helper, 0o755);
    return asking(port, upstream, "ntlm", helper);
  },
  "squid-kerberos": ({ port, upstream, kerberos: { env, keytab, service } }) =>
    asking(port, upstream, "negotiate", `/usr/bin/env KRB5_CONFIG=${env.KRB5_CONFIG} /usr/lib/squid/negotiate_kerberos_auth -k ${keytab} -s ${service}`),
  "squid-inspecting": (way) => inspecting(way, `http_port 127.0.0.1:${way.port}`),
  "squid-inspecting-upgrades": (way) => inspecting(way, `http_port 127.0.0.1:${way.port}`) + UPGRADES,
  "squid-intercepting": ({ port }) => taking(port),
  "squid-intercepting-upgrades": ({ port }) => taking(port) + UPGRADES,
  "squid-intercepting-tls": (way) => inspecting(way, `http_port 127.0.0.1:${way.port}`, `https_port ${INTERCEPT} intercept`),
  // What clients say to the proxy is under TLS of its own.
  "squid-secure": ({ port, both }) => squid(port).replace(/^http_port (.*)/, `https_port $1 tls-cert=${both}`),
  // Debian's own files, but for where it listens: by them a browser's pages are read to their end before they are passed on.
  privoxy: ({ folder, port }) => privoxy(folder, port),
  "privoxy-443": ({ folder, port }) => {
    writeFileSync(join(folder, "tunnels.action"), "{+limit-connect{443}}\n/\n");
    return `${privoxy(folder, port)}actionsfile ${folder}/tunnels.action\n`;
  },
  // Whole answers are read before they are passed on, and WebSocket passes.
  mitmproxy: (way) => mitmproxy(way),
  "mitmproxy-no-websocket": (way) => mitmproxy(way, "websocket: false", "rawtcp: false"),
  dante: ({ port }) => `logoutput: stderr\ninternal: 127.0.0.1 port = ${port}\nexternal: lo\nclientmethod: none\nsocksmethod: none
user.unprivileged: nobody\nclient pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\nsocks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n`,
  // It has no file.
  microsocks: () => "",
  tinyproxy: ({ port }) => `Port ${port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nConnectPort 443\nConnectPort 563\n`,
};

/** What tests need and an operator does not: names of files that no other instance has, and a quick end. */
export const ADDED = {
  squid: (folder) =>
    `pid_filename none\ncache_log ${folder}/cache.log\naccess_log none\nshutdown_lifetime 1 second\npinger_enable off\n`,
};
