//! Heads of requests, for servers that look at the first bytes before they give them to an HTTP library.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Longest head that is looked at, bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a head.
pub const HEADERS_MAX: usize = 100;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// As it came: methods have a letter case.
    pub method: String,
    /// The request's target: a path with query, or an absolute URL.
    pub target: String,
    /// Minor version of HTTP/1: 0 or 1.
    pub version: u8,
    /// Names and values in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Length of the head in bytes; what follows is the body, or the first frames.
    pub len: usize,
}

/// Why bytes are no head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// Longer than [`HEAD_BYTES_MAX`].
    TooLong,
    /// More than [`HEADERS_MAX`] headers.
    TooManyHeaders,
    /// Not HTTP/1.
    Malformed(httparse::Error),
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHead::TooLong => write!(f, "the request's head is longer than {HEAD_BYTES_MAX} bytes"),
            BadHead::TooManyHeaders => write!(f, "the request has more than {HEADERS_MAX} headers"),
            BadHead::Malformed(e) => write!(f, "this is no HTTP/1 request: {e}"),
        }
    }
}

impl core::error::Error for BadHead {}

impl From<httparse::Error> for BadHead {
    fn from(error: httparse::Error) -> BadHead {
        match error {
            httparse::Error::TooManyHeaders => BadHead::TooManyHeaders,
            error => BadHead::Malformed(error),
        }
    }
}

/// Parses the head at the front of `bytes`; `Ok(None)` if more bytes are needed.
pub fn parse_request_head(bytes: &[u8]) -> Result<Option<RequestHead>, BadHead> {
    let seen = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(seen)? else {
        return if seen.len() == HEAD_BYTES_MAX { Err(BadHead::TooLong) } else { Ok(None) };
    };
    Ok(Some(RequestHead {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        version: request.version.unwrap_or_default(),
        headers: owned(request.headers),
        len,
    }))
}

pub(super) fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect()
}
