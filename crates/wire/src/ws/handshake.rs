//! The opening handshake of RFC 6455 section 4, both sides, as bytes and header lists.

mod client;
mod head;
mod server;

pub use client::{Answer, ClientHandshake, HandshakeError, Unexpected};
pub use head::{BadHead, HEAD_BYTES_MAX, HEADERS_MAX, RequestHead, parse_request_head};
pub use server::{Accepted, Refusal, accept, accept_connect, wants_websocket};

use alloc::string::String;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// What both sides append to the key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers `key`.
fn accept_value(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// True for a token of RFC 9110 section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let symbol = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || symbol(b))
}

/// Splits at `separator`, except within quoted strings (RFC 9110 section 5.6.4).
pub(super) fn split_outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if core::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !quoted && c == char::from(separator)
    })
}

/// Values of all headers called `name`.
pub(crate) fn values<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    headers.filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_ascii())
}

/// True if one of the headers called `name`, each a list of tokens, holds `token` in any letter case.
pub(crate) fn has_token<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|b| *b == b','))
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The first if there is no second.
pub(crate) fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}
