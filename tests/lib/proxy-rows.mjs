// Every proxy that tests/proxies.mjs runs.
//
// `program` runs it; `config` is the name of the configuration that proxy-config prints, else `text` is the name of one of
// proxy-configs.mjs. `upgrades`: WebSocket passes. `forward`: clients are told of it. `secure`: the realm is the one with TLS on
// port 443. `added`: lines behind the configuration. `asks`: it wants to know who it is. `refuses`: what the command line has to say where nothing can pass.

export const ROWS = [
  { name: "nginx", program: "nginx", config: "nginx", upgrades: true },
  { name: "nginx, TLS, prefix", program: "nginx", config: "nginx", tls: true, prefix: "/live", upgrades: true },
  { name: "nginx, TCP", program: "nginx", config: "nginx-stream", upgrades: true },
  { name: "HAProxy", program: "haproxy", config: "haproxy", upgrades: true },
  { name: "HAProxy, TLS, prefix", program: "haproxy", config: "haproxy", tls: true, prefix: "/live", upgrades: true },
  { name: "HAProxy, TCP", program: "haproxy", config: "haproxy-tcp", upgrades: true },
  // Only from this address does its realm expect a PROXY header.
  { name: "HAProxy, TCP, PROXY", program: "haproxy", config: "haproxy-tcp-proxy", upgrades: true, added: "    source 127.0.0.9\n" },
  { name: "Apache", program: "apache", config: "apache", upgrades: true },
  { name: "Apache, prefix", program: "apache", config: "apache", prefix: "/live", upgrades: true },
  { name: "Caddy", program: "caddy", config: "caddy", upgrades: true },
  { name: "lighttpd", program: "lighttpd", config: "lighttpd", upgrades: true },
  { name: "lighttpd, prefix", program: "lighttpd", config: "lighttpd", prefix: "/live", upgrades: true },
  { name: "Varnish", program: "varnish", config: "varnish", upgrades: true },
  { name: "stunnel, TLS", program: "stunnel", config: "stunnel", tls: true, upgrades: true },
  { name: "nginx as shipped", program: "nginx", text: "nginx" },
  { name: "Apache without upgrade", program: "apache", text: "apache" },
  { name: "Apache, HTTP/1.0", program: "apache", text: "apache-http10" },
  { name: "lighttpd without upgrade", program: "lighttpd", text: "lighttpd" },
  { name: "Varnish as shipped", program: "varnish", text: "varnish" },
  { name: "Squid", program: "squid", config: "squid", forward: true, upgrades: true },
  { name: "Squid as shipped, realm on another port", program: "squid", text: "squid", forward: true },
  { name: "Squid as shipped, realm with TLS on 443", program: "squid", text: "squid", forward: true, secure: true, upgrades: true },
  { name: "Squid without tunnels", program: "squid", text: "squid-no-tunnels", forward: true },
  {
    name: "Squid without tunnels, realm with TLS on 443",
    program: "squid",
    text: "squid-no-tunnels",
    forward: true,
    secure: true,
    refuses: /refused a tunnel to \S+:443 with status 403/,
  },
  { name: "Squid, Basic authentication", program: "squid", text: "squid-basic", forward: true, asks: true, upgrades: true },
  { name: "Squid, Digest authentication", program: "squid", text: "squid-digest", forward: true, asks: true, upgrades: true },
  { name: "Apache, forward", program: "apache", config: "apache-forward", forward: true, upgrades: true },
  { name: "Apache, forward, realm with TLS on 443", program: "apache", config: "apache-forward", forward: true, secure: true, upgrades: true },
  { name: "tinyproxy, realm on another port", program: "tinyproxy", text: "tinyproxy", forward: true },
  { name: "tinyproxy, realm with TLS on 443", program: "tinyproxy", text: "tinyproxy", forward: true, secure: true, upgrades: true },
];
