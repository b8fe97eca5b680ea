// Real proxies in front of a realm, each with the least configuration that passes WebSocket on: started here, on a free
// port, in a folder that vanishes.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Program } from "./processes.mjs";

/** A port that nobody listens on. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Resolves when something accepts connections at a port, as long as `program` runs. */
export function listening(port, program) {
  return new Promise((resolve, reject) => {
    const attempt = () => {
      if (program.exit !== undefined) return reject(new Error(`${program.command} ended with ${program.exit}\n${program.stderr}`));
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(socket.destroy()));
      socket.once("error", () => setTimeout(attempt, 20));
    };
    attempt();
  });
}

/** How many sockets a program holds. */
export function socketsOf(program) {
  const folder = `/proc/${program.child.pid}/fd`;
  const target = (fd) => {
    try {
      return readlinkSync(join(folder, fd));
    } catch {
      return "";
    }
  };
  return readdirSync(folder).filter((fd) => target(fd).startsWith("socket:")).length;
}

/** Resolves when a program holds at most `count` sockets. */
export function socketsFall(program, count) {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (program.exit !== undefined) reject(new Error(`${program.command} ended with ${program.exit}`));
      else if (socketsOf(program) <= count) resolve();
      else setTimeout(look, 20);
    };
    look();
  });
}

/** Makes a certificate for `localhost`; gives the names of its file and of its key's. */
export function certificate(folder) {
  const names = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem"), both: join(folder, "both.pem") };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", names.key];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
  execFileSync("openssl", ["req", "-x509", "-days", "30", ...key, ...subject, "-out", names.cert], { stdio: "pipe" });
  writeFileSync(names.both, readFileSync(names.cert, "utf8") + readFileSync(names.key, "utf8"));
  return names;
}

/** Apache reads the modules that it is built without from here. */
export const APACHE_MODULES = "/usr/lib/apache2/modules";
const NGINX = (folder, body) => `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes 1;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events { worker_connections 256; }
${body}`;

/** For each: the text of its configuration, and the command that runs it. */
const KINDS = {
  "haproxy-tcp": {
    text: ({ port, upstream }) =>
      `defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\nfrontend in\n bind 127.0.0.1:${port}\n default_backend realm\nbackend realm\n server realm ${upstream}\n`,
    command: (file) => ["/usr/sbin/haproxy", ["-db", "-f", file]],
  },
  "haproxy-http": {
    text: ({ port, upstream }) =>
      `defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\nfrontend in\n bind 127.0.0.1:${port}\n default_backend realm\nbackend realm\n server realm ${upstream}\n`,
    command: (file) => ["/usr/sbin/haproxy", ["-db", "-f", file]],
  },
  "nginx-stream": {
    text: ({ folder, port, upstream }) => NGINX(folder, `stream { server { listen 127.0.0.1:${port}; proxy_pass ${upstream}; } }`),
    command: (file, folder) => ["/usr/sbin/nginx", ["-p", folder, "-c", file]],
  },
  stunnel: {
    text: ({ port, upstream, tls }) =>
      `foreground = yes\npid =\nsyslog = no\n[realm]\naccept = 127.0.0.1:${port}\nconnect = ${upstream}\ncert = ${tls.both}\n`,
    command: (file) => ["/usr/bin/stunnel", [file]],
  },
  nginx: {
    text: ({ folder, port, upstream }) =>
      NGINX(
        folder,
        `http { access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
server { listen 127.0.0.1:${port}; location / { proxy_pass http://${upstream}; proxy_http_version 1.1;
proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
proxy_set_header X-Forwarded-For $remote_addr; } } }`,
      ),
    command: (file, folder) => ["/usr/sbin/nginx", ["-p", folder, "-c", file]],
  },
  apache: {
    text: ({ folder, port, upstream }) =>
      `${["mpm_event", "authz_core", "proxy", "proxy_http"].map((name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so`).join("\n")}
ServerRoot ${folder}\nServerName localhost\nPidFile ${folder}/pid\nErrorLog ${folder}/error.log\nListen 127.0.0.1:${port}
ProxyPreserveHost On\nProxyPass / http://${upstream}/ upgrade=ANY\n`,
    command: (file, folder) => ["/usr/sbin/apache2", ["-d", folder, "-f", file, "-DFOREGROUND"]],
  },
  lighttpd: {
    text: ({ folder, port, upstream }) => {
      const [host, to] = upstream.split(":");
      return `server.document-root = "${folder}"\nserver.bind = "127.0.0.1"\nserver.port = ${port}\nserver.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "${host}", "port" => ${to})))\nproxy.header = ("upgrade" => "enable")\n`;
    },
    command: (file) => ["/usr/sbin/lighttpd", ["-D", "-f", file]],
  },
  caddy: {
    text: ({ port, upstream }) => `{\n admin off\n auto_https off\n}\nhttp://localhost:${port}, http://127.0.0.1:${port} {\n bind 127.0.0.1\n reverse_proxy ${upstream}\n}\n`,
    command: (file, folder) => ["/usr/bin/caddy", ["run", "--config", file, "--adapter", "caddyfile"], { env: { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder } }],
  },
};

/** A proxy that runs. */
export class Front {
  /** Starts a proxy of a kind in front of `upstream` (host and port). */
  static async start(kind, upstream, tls) {
    const front = new Front();
    front.folder = mkdtempSync(join(tmpdir(), `throughline-${kind}-`));
    front.port = await freePort();
    const file = join(front.folder, "config");
    const { text, command } = KINDS[kind];
    writeFileSync(file, text({ folder: front.folder, port: front.port, upstream, tls }));
    front.program = new Program(...command(file, front.folder));
    await listening(front.port, front.program);
    return front;
  }

  async end() {
    await this.program.kill("SIGTERM");
    rmSync(this.folder, { recursive: true, force: true });
  }
}
