//! What the realm sees of a request, as JSON.

use std::borrow::Cow;
use std::io::Write;

use hyper::Version;
use hyper::header::HeaderValue;
use hyper::http::Extensions;
use hyper::http::request::Parts;
use throughline_wire::hixie;
use throughline_wire::message::write_json_string;
use throughline_wire::ws::handshake::RequestHead;

use super::greeting;
use crate::network::Network;
use crate::peer::Client;
use crate::shard::Purpose;
use crate::tls::Agreed;
use crate::upgrade::{Accepted, Handshake};

/// Characters of a target that are told.
const TARGET_CHARS_MAX: usize = 2048;
/// Characters of a header's value that are told.
const VALUE_CHARS_MAX: usize = 1024;
/// Headers whose values are nobody's business, and are sent where nobody else can read them.
const SECRET: [&str; 3] = ["cookie", "authorization", "proxy-authorization"];

/// How a request came, as far as its head does not say.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) client: Client,
    pub(crate) tls: Option<Agreed>,
    pub(crate) raw: Option<RawHead>,
}

/// The head of a request as it arrived: hyper writes the names of headers small and puts those that are equal together.
pub(crate) type RawHead = Box<RequestHead>;

/// The `Host` with which a request arrived, where another one stands in its place now.
#[derive(Clone, Debug)]
pub(crate) struct ArrivedHost(pub(crate) HeaderValue);

/// The `Host` of a request as it arrived, where it was exchanged.
pub(crate) fn arrived_host(extensions: &Extensions) -> Option<&[u8]> {
    extensions.get::<ArrivedHost>().map(|host| host.0.as_bytes())
}

/// How a handshake came, as far as its head does not say.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    pub(crate) client: &'a Client,
    pub(crate) tls: Option<Agreed>,
    /// The headers are in the order and letter case of their arrival.
    pub(crate) raw: bool,
    /// The `Host` that arrived, where another one stands in its place.
    pub(crate) host: Option<&'a [u8]>,
}

/// A request's head and its way.
struct Seen<'a> {
    method: &'a str,
    target: &'a str,
    /// Version of HTTP.
    http: &'static str,
    headers: &'a [(&'a str, &'a [u8])],
    way: Way<'a>,
}

/// What a WebSocket handshake agreed on.
#[derive(Debug)]
struct Selected {
    version: &'static str,
    protocol: Option<String>,
    extensions: Option<String>,
}

impl Selected {
    fn of(accepted: &Accepted) -> Selected {
        let version = accepted.version().name();
        match accepted {
            Accepted::Numbered(accepted) => {
                let agreed = accepted.negotiated();
                let find = |wanted: &str| {
                    let (_, value) = agreed.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
                    Some((*value).to_owned())
                };
                let (protocol, extensions) = (find("sec-websocket-protocol"), find("sec-websocket-extensions"));
                Selected { version, protocol, extensions }
            }
            Accepted::Draft(draft) => Selected { version, protocol: draft_protocol(&draft.answer), extensions: None },
        }
    }
}

/// The subprotocol in the answer to a draft's handshake.
fn draft_protocol(answer: &hixie::Accepted) -> Option<String> {
    let head = String::from_utf8_lossy(&answer.head);
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut protocols = lines.filter(|(name, _)| matches!(*name, "Sec-WebSocket-Protocol" | "WebSocket-Protocol"));
    protocols.next().map(|(_, value)| value.to_owned())
}

/// The answer to `probe/inspect`.
pub(super) fn write_inspect(arrival: &Arrival, head: &Parts) -> Vec<u8> {
    let raw = arrival.raw.as_deref();
    let headers: Vec<(&str, &[u8])> = match raw {
        Some(raw) => raw.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        None => head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    };
    let target = raw.map_or_else(|| target(head), |raw| Cow::Borrowed(&*raw.target));
    let host = arrived_host(&head.extensions).filter(|_| raw.is_none());
    let way = Way { client: &arrival.client, tls: arrival.tls, raw: raw.is_some(), host };
    let (method, http) = (head.method.as_str(), version(head.version));
    let mut out = Seen { method, target: &target, http, headers: &headers, way }.begin("inspect");
    out.push(b'}');
    out
}

/// The first message of an echo that was asked for it.
pub(crate) fn hello(handshake: &Handshake<'_>, accepted: &Accepted, way: &Way<'_>) -> Option<Vec<u8>> {
    let Handshake { purpose, method, path, query, connect, headers, .. } = *handshake;
    if purpose != Purpose::Echo || !greeting(query).unwrap_or(false) {
        return None;
    }
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let http = if connect { "2" } else { "1.1" };
    let way = Way { ..*way };
    let mut out = Seen { method, target: &target, http, headers, way }.begin("hello");
    let selected = Selected::of(accepted);
    member(&mut out, "version", Some(selected.version));
    member(&mut out, "protocol", selected.protocol.as_deref());
    member(&mut out, "extensions", selected.extensions.as_deref());
    out.push(b'}');
    Some(out)
}

/// As it was written, where hyper still knows: HTTP/2 has scheme and host apart from it.
fn target(head: &Parts) -> Cow<'_, str> {
    let relative = head.uri.path_and_query().map(|target| Cow::Borrowed(target.as_str()));
    match relative {
        Some(relative) if head.version == Version::HTTP_2 || head.uri.scheme().is_none() => relative,
        _ => Cow::Owned(head.uri.to_string()),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_11 => "1.1",
        _ => "1.0",
    }
}

impl Seen<'_> {
    /// The object up to its last member that all have.
    fn begin(&self, kind: &str) -> Vec<u8> {
        let mut out = format!("{{\"type\":\"{kind}\"").into_bytes();
        member(&mut out, "method", Some(self.method));
        member(&mut out, "target", Some(limited(self.target, TARGET_CHARS_MAX)));
        // Writing into a Vec cannot fail.
        let _ = write!(out, ",\"target_bytes\":{}", self.target.len());
        member(&mut out, "http", Some(self.http));
        let Way { client, tls, raw, host } = self.way;
        let _ = write!(out, ",\"raw\":{raw},\"headers\":[");
        let arrived = |name: &str, value| host.filter(|_| name.eq_ignore_ascii_case("host")).unwrap_or(value);
        let headers = self.headers.iter().map(|(name, value)| (*name, arrived(name, *value)));
        for (at, (name, value)) in headers.clone().enumerate() {
            out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
            write_json_string(&mut out, name);
            out.push(b',');
            write_json_string(&mut out, &told(name, value));
            out.push(b']');
        }
        let bytes: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        let _ = write!(out, "],\"header_bytes\":{bytes}");
        member(&mut out, "address", client.address.map(|address| address.to_string()).as_deref());
        out.extend_from_slice(b",\"tls\":");
        match tls {
            Some(Agreed { version, alpn }) => {
                let _ = write!(out, "{{\"version\":\"{version}\"");
                member(&mut out, "alpn", alpn);
                out.push(b'}');
            }
            None => out.extend_from_slice(b"null"),
        }
        let _ = write!(out, ",\"secure\":{}", client.secure);
        member(&mut out, "network", Network::of(client.address).map(Network::name).as_deref());
        out
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, ",\"{name}\":");
    match value {
        Some(value) => write_json_string(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn told<'a>(name: &str, value: &'a [u8]) -> Cow<'a, str> {
    if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        return Cow::Borrowed("...");
    }
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(text) => Cow::Borrowed(limited(text, VALUE_CHARS_MAX)),
        Cow::Owned(text) => Cow::Owned(limited(&text, VALUE_CHARS_MAX).to_owned()),
    }
}

/// The first characters of a text.
fn limited(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}
