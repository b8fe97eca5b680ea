//! Profile files: how to start a server, how a subscriber and a publisher talk to it. README.md explains the members.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use memchr::memmem;
use serde::Deserialize;
use throughline_wire::ws::{self, Opcode};

use crate::template::{Context, fill};

/// A server and how to talk to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Shown in tables.
    pub name: String,
    /// How to start it.
    #[serde(default)]
    pub server: Server,
    /// A subscriber's connection.
    #[serde(rename = "sub")]
    pub subscriber: Endpoint,
    /// A publisher's connection.
    #[serde(rename = "pub")]
    pub publisher: Endpoint,
    /// A subscriber that asks for everything stored, for `replay`.
    pub replay: Option<Endpoint>,
    /// The HTTP request, sent to the publisher's address, that makes a persistent channel.
    pub persistent: Option<String>,
}

/// How to start a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Command line, run from the directory of the profile file.
    #[serde(default)]
    pub start: Vec<String>,
    /// Seconds to wait for the ports.
    pub wait: Option<u64>,
    /// Further milliseconds once the ports answer.
    #[serde(default)]
    pub settle_ms: u64,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A WebSocket.
    Ws,
    /// One streamed HTTP response, or requests one after another.
    Http,
    /// Bytes over TCP.
    Raw,
}

/// One kind of connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// How it begins.
    pub kind: Kind,
    /// IPv4 address and port.
    pub addr: String,
    /// HTTP method, GET if absent.
    pub method: Option<String>,
    /// Request target.
    #[serde(default)]
    pub path: String,
    /// Further header lines.
    #[serde(default)]
    pub headers: Vec<String>,
    /// WebSocket subprotocol to offer.
    pub subprotocol: Option<String>,
    /// Request body.
    pub body: Option<String>,
    /// `send:T` (text frame), `sendbin:T` (binary frame), `await:T`, `capture:PREFIX|END`.
    #[serde(default)]
    pub steps: Vec<String>,
    /// Pairs of bytes seen in a read without a marker, and the frame to answer with.
    #[serde(default)]
    pub replies: Vec<(String, String)>,
    /// Publisher: one message.
    #[serde(default)]
    pub message: String,
    /// Publisher: a message is a binary frame.
    #[serde(default)]
    pub binary: bool,
    /// Publisher: most messages without an acknowledgement, 0 for no limit.
    #[serde(default)]
    pub pipeline: usize,
    /// Publisher: what is counted as an acknowledgement.
    pub ack: Option<String>,
}

/// A step between the response head and readiness.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send a template, as a binary frame or not.
    Send(String, bool),
    /// Wait for bytes.
    Await(Vec<u8>),
    /// Keep what stands between two texts.
    Capture(Vec<u8>, Vec<u8>),
}

/// An endpoint with its texts made ready.
#[derive(Debug)]
pub struct Side {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What happens before the connection is ready.
    pub steps: Vec<Step>,
    /// What is looked for, and what answers it.
    pub replies: Vec<(memmem::Finder<'static>, Vec<u8>)>,
    /// Where to connect.
    pub addr: SocketAddrV4,
}

impl Profile {
    /// Reads a profile file.
    pub fn load(file: &Path) -> Result<Profile, String> {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
    }
}

impl Side {
    /// Makes an endpoint ready for use.
    pub fn new(endpoint: &Endpoint) -> Result<Side, String> {
        let context = Context::default();
        let mut steps = Vec::new();
        let head: Option<&[u8]> = match endpoint.kind {
            Kind::Ws => Some(b"HTTP/1.1 101"),
            // A publisher over HTTP sends nothing before its first request.
            Kind::Http if endpoint.message.is_empty() => Some(b"HTTP/1.1 200"),
            Kind::Http | Kind::Raw => None,
        };
        if let Some(head) = head {
            steps.extend([Step::Await(head.to_vec()), Step::Await(b"\r\n\r\n".to_vec())]);
        }
        for step in &endpoint.steps {
            steps.push(parse_step(step)?);
        }
        let replies = endpoint.replies.iter().map(|(seen, answer)| {
            let mut frame = Vec::new();
            match answer.strip_prefix("raw:") {
                Some(raw) => frame = fill(raw, &context),
                None => endpoint.frame(endpoint.binary, &fill(answer, &context), &mut frame),
            }
            (memmem::Finder::new(&fill(seen, &context)).into_owned(), frame)
        });
        let addr = endpoint.addr.parse().map_err(|_| format!("addr {:?} is no IPv4:PORT", endpoint.addr))?;
        Ok(Side { steps, replies: replies.collect(), addr, endpoint: endpoint.clone() })
    }
}

fn parse_step(step: &str) -> Result<Step, String> {
    let bad = || format!("step {step:?}: expected send:T, sendbin:T, await:T or capture:PREFIX|END");
    let (kind, value) = step.split_once(':').ok_or_else(bad)?;
    Ok(match kind {
        "send" => Step::Send(value.into(), false),
        "sendbin" => Step::Send(value.into(), true),
        "await" => Step::Await(fill(value, &Context::default())),
        "capture" => {
            let (prefix, end) = value.split_once('|').ok_or_else(bad)?;
            Step::Capture(prefix.into(), end.into())
        }
        _ => return Err(bad()),
    })
}

impl Endpoint {
    /// The bytes that open a connection.
    pub fn opening(&self, context: &Context<'_>) -> Vec<u8> {
        if self.kind == Kind::Raw {
            return Vec::new();
        }
        let method = self.method.as_deref().unwrap_or("GET");
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.addr);
        if self.kind == Kind::Ws {
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        }
        if let Some(subprotocol) = &self.subprotocol {
            head += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
        }
        for line in &self.headers {
            head += &format!("{line}\r\n");
        }
        match &self.body {
            Some(body) => head += &format!("Content-Length: {{clen:{body}}}"),
            None => head += "\r\n",
        }
        fill(&head, context)
    }

    /// Appends a message, framed as the kind of connection asks for.
    pub fn frame(&self, binary: bool, data: &[u8], out: &mut Vec<u8>) {
        if self.kind == Kind::Ws {
            let opcode = if binary { Opcode::Binary } else { Opcode::Text };
            ws::write_masked_frame(out, opcode, false, data, [0x37, 0xfa, 0x21, 0x3d]);
        } else {
            out.extend_from_slice(data);
        }
    }
}
