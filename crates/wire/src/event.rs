//! Events and the values they are identified by: PROTOCOL.md section 3.

use alloc::boxed::Box;
use alloc::string::String;
use bytes::Bytes;
use core::fmt;
use core::str::FromStr;

use crate::properties::Properties;

/// The largest number that every JSON implementation carries exactly: 2^53-1.
pub const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Longest tag of an event, bytes.
pub const TAG_BYTES_MAX: usize = 255;
/// Longest channel name, bytes.
pub const CHANNEL_NAME_BYTES_MAX: usize = 128;

/// The id of an event in its channel. Increasing, maybe with gaps. Zero stands for "nothing yet" in cursors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Eid(pub u64);

impl Eid {
    /// The cursor of one who was given nothing.
    pub const NONE: Eid = Eid(0);

    /// The id after this one; saturates at the end of the range.
    #[must_use]
    pub const fn next(self) -> Eid {
        Eid(self.0.saturating_add(1))
    }
}

impl fmt::Display for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no EID, epoch or session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadId {
    expected: &'static str,
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl core::error::Error for BadId {}

impl FromStr for Eid {
    type Err = BadId;

    /// Decimal digits without a sign or a leading zero; "0" is [`Eid::NONE`].
    fn from_str(s: &str) -> Result<Eid, BadId> {
        let bad = BadId { expected: "an EID: decimal digits without leading zero, below 2^64" };
        let canonical = s.bytes().all(|b| b.is_ascii_digit()) && (s.len() == 1 || !s.starts_with('0'));
        if !canonical {
            return Err(bad);
        }
        s.parse().map(Eid).map_err(|_| bad)
    }
}

fn parse_hex(s: &str, digits: usize, expected: &'static str) -> Result<u128, BadId> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if s.len() != digits || !s.bytes().all(lower_hex) {
        return Err(BadId { expected });
    }
    u128::from_str_radix(s, 16).map_err(|_| BadId { expected })
}

/// Identity of a channel's history: another epoch means that EIDs of the old one say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = BadId;

    fn from_str(s: &str) -> Result<Epoch, BadId> {
        let value = parse_hex(s, 16, "an epoch: 16 lower-case hexadecimal digits")?;
        Ok(Epoch(value as u64))
    }
}

/// A session's id: 128 random bits, the secret by which its client resumes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    /// Shows the first digits only: the id is a secret and must not reach a log whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:08x}..)", (self.0 >> 96) as u32)
    }
}

impl FromStr for SessionId {
    type Err = BadId;

    fn from_str(s: &str) -> Result<SessionId, BadId> {
        parse_hex(s, 32, "a session id: 32 lower-case hexadecimal digits").map(SessionId)
    }
}

/// What an event carries: text or bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Data {
    bytes: Bytes,
    text: bool,
}

impl Data {
    /// Text data.
    pub fn text(text: impl Into<String>) -> Data {
        Data { bytes: Bytes::from(text.into().into_bytes()), text: true }
    }

    /// Text data from bytes, or the bytes back when they are not UTF-8.
    pub fn text_from_utf8(bytes: Bytes) -> Result<Data, Bytes> {
        match core::str::from_utf8(&bytes) {
            Ok(_) => Ok(Data { bytes, text: true }),
            Err(_) => Err(bytes),
        }
    }

    /// Binary data.
    pub fn bytes(bytes: impl Into<Bytes>) -> Data {
        Data { bytes: bytes.into(), text: false }
    }

    /// The text, or `None` when these data are bytes.
    pub fn as_text(&self) -> Option<&str> {
        if self.text { core::str::from_utf8(&self.bytes).ok() } else { None }
    }

    /// True when these data were published as text.
    pub const fn is_text(&self) -> bool {
        self.text
    }

    /// The data as bytes; text in UTF-8.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when there is not a byte.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "{:?}", self.bytes),
        }
    }
}

/// What a publisher says of an event. The realm adds the EID and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The payload.
    pub data: Data,
    /// A short label for the receiver, at most [`TAG_BYTES_MAX`] bytes.
    pub tag: Option<Box<str>>,
    /// Typed dictionary.
    pub properties: Option<Properties>,
    /// Milliseconds after which the event is not given out any more.
    pub ttl: Option<u64>,
}

impl Body {
    /// A body that is nothing but its data.
    pub const fn new(data: Data) -> Body {
        Body { data, tag: None, properties: None, ttl: None }
    }

    /// Bytes this body holds, for limits on memory.
    pub fn weight(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |p| p.as_json().len());
        self.data.len() + self.tag.as_ref().map_or(0, |t| t.len()) + properties
    }
}

/// An event of a channel, as it is given to subscribers. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id in the channel.
    pub eid: Eid,
    /// When the realm accepted it, milliseconds since 1970-01-01T00:00Z.
    pub time: u64,
    /// What was published.
    pub body: Body,
}

impl Event {
    /// True when its time to live has passed at `now` (milliseconds since 1970).
    pub fn expired(&self, now: u64) -> bool {
        self.body.ttl.is_some_and(|ttl| now >= self.time.saturating_add(ttl))
    }
}

/// Why a text is no channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChannelName {
    /// Nothing there.
    Empty,
    /// Longer than [`CHANNEL_NAME_BYTES_MAX`]; holds its length in bytes.
    TooLong(usize),
    /// Holds a character that no name may hold.
    Character(char),
    /// Begins or ends with a slash, or has two in a row.
    EmptySegment,
}

impl fmt::Display for BadChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadChannelName::Empty => f.write_str("a channel name is empty"),
            BadChannelName::TooLong(n) => {
                write!(f, "a channel name has {n} bytes, at most {CHANNEL_NAME_BYTES_MAX} are allowed")
            }
            BadChannelName::Character(c) => {
                write!(f, "a channel name holds {c:?}; allowed are A-Z a-z 0-9 _ - . : and / between segments")
            }
            BadChannelName::EmptySegment => {
                f.write_str("a channel name begins or ends with a slash, or has two in a row")
            }
        }
    }
}

impl core::error::Error for BadChannelName {}

/// Checks a channel name against PROTOCOL.md section 3.
pub fn check_channel_name(name: &str) -> Result<(), BadChannelName> {
    if name.is_empty() {
        return Err(BadChannelName::Empty);
    }
    if name.len() > CHANNEL_NAME_BYTES_MAX {
        return Err(BadChannelName::TooLong(name.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        return Err(BadChannelName::Character(c));
    }
    if name.split('/').any(str::is_empty) {
        return Err(BadChannelName::EmptySegment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ids_have_one_spelling() {
        for text in ["0", "1", "18446744073709551615"] {
            assert_eq!(text.parse::<Eid>().map(|e| e.to_string()), Ok(text.to_string()));
        }
        for text in ["", "01", "+1", "-1", "1.0", "18446744073709551616", "0x1", " 1", "\u{661}"] {
            assert!(text.parse::<Eid>().is_err(), "{text}");
        }
        assert_eq!("00000000000000ff".parse(), Ok(Epoch(255)));
        for text in ["", "ff", "00000000000000FF", "+0000000000000ff", "00000000000000000"] {
            assert!(text.parse::<Epoch>().is_err(), "{text}");
        }
        let session = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(session.parse::<SessionId>().map(|s| s.to_string()), Ok(session.to_string()));
    }

    #[test]
    fn channel_names() {
        for name in ["a", "prices", "a/b/c", "A-1_2.3:4", &"x".repeat(128)] {
            assert_eq!(check_channel_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_channel_name(""), Err(BadChannelName::Empty));
        assert_eq!(check_channel_name(&"x".repeat(129)), Err(BadChannelName::TooLong(129)));
        assert_eq!(check_channel_name("a b"), Err(BadChannelName::Character(' ')));
        assert_eq!(check_channel_name("\u{e4}"), Err(BadChannelName::Character('\u{e4}')));
        for name in ["/", "/a", "a/", "a//b"] {
            assert_eq!(check_channel_name(name), Err(BadChannelName::EmptySegment), "{name}");
        }
    }
}
