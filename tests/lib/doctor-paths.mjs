// Paths that are broken in ways which a doctor has to name: faults of a middlebox, real proxies as they are shipped, realms.
//
// `fault`: what the middlebox does once the page is there. `row`: a proxy of proxy-rows.mjs. `realm`: which realm, where it is not
// the ordinary one. `idle`, `hold`: seconds of silence and of the held answer.

import { newFault } from "./faults.mjs";
import { ownAnswer } from "./middlebox.mjs";
import { ROWS } from "./proxy-rows.mjs";

const everything = (status, reason) => ({
  upgrade: (tunnel) => (tunnel.refuse(status, reason), true),
  request: (exchange) => (exchange.refuse(status, reason), true),
});

/** Changes the bytes of every request's body, but not their number. */
function altering() {
  return {
    request(exchange) {
      const { open } = exchange;
      exchange.open = () => {
        open.call(exchange);
        const { upstream } = exchange;
        const write = upstream.write.bind(upstream);
        upstream.write = (bytes) => write(Buffer.from(bytes).fill("x"));
      };
      return false;
    },
  };
}

/** A page of its own in answer to everything, as networks give that want to be paid first. */
function captive() {
  const body = "<html><title>Welcome</title>Pay here.</html>";
  const text = `HTTP/1.1 200 OK\r\nServer: portal\r\nContent-Type: text/html\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
  return {
    upgrade: (tunnel) => (tunnel.client.end(text), true),
    request: (exchange) => (exchange.request.resume(), exchange.flow.socket.end(text), exchange.end(), true),
  };
}

const isPoll = ({ request }) => request.url.includes("/probe/poll");

const OWN = {
  forbidden: everything(403, "Forbidden"),
  "bad-gateway": everything(502, "Bad Gateway"),
  "post-refused": { request: (exchange) => exchange.request.method === "POST" && (exchange.refuse(405, "Method Not Allowed"), true) },
  "post-altered": altering(),
  captive: captive(),
  "poll-cut": { underway: (exchange) => isPoll(exchange) && exchange.later(1_000, () => exchange.flow.socket.end(ownAnswer(504, "Gateway Timeout"))) },
};

const of = (name, parameters) => () => ({ name, ...(OWN[name] ?? newFault(name, parameters)) });

const PROXIES = {
  nginx: "nginx as shipped",
  apache: "Apache without upgrade",
  "apache-http10": "Apache, HTTP/1.0",
  lighttpd: "lighttpd without upgrade",
  varnish: "Varnish as shipped",
  haproxy: "HAProxy",
  squid: "Squid as shipped, realm on another port",
  tinyproxy: "tinyproxy, realm on another port",
};

const FAULTS = [
  "refuse",
  "reset",
  "black-hole",
  "cut",
  "swallow",
  "frames-then-cut",
  "buffer-end",
  "buffer-16k",
  "http10",
  "strip",
  "small-only",
  "deaf",
  "down",
  ...Object.keys(OWN),
];

export const PATHS = [
  { name: "healthy" },
  { name: "http2", realm: "secure" },
  { name: "probes-off", realm: "unprobed" },
  ...FAULTS.map((name) => ({ name, fault: of(name) })),
  { name: "stream-cut", fault: of("stream-cut", { cutMs: 1_500 }), hold: 4 },
  { name: "idle-drop", fault: of("idle-drop", { idleMs: 2_500 }), idle: 5 },
  ...Object.entries(PROXIES).map(([name, row]) => ({ name, row: ROWS.find((one) => one.name === row) })),
];
