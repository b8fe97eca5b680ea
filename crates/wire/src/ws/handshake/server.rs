//! The server's side of the handshake: PROTOCOL.md section 2.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{accept_value, has_token, only, values};
use crate::message::SUBPROTOCOL;
use crate::ws::deflate::{Agreed, Settings, agree};
use crate::ws::{Version, Versions};

/// A handshake that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which version the client speaks: one with a number.
    pub version: Version,
    /// The client offered our subprotocol, and the answer selects it.
    pub subprotocol: bool,
    /// permessage-deflate, if it was offered and wanted.
    pub deflate: Option<Agreed>,
    accept: String,
    extensions: Option<String>,
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method is not GET.
    Method,
    /// An ordinary request.
    NotAnUpgrade,
    /// A handshake from which something on the way removed `Upgrade` or `Connection`.
    UpgradeRemoved,
    /// A version of WebSocket that is not spoken, or more than one.
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated or not 16 bytes in base64.
    Key,
    /// `Sec-WebSocket-Extensions` breaks its grammar.
    Extensions,
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::Method => 405,
            Refusal::NotAnUpgrade | Refusal::UpgradeRemoved | Refusal::Version => 426,
            Refusal::Key | Refusal::Extensions => 400,
        }
    }

    /// The code in the body: PROTOCOL.md section 9.4.
    pub const fn code(self) -> &'static str {
        match self {
            Refusal::Method => "method_not_allowed",
            Refusal::NotAnUpgrade | Refusal::UpgradeRemoved => "upgrade_required",
            Refusal::Version => "version_not_supported",
            Refusal::Key | Refusal::Extensions => "bad_request",
        }
    }

    /// What is wrong and the way out, for a person.
    pub const fn message(self) -> &'static str {
        match self {
            Refusal::Method => "a WebSocket handshake is a GET request",
            Refusal::NotAnUpgrade => "this address speaks WebSocket only: send an upgrade request",
            Refusal::UpgradeRemoved => {
                "this is a WebSocket handshake without its Upgrade and Connection headers: a proxy on the way removed \
                 them; enable upgrades for this path there, or connect over TLS"
            }
            Refusal::Version => {
                "this version of WebSocket is not spoken here: the answer's Sec-WebSocket-Version lists those that are"
            }
            Refusal::Key => "Sec-WebSocket-Key has to be there once and be 16 bytes in base64",
            Refusal::Extensions => "Sec-WebSocket-Extensions breaks the grammar of RFC 6455 section 9.1",
        }
    }

    /// Names and values of the headers that the answer must have, of a server that speaks `versions`.
    pub fn headers(self, versions: Versions) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(3);
        match self {
            Refusal::Method => headers.push(("Allow", "GET".into())),
            Refusal::NotAnUpgrade | Refusal::UpgradeRemoved => {
                headers.push(("Upgrade", "websocket".into()));
                headers.push(("Connection", "Upgrade".into()));
            }
            Refusal::Version | Refusal::Key | Refusal::Extensions => {}
        }
        let numbers = versions.header();
        if self.status() == 426 && !numbers.is_empty() {
            headers.push(("Sec-WebSocket-Version", numbers));
        }
        headers
    }
}

/// True for a handshake of WebSocket, even for one whose `Upgrade` was removed on the way.
pub fn wants_websocket<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    headers.into_iter().any(|(name, value)| {
        ["sec-websocket-key", "sec-websocket-key1", "sec-websocket-version"].iter().any(|known| is(name, known))
            || has_token(core::iter::once((name, value)), "upgrade", "websocket")
    })
}

/// Checks a handshake of one of `versions` with a number (RFC 6455 section 4.2.1). `deflate` is what the server is ready
/// for; `None` declines compression.
pub fn accept<'a>(
    method: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    versions: Versions,
    deflate: Option<&Settings>,
) -> Result<Accepted, Refusal> {
    if method != "GET" {
        return Err(Refusal::Method);
    }
    let upgrade = has_token(headers.clone(), "upgrade", "websocket");
    if !upgrade || !has_token(headers.clone(), "connection", "upgrade") {
        let meant = wants_websocket(headers);
        return Err(if meant { Refusal::UpgradeRemoved } else { Refusal::NotAnUpgrade });
    }
    let version = numbered(headers.clone(), versions)?;
    let key = only(values(headers.clone(), "sec-websocket-key")).ok_or(Refusal::Key)?;
    if !is_key(version, key) {
        return Err(Refusal::Key);
    }
    negotiate(headers, version, accept_value(key), deflate)
}

/// Checks a handshake by the extended CONNECT method of HTTP/2 (RFC 8441 section 5), which has neither key nor upgrade.
pub fn accept_connect<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    versions: Versions,
    deflate: Option<&Settings>,
) -> Result<Accepted, Refusal> {
    match numbered(headers.clone(), versions)? {
        Version::V13 => negotiate(headers, Version::V13, String::new(), deflate),
        _ => Err(Refusal::Version),
    }
}

fn numbered<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, versions: Versions) -> Result<Version, Refusal> {
    let version = only(values(headers, "sec-websocket-version")).and_then(|value| versions.numbered(value));
    version.ok_or(Refusal::Version)
}

fn negotiate<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    version: Version,
    accept: String,
    deflate: Option<&Settings>,
) -> Result<Accepted, Refusal> {
    let (deflate, extensions) = match deflate {
        None => (None, None),
        Some(settings) => agree(values(headers.clone(), "sec-websocket-extensions"), settings)
            .map_err(|_| Refusal::Extensions)?
            .unzip(),
    };
    let subprotocol = values(headers, "sec-websocket-protocol")
        .flat_map(|value| value.split(|b| *b == b','))
        .any(|offer| offer.trim_ascii() == SUBPROTOCOL.as_bytes());
    Ok(Accepted { version, subprotocol, deflate, accept, extensions })
}

/// Whether a value of `Sec-WebSocket-Key` is one. Deployed clients of the drafts send fewer than sixteen bytes.
fn is_key(version: Version, key: &[u8]) -> bool {
    match version {
        // Sixteen bytes are 24 characters; a longer value is refused before it is decoded.
        Version::V13 => key.len() == 24 && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16),
        _ => (1..=24).contains(&key.len()) && STANDARD.decode(key).is_ok(),
    }
}

impl Accepted {
    /// Names and values of the answer's headers; its status is 101.
    pub fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = Vec::with_capacity(6);
        headers.push(("Upgrade", "websocket"));
        headers.push(("Connection", "Upgrade"));
        headers.push(("Sec-WebSocket-Accept", &*self.accept));
        headers.extend(self.negotiated());
        headers
    }

    /// Those of them that say what was agreed; they are all that the answer to a CONNECT has, whose status is 200.
    pub fn negotiated(&self) -> Vec<(&'static str, &str)> {
        let mut headers = Vec::with_capacity(3);
        if self.subprotocol {
            headers.push(("Sec-WebSocket-Protocol", SUBPROTOCOL));
        }
        if let Some(extensions) = &self.extensions {
            headers.push(("Sec-WebSocket-Extensions", extensions));
        }
        headers.push(("Throughline", "1"));
        headers
    }

    /// The whole answer; frames follow directly.
    pub fn response_head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(320);
        head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in self.headers() {
            for part in [name, ": ", value, "\r\n"] {
                head.extend_from_slice(part.as_bytes());
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}
