//! Heads of requests.

use core::str;

use super::Ambiguity;
use super::body::Body;
use crate::ws::handshake::{has_token, is_token};

/// Longest head of a request, bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What follows a head.
#[derive(Debug)]
pub struct Framing {
    pub(super) body: Body,
    pub(super) upgrade: bool,
}

impl Framing {
    /// True for a request that asks for WebSocket: what follows it may be no HTTP.
    pub const fn is_upgrade(&self) -> bool {
        self.upgrade
    }
}

/// Finds the end of a head; `seen` bytes have been looked at. Empty lines before a request mean nothing (RFC 9112 section 2.2).
fn end(bytes: &[u8], seen: &mut usize) -> Result<Option<usize>, Ambiguity> {
    let new = bytes.get(*seen..).unwrap_or_default();
    for at in new.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + *seen) {
        let line = bytes.get(..at).and_then(|line| line.strip_suffix(b"\r")).ok_or(Ambiguity::LineEnd)?;
        if line.ends_with(b"\r\n") && !line.iter().all(|b| matches!(b, b'\r' | b'\n')) {
            return if at < HEAD_BYTES_MAX { Ok(Some(at + 1)) } else { Err(Ambiguity::TooLong) };
        }
    }
    *seen = bytes.len();
    if bytes.len() < HEAD_BYTES_MAX { Ok(None) } else { Err(Ambiguity::TooLong) }
}

/// The length of the head at the front and what follows it, once it is whole.
pub(super) fn framing(bytes: &[u8], seen: &mut usize) -> Result<Option<(usize, Framing)>, Ambiguity> {
    let Some(len) = end(bytes, seen)? else { return Ok(None) };
    let framing = checked(bytes.get(..len).unwrap_or_default())?;
    Ok(Some((len, framing)))
}

/// Checks a whole head, up to its empty line, and learns what follows it.
///
/// # Errors
/// A head that two programs could read differently.
pub fn check_head(head: &[u8]) -> Result<Framing, Ambiguity> {
    match end(head, &mut 0)? {
        Some(len) if len == head.len() => checked(head),
        _ => Err(Ambiguity::LineEnd),
    }
}

/// The same of a head whose end was found: its lines end as they should.
fn checked(mut head: &[u8]) -> Result<Framing, Ambiguity> {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    let lines = head.strip_suffix(b"\r\n").ok_or(Ambiguity::LineEnd)?;
    let mut lines = lines.split_inclusive(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r\n"));
    let minor = check_request_line(lines.next().flatten().ok_or(Ambiguity::LineEnd)?)?;
    let mut fields = Fields::default();
    for line in lines {
        fields.take(line.ok_or(Ambiguity::LineEnd)?)?;
    }
    fields.framing(minor)
}

/// Gives the minor version.
fn check_request_line(line: &[u8]) -> Result<u8, Ambiguity> {
    if line.contains(&b'\r') {
        return Err(Ambiguity::LineEnd);
    }
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Ambiguity::RequestLine);
    };
    let method = str::from_utf8(method).is_ok_and(is_token);
    let target = !target.is_empty() && target.iter().all(|b| *b > b' ' && *b != 0x7f) && str::from_utf8(target).is_ok();
    match version {
        b"HTTP/1.1" if method && target => Ok(1),
        b"HTTP/1.0" if method && target => Ok(0),
        _ => Err(Ambiguity::RequestLine),
    }
}

/// What the headers say of framing.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    encodings: usize,
    websocket: bool,
    hixie_76: bool,
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), Ambiguity> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Ambiguity::Fold);
        }
        let (name, value) = field(line)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-length") {
            let digits = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(value).ok().filter(|_| digits).and_then(|digits| digits.parse().ok());
            if self.length.replace(length.ok_or(Ambiguity::Length)?).is_some() {
                return Err(Ambiguity::Length);
            }
        } else if is("transfer-encoding") {
            self.encodings += 1;
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if is("upgrade") {
            self.websocket |= has_token([(name, value)].into_iter(), "upgrade", "websocket");
        } else if is("sec-websocket-key1") {
            self.hixie_76 = true;
        }
        Ok(())
    }

    fn framing(self, minor: u8) -> Result<Framing, Ambiguity> {
        let Fields { length, chunked, encodings, websocket, hixie_76 } = self;
        if encodings > 0 && length.is_some() {
            return Err(Ambiguity::LengthAndEncoding);
        }
        if encodings > 1 || encodings == 1 && (!chunked || minor == 0) {
            return Err(Ambiguity::Encoding);
        }
        // The key bytes of hixie-76 follow its head, announced or not.
        if websocket && (chunked || length.is_some_and(|length| length > 0 && !(hixie_76 && length == 8))) {
            return Err(Ambiguity::UpgradeBody);
        }
        let body = if chunked { Body::chunked() } else { Body::Length(length.unwrap_or(0)) };
        Ok(Framing { body, upgrade: websocket })
    }
}

/// A header's name, and its value without the space around it (RFC 9112 section 5).
pub(super) fn field(line: &[u8]) -> Result<(&str, &[u8]), Ambiguity> {
    let colon = line.iter().position(|b| *b == b':').ok_or(Ambiguity::Header)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Ambiguity::Header)?;
    let name = str::from_utf8(name).ok().filter(|name| is_token(name)).ok_or(Ambiguity::Header)?;
    let value = value.get(1..).unwrap_or_default();
    if value.contains(&b'\r') {
        return Err(Ambiguity::LineEnd);
    }
    if value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(Ambiguity::Header);
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    Ok((name, value.get(start..end).unwrap_or_default()))
}
