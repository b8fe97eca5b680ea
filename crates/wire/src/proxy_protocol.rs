//! The PROXY protocol, versions 1 and 2: what a proxy that passes bytes on says before them about whom they come from.
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str;

/// Longest header of version 1, with its line end (section 2.1).
const V1_BYTES_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
/// What a header of version 2 begins with (section 2.2).
const V2_START: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n";
/// Signature, version and command, family, and length.
const V2_HEAD_BYTES: usize = 16;
/// Longest part of a header of version 2 behind its first 16 bytes; a real one has some hundred bytes at most.
const V2_REST_BYTES_MAX: usize = 4096;
/// TLV: how the client spoke TLS with the proxy (section 2.2.5).
const TLV_SSL: u8 = 0x20;

/// A header that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client; `None` when the proxy speaks for itself or does not know.
    pub client: Option<SocketAddr>,
    /// Whether the client spoke TLS with the proxy, where the header tells.
    pub tls: Option<bool>,
    /// Bytes of the header; what the client says begins behind them.
    pub len: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// They begin with something else.
    Missing,
    /// They begin like one; holds what is wrong.
    Malformed(&'static str),
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHeader::Missing => f.write_str("it does not begin with a PROXY header"),
            BadHeader::Malformed(what) => write!(f, "its PROXY header is malformed: {what}"),
        }
    }
}

impl core::error::Error for BadHeader {}

/// Whether a connection that begins with `bytes` begins with a PROXY header; `None` when more of it is needed to tell. No
/// request of HTTP and no TLS record begins so.
pub fn begins(bytes: &[u8]) -> Option<bool> {
    let starts = [V1_START, V2_START];
    if starts.iter().any(|start| bytes.starts_with(start)) {
        return Some(true);
    }
    if starts.iter().any(|start| start.starts_with(bytes)) { None } else { Some(false) }
}

/// Reads the header at the front of a connection; `Ok(None)` when more of it is needed.
///
/// # Errors
/// Bytes that are no header, or a malformed one.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
    match begins(bytes) {
        None => Ok(None),
        Some(false) => Err(BadHeader::Missing),
        Some(true) if bytes.starts_with(V1_START) => parse_v1(bytes),
        Some(true) => parse_v2(bytes),
    }
}

fn malformed<T>(what: &'static str) -> Result<T, BadHeader> {
    Err(BadHeader::Malformed(what))
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
    let window = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = window.iter().position(|b| *b == b'\n') else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { malformed("its line has no end within 107 bytes") };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = line.and_then(|line| str::from_utf8(line).ok()).filter(|line| line.is_ascii());
    let Some(text) = text else { return malformed("its line does not end with CR LF, or is not ASCII") };
    let client = v1_client(text)?;
    Ok(Some(Header { client, tls: None, len: end + 1 }))
}

fn v1_client(line: &str) -> Result<Option<SocketAddr>, BadHeader> {
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return malformed("expected PROXY, a family, two addresses and two ports");
    };
    let address = |text: &str| match family {
        Some("TCP4") => text.parse().ok().map(IpAddr::V4),
        Some("TCP6") => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let (Some(source), Some(_)) = (address(source), address(destination)) else {
        return malformed("expected TCP4, TCP6 or UNKNOWN, and addresses of that family");
    };
    let (Some(port), Some(_)) = (v1_port(source_port), v1_port(destination_port)) else {
        return malformed("a port is none");
    };
    Ok(Some(SocketAddr::new(source, port)))
}

/// Digits without a sign and without zeros in front.
fn v1_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<V2_HEAD_BYTES>() else {
        return Ok(None);
    };
    let size = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return malformed("its version is not 2");
    }
    if size > V2_REST_BYTES_MAX {
        return malformed("it is longer than 4,096 bytes");
    }
    let client = match command & 0x0f {
        0 => false,
        1 => true,
        _ => return malformed("its command is neither LOCAL nor PROXY"),
    };
    let Some(rest) = rest.get(..size) else { return Ok(None) };
    let len = V2_HEAD_BYTES + size;
    if !client {
        return Ok(Some(Header { client: None, tls: None, len }));
    }
    let (client, more) = v2_client(family, rest)?;
    Ok(Some(Header { client, tls: v2_tls(more)?, len }))
}

/// The client, and what follows the addresses.
fn v2_client(family: u8, rest: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), BadHeader> {
    const SHORT: BadHeader = BadHeader::Malformed("it is shorter than its addresses");
    match family {
        0x00 => Ok((None, &[])),
        0x11 => {
            let (block, more) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
            let address = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            Ok((Some(SocketAddr::new(address, u16::from_be_bytes([high, low]))), more))
        }
        0x21 => {
            let (block, more) = rest.split_first_chunk::<36>().ok_or(SHORT)?;
            let (address, others) = block.split_first_chunk::<16>().ok_or(SHORT)?;
            let port = others.get(16..18).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
            Ok((Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*address)), port)), more))
        }
        _ => malformed("it is neither of TCP over IPv4 nor of TCP over IPv6"),
    }
}

/// What the TLVs say of TLS.
fn v2_tls(mut rest: &[u8]) -> Result<Option<bool>, BadHeader> {
    const CUT: BadHeader = BadHeader::Malformed("one of its values is cut");
    let mut tls = None;
    while !rest.is_empty() {
        let (&[kind, high, low], more) = rest.split_first_chunk::<3>().ok_or(CUT)?;
        let (value, after) = more.split_at_checked(usize::from(u16::from_be_bytes([high, low]))).ok_or(CUT)?;
        if kind == TLV_SSL {
            tls = Some(value.first().ok_or(CUT)? & 1 == 1);
        }
        rest = after;
    }
    Ok(tls)
}
