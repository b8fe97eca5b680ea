//! The client's side of the handshake (RFC 6455 section 4.1).

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::head::{HEAD_BYTES_MAX, HEADERS_MAX, owned};
use super::{accept_value, has_token, values};
use crate::message::SUBPROTOCOL;
use crate::ws::deflate::{Agreed, check_answer};

/// Bytes of a refusal's body that an error keeps.
const BODY_BYTES_MAX: usize = 512;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientHandshake<'a> {
    /// Value of `Host`: name or address, with the port unless it is the scheme's.
    pub host: &'a str,
    /// Path and query, beginning with a slash.
    pub path: &'a str,
    /// Sixteen random bytes.
    pub key: [u8; 16],
    /// Offer our subprotocol.
    pub subprotocol: bool,
    /// Value of `Origin`; programs other than browsers need none.
    pub origin: Option<&'a str>,
    /// Offer permessage-deflate without context takeover by the server.
    pub deflate: bool,
}

/// A good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Length of the answer's head in bytes; what follows are frames.
    pub len: usize,
    /// The server selected our subprotocol.
    pub subprotocol: bool,
    /// permessage-deflate, if the server agreed.
    pub deflate: Option<Agreed>,
}

/// An answer that is no upgrade: what answered, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// Status of the answer.
    pub status: u16,
    /// Its reason phrase.
    pub reason: String,
    /// Names and values of its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The beginning of its body, as far as it came with the head.
    pub body: String,
}

impl Unexpected {
    /// The first header of this name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(value).ok()
    }

    /// True if a Throughline server answered, and not something on the way.
    pub fn from_throughline(&self) -> bool {
        self.header("throughline").is_some()
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)?;
        for name in ["Server", "Via"] {
            if let Some(value) = self.header(name) {
                write!(f, "; {name}: {value}")?;
            }
        }
        if !self.body.is_empty() {
            write!(f, "; {}", self.body.trim_ascii())?;
        }
        Ok(())
    }
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// An answer of HTTP, but no upgrade.
    Unexpected(Box<Unexpected>),
    /// The answer is no HTTP/1.
    NotHttp(httparse::Error),
    /// The answer's head is longer than [`HEAD_BYTES_MAX`].
    TooLong,
    /// Status 101 without the header named here, or with a wrong value in it.
    Header(&'static str),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Unexpected(answer) => write!(f, "the WebSocket handshake was refused: {answer}"),
            HandshakeError::NotHttp(e) => write!(f, "the answer to the WebSocket handshake is no HTTP: {e}"),
            HandshakeError::TooLong => {
                write!(f, "the answer to the WebSocket handshake has a head of more than {HEAD_BYTES_MAX} bytes")
            }
            HandshakeError::Header(name) => {
                write!(f, "the answer to the WebSocket handshake has no {name} or a wrong one")
            }
        }
    }
}

impl core::error::Error for HandshakeError {}

impl ClientHandshake<'_> {
    fn key(&self) -> String {
        STANDARD.encode(self.key)
    }

    /// The request's bytes. `host`, `path` and `origin` must not hold spaces or line ends: what does is cut out.
    pub fn request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let key = self.key();
        let mut line = |parts: &[&str]| {
            let clean = |b: &u8| !matches!(b, b'\r' | b'\n' | 0);
            parts.iter().for_each(|part| out.extend(part.bytes().filter(clean)));
            out.extend_from_slice(b"\r\n");
        };
        line(&["GET ", &self.path.replace([' ', '\t'], ""), " HTTP/1.1"]);
        line(&["Host: ", self.host]);
        line(&["Upgrade: websocket"]);
        line(&["Connection: Upgrade"]);
        line(&["Sec-WebSocket-Version: 13"]);
        line(&["Sec-WebSocket-Key: ", &key]);
        if self.subprotocol {
            line(&["Sec-WebSocket-Protocol: ", SUBPROTOCOL]);
        }
        if let Some(origin) = self.origin {
            line(&["Origin: ", origin]);
        }
        if self.deflate {
            line(&[
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; ",
                "client_max_window_bits",
            ]);
        }
        line(&[]);
        out
    }

    /// Checks the answer at the front of `bytes`; `Ok(None)` if more bytes are needed.
    pub fn check(&self, bytes: &[u8]) -> Result<Option<Answer>, HandshakeError> {
        let seen = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(seen).map_err(HandshakeError::NotHttp)? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial if seen.len() == HEAD_BYTES_MAX => return Err(HandshakeError::TooLong),
            httparse::Status::Partial => return Ok(None),
        };
        if response.code != Some(101) {
            let body = bytes.get(len..).unwrap_or_default();
            let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
            return Err(HandshakeError::Unexpected(Box::new(Unexpected {
                status: response.code.unwrap_or_default(),
                reason: response.reason.unwrap_or_default().to_owned(),
                headers: owned(response.headers),
                body: String::from_utf8_lossy(body).into_owned(),
            })));
        }
        self.check_upgrade(response.headers, len).map(Some)
    }

    fn check_upgrade(&self, headers: &[httparse::Header<'_>], len: usize) -> Result<Answer, HandshakeError> {
        let list = || headers.iter().map(|header| (header.name, header.value));
        if !has_token(list(), "upgrade", "websocket") {
            return Err(HandshakeError::Header("Upgrade"));
        }
        if !has_token(list(), "connection", "upgrade") {
            return Err(HandshakeError::Header("Connection"));
        }
        let expected = accept_value(self.key().as_bytes());
        if !values(list(), "sec-websocket-accept").eq([expected.as_bytes()]) {
            return Err(HandshakeError::Header("Sec-WebSocket-Accept"));
        }
        let mut selected = values(list(), "sec-websocket-protocol");
        let subprotocol = match (selected.next(), selected.next()) {
            (None, _) => false,
            (Some(value), None) if self.subprotocol && value == SUBPROTOCOL.as_bytes() => true,
            _ => return Err(HandshakeError::Header("Sec-WebSocket-Protocol")),
        };
        let deflate = check_answer(values(list(), "sec-websocket-extensions"), self.deflate)
            .map_err(|_| HandshakeError::Header("Sec-WebSocket-Extensions"))?;
        Ok(Answer { len, subprotocol, deflate })
    }
}
