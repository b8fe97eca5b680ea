//! Where one request of HTTP/1 ends and the next begins, read in one way only: RFC 9112 without what it lets a server forgive.
//!
//! Two programs that read the same bytes differently can be made to see different requests (request smuggling). [`Gate`] stands
//! before whatever parses a connection's requests, and passes on what can be read in one way.

mod body;
mod head;

use core::fmt;

use body::Body;
pub use head::{HEAD_BYTES_MAX, check_head};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ambiguity {
    /// A line ends with LF alone, or holds a CR that ends nothing.
    LineEnd,
    /// A line that continues the one before it (`obs-fold`).
    Fold,
    /// The request line is not method, target and version with one space between them.
    RequestLine,
    /// A header that is not a name, a colon at once, and a value without control characters.
    Header,
    /// Several `Content-Length`, or one that is not a number.
    Length,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndEncoding,
    /// `Transfer-Encoding` other than one `chunked`, or in HTTP/1.0.
    Encoding,
    /// A chunk's size, or what follows it.
    Chunk,
    /// An upgrade that announces a body.
    UpgradeBody,
    /// A head longer than [`HEAD_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Ambiguity::LineEnd => "a line of the request ends with LF alone, or holds a bare CR; lines end with CR LF",
            Ambiguity::Fold => "a header of the request continues on a second line, which is obsolete",
            Ambiguity::RequestLine => {
                "the request line is not a method, a target and HTTP/1.1 with one space between them"
            }
            Ambiguity::Header => {
                "a header of the request is not a name, a colon and a value without control characters"
            }
            Ambiguity::Length => "Content-Length has to be there once at most, and to be a number",
            Ambiguity::LengthAndEncoding => "a request has Content-Length or Transfer-Encoding, not both",
            Ambiguity::Encoding => "the one Transfer-Encoding of a request is chunked, in HTTP/1.1",
            Ambiguity::Chunk => {
                "a chunk of the request's body has no plain hexadecimal size, or does not end where that says"
            }
            Ambiguity::UpgradeBody => "a request for an upgrade has no body",
            Ambiguity::TooLong => return write!(f, "the request's head is longer than {HEAD_BYTES_MAX} bytes"),
        };
        f.write_str(text)
    }
}

impl core::error::Error for Ambiguity {}

/// Reads a connection's requests for where they begin and end.
#[derive(Debug, Default)]
pub struct Gate {
    state: State,
}

#[derive(Debug)]
enum State {
    /// In a head, of which so many bytes have been looked at.
    Head {
        seen: usize,
    },
    Body(Body),
    /// Behind a request for an upgrade: what follows may be anything.
    Upgrade,
    Refused {
        ambiguity: Ambiguity,
        head: bool,
    },
}

impl Default for State {
    fn default() -> State {
        State::Head { seen: 0 }
    }
}

impl Gate {
    /// How many bytes at the front of `bytes` may be read as requests: whole heads, and bodies as they come. Call it again with
    /// what is left and what came since; bytes are passed once.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while self.step(bytes, &mut passed) {}
        passed
    }

    /// False when it is to be called again with more bytes, or not at all.
    fn step(&mut self, bytes: &[u8], passed: &mut usize) -> bool {
        let rest = bytes.get(*passed..).unwrap_or_default();
        match &mut self.state {
            State::Head { seen } => match head::framing(rest, seen) {
                Ok(None) => return false,
                Ok(Some((len, framing))) => {
                    *passed += len;
                    self.state = if framing.upgrade { State::Upgrade } else { State::of(framing.body) };
                }
                Err(ambiguity) => self.state = State::Refused { ambiguity, head: true },
            },
            State::Body(body) => match body.pass(rest, passed) {
                Ok(false) => return false,
                Ok(true) => self.state = State::default(),
                Err(ambiguity) => self.state = State::Refused { ambiguity, head: false },
            },
            State::Upgrade | State::Refused { .. } => return false,
        }
        true
    }

    /// Why nothing more is passed, if that is so.
    pub const fn refused(&self) -> Option<Ambiguity> {
        match self.state {
            State::Refused { ambiguity, .. } => Some(ambiguity),
            _ => None,
        }
    }

    /// The same where it was a head that was refused: none of that request was passed.
    pub const fn refused_head(&self) -> Option<Ambiguity> {
        match self.state {
            State::Refused { ambiguity, head: true } => Some(ambiguity),
            _ => None,
        }
    }

    /// True behind a request for an upgrade: nothing more is passed, since it may be no HTTP.
    pub const fn is_upgrade(&self) -> bool {
        matches!(self.state, State::Upgrade)
    }
}

impl State {
    fn of(body: Body) -> State {
        match body {
            Body::Length(0) => State::default(),
            body => State::Body(body),
        }
    }
}
