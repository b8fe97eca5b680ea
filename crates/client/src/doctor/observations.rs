//! What was seen of a path: the same object in Rust and TypeScript (docs/doctor.md).

use serde::{Deserialize, Serialize};

/// Everything that was tried on the ways to a realm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observations {
    /// The realm's address, `http` or `https`, without a slash at its end.
    pub url: String,
    /// The page's origin that requests claimed to come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Host and port of the forward proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Made by a page in a browser, which is told less than a program.
    #[serde(skip_serializing_if = "is_false")]
    pub browser: bool,
    /// In no particular order.
    pub trials: Vec<Trial>,
}

/// One thing that was tried. Times are milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trial {
    /// `inspect`, `realm`, `root`, `http2`, `websocket`, `stream`, `poll`, `post`, `header`, `address`, `idle` or `session`.
    pub what: String,
    /// Which of them: a version of WebSocket, a framing, a transport.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `direct`, `proxy` or `browser`.
    pub way: String,
    /// With TLS.
    pub secure: bool,
    /// Why it failed; without it, it worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The words of the system or of whoever refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The certificate that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Certificate>,
    /// Until the connection stood, a tunnel included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// From then until TLS stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u64>,
    /// From the request to the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<u64>,
    /// From the request to the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<u64>,
    /// Of an echo, or of a small request on an open connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
    /// From the request to the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// Headers of the request as they were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<(String, String)>,
    /// The request as it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// What the realm says became of the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnose: Option<Diagnosis>,
    /// Bytes of a message of a stream, as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// For each message of a stream when it was written, by the server's clock since its answer began, and when it came, since
    /// the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arrivals: Vec<(u64, u64)>,
    /// How long a poll was to be held, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_s: Option<u64>,
    /// How long nothing passed, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// The longest header or address that passed, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<u64>,
    /// The shortest that did not, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// Whether extended CONNECT (RFC 8441), by which browsers open a WebSocket within HTTP/2, was announced there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_connect: Option<bool>,
}

/// The head of an answer, and the beginning of its body if it is none of the realm's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// It carries the header `Throughline`: the realm itself speaks.
    pub ours: bool,
    /// The header `Server`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The header `Via`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The header `Content-Encoding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Code of the realm's own error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Names of the headers, in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The beginning of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What `Proxy-Authenticate` names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemes: Vec<String>,
}

/// The certificate that was shown, and whether it is believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// Who issued it.
    pub issuer: String,
    /// Whom it names.
    pub subject: String,
    /// Hosts that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// `system` or `given`: whose root certificate it leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted: Option<String>,
    /// `expired`, `not-yet-valid`, `wrong-name`, `self-signed`, `unfit` or `untrusted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The fault in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Version of TLS: `1.2` or `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The protocol that ALPN agreed on: `h2` or `http/1.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
}

/// A request as the realm saw it. Other members of PROTOCOL.md section 12 are passed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Version of HTTP in which it arrived.
    pub http: String,
    /// Its target, or the beginning of it.
    pub target: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Whom the realm takes the client for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the client is believed to have spoken TLS.
    pub secure: bool,
    /// The subprotocol that was selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The extensions that were selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<String>,
}

/// What became of a handshake, by the realm's own account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Diagnosis {
    /// It arrived.
    pub seen: bool,
    /// `accepted` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The header `Via` as it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Version of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// It still asked for an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}
