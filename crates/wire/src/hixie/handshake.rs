//! The handshakes of the drafts, at the server.

use alloc::string::String;
use alloc::vec::Vec;

use md5::{Digest as _, Md5};

use crate::message::SUBPROTOCOL;
use crate::ws::Version;
use crate::ws::handshake::{has_token, is_token, only, values};

/// Bytes that follow the request of a -76 client.
pub const KEY3_BYTES: usize = 8;

/// A draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Draft {
    /// draft-hixie-thewebsocketprotocol-75.
    Hixie75,
    /// draft-hixie-thewebsocketprotocol-76, draft-ietf-hybi-thewebsocketprotocol-00.
    Hixie76,
}

impl Draft {
    /// The same among all versions.
    pub const fn version(self) -> Version {
        match self {
            Draft::Hixie75 => Version::Hixie75,
            Draft::Hixie76 => Version::Hixie76,
        }
    }
}

/// Why a handshake of the drafts is refused. The status of the answer is 400, 405 for the method, 426 for an upgrade
/// that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method is not GET.
    Method,
    /// Something on the way removed `Upgrade` or `Connection`: an answer would not make a tunnel of the connection.
    UpgradeRemoved,
    /// The request has a body of another length than that of the key bytes.
    Body,
    /// `Host` is missing, repeated or holds what no host holds.
    Host,
    /// `Sec-WebSocket-Key1` or `Sec-WebSocket-Key2` is no key: its digits over its spaces make no number of 32 bits.
    Key,
}

impl Refusal {
    /// What is wrong, for a person.
    pub const fn message(self) -> &'static str {
        match self {
            Refusal::Method => "a WebSocket handshake is a GET request",
            Refusal::UpgradeRemoved => {
                "this is a WebSocket handshake without its Upgrade and Connection headers: a proxy on the way removed them"
            }
            Refusal::Body => "a WebSocket handshake has no body but the eight key bytes of hixie-76",
            Refusal::Host => "a WebSocket handshake needs one Host header",
            Refusal::Key => {
                "Sec-WebSocket-Key1 and Sec-WebSocket-Key2 have to be there once each, and the number that their digits \
                 make has to be a multiple of the number of their spaces"
            }
        }
    }
}

/// A handshake that is good.
///
/// Send [`head`](Accepted::head) at once. Of [`Draft::Hixie76`], then await [`KEY3_BYTES`] bytes, which come before the
/// first frame, and send [`digest`](Accepted::digest) of them; whoever waits for them before the head hangs behind proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which draft the connection speaks.
    pub draft: Draft,
    /// The answer's head, to the empty line. The letter case is the drafts': clients compare bytes.
    pub head: Vec<u8>,
    numbers: [u32; 2],
}

impl Accepted {
    /// What proves that the server read the request (section 1.3 of -76).
    pub fn digest(&self, key3: [u8; KEY3_BYTES]) -> [u8; 16] {
        let [first, second] = self.numbers.map(u32::to_be_bytes);
        Md5::new().chain_update(first).chain_update(second).chain_update(key3).finalize().into()
    }
}

/// The value of the first header called `name` in a request's head, without the one space behind the colon but with
/// all others: those of a key count, and a parser of HTTP takes them away.
pub fn untrimmed<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|b| *b == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
        let value = value.strip_prefix(b": ").or_else(|| value.strip_prefix(b":"))?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.strip_suffix(b"\r").unwrap_or(value))
    })
}

/// Which draft a request speaks: one that asks for WebSocket without naming a version. Also when something on the way
/// has removed `Upgrade` from a -76 request, which its keys betray.
pub fn detect<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) -> Option<Draft> {
    let has = |name: &str| values(headers.clone(), name).next().is_some();
    if has("sec-websocket-version") || has("sec-websocket-key") {
        return None;
    }
    if has("sec-websocket-key1") || has("sec-websocket-key2") {
        return Some(Draft::Hixie76);
    }
    let asks = has_token(headers.clone(), "upgrade", "websocket") && has_token(headers, "connection", "upgrade");
    asks.then_some(Draft::Hixie75)
}

/// Checks a request that [`detect`] found to be of `draft`. `target` is its path with query; `secure` tells whether the
/// client believes to speak over TLS, which the answer has to confirm in the location it names. The spaces at the ends of
/// the keys count where the headers still have them.
pub fn accept<'a>(
    draft: Draft,
    method: &str,
    target: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    secure: bool,
) -> Result<Accepted, Refusal> {
    if method != "GET" {
        return Err(Refusal::Method);
    }
    let upgrade = has_token(headers.clone(), "upgrade", "websocket");
    if !upgrade || !has_token(headers.clone(), "connection", "upgrade") {
        return Err(Refusal::UpgradeRemoved);
    }
    if !body_fits(draft, headers.clone()) {
        return Err(Refusal::Body);
    }
    let host = only(values(headers.clone(), "host")).and_then(visible).ok_or(Refusal::Host)?;
    let numbers = match draft {
        Draft::Hixie75 => [0; 2],
        Draft::Hixie76 => {
            [number(headers.clone(), "sec-websocket-key1")?, number(headers.clone(), "sec-websocket-key2")?]
        }
    };
    // Some clients of -76 ask by the header of -75, and await the answer in their own.
    let (phrase, prefix, asked): (_, _, &[_]) = match draft {
        Draft::Hixie75 => ("Web Socket", "WebSocket", &["websocket-protocol"]),
        Draft::Hixie76 => ("WebSocket", "Sec-WebSocket", &["sec-websocket-protocol", "websocket-protocol"]),
    };
    let mut head = Vec::with_capacity(256);
    let mut line = |parts: &[&str]| {
        parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
        head.extend_from_slice(b"\r\n");
    };
    line(&["HTTP/1.1 101 ", phrase, " Protocol Handshake"]);
    line(&["Upgrade: WebSocket"]);
    line(&["Connection: Upgrade"]);
    if let Some(origin) = only(values(headers.clone(), "origin")).and_then(visible) {
        line(&[prefix, "-Origin: ", origin]);
    }
    let scheme = if secure { "wss://" } else { "ws://" };
    let path: String = target.chars().filter(char::is_ascii_graphic).collect();
    line(&[prefix, "-Location: ", scheme, host, &path]);
    if let Some(protocol) = asked.iter().find_map(|name| protocol(headers.clone(), name)) {
        line(&[prefix, "-Protocol: ", protocol]);
    }
    line(&[]);
    Ok(Accepted { draft, head, numbers })
}

/// True when no body is announced, or the key bytes as one.
fn body_fits<'a>(draft: Draft, headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) -> bool {
    let mut lengths = values(headers.clone(), "content-length");
    let fits = match (lengths.next(), draft) {
        (None, _) => true,
        (Some(length), Draft::Hixie75) => length == b"0",
        (Some(length), Draft::Hixie76) => length == b"8",
    };
    fits && lengths.next().is_none() && values(headers, "transfer-encoding").next().is_none()
}

/// A header's value, if it can stand in an answer.
fn visible(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()))
}

/// What to answer to the subprotocols asked for: ours, or, since clients of the drafts fail without an answer, the one
/// that they ask for.
fn protocol<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, name: &str) -> Option<&'a str> {
    let offered = str::from_utf8(only(values(headers, name))?).ok()?;
    let mut offers = offered.split([' ', ',']).filter(|offer| is_token(offer));
    let first = offers.clone().next()?;
    offers.find(|offer| *offer == SUBPROTOCOL).or(Some(first))
}

/// The number in a key: its digits, divided by its spaces (section 5.2 of -76).
fn number<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, name: &str) -> Result<u32, Refusal> {
    let keys = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let key = only(keys).ok_or(Refusal::Key)?;
    let spaces = key.iter().filter(|b| **b == b' ').count() as u64;
    let digits: String = key.iter().filter(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
    match digits.parse::<u64>() {
        Ok(digits) if spaces > 0 && digits.is_multiple_of(spaces) => {
            u32::try_from(digits / spaces).map_err(|_| Refusal::Key)
        }
        _ => Err(Refusal::Key),
    }
}
