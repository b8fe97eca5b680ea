//! What reverse proxies say of whom they forward for: `X-Forwarded-For` and its kin, or `Forwarded` (RFC 7239).
//!
//! A chain of proxies appends, so that what was written last is on the right: it is read from there, as far as those who wrote
//! it are trusted. What lies beyond was written by somebody else and is not even looked at.

mod elements;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::{self, FromStr};

use crate::ws::handshake::{is_token, values};
use elements::{Element, elements};

/// Most proxies that one request may have come through.
pub const HOPS_MAX: usize = 32;
/// Longest host with port, bytes.
const HOST_BYTES_MAX: usize = 261;
/// Longest path prefix, bytes.
const PREFIX_BYTES_MAX: usize = 1024;

/// Which headers the proxies write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Prefix`.
    XForwarded,
    /// `Forwarded`, and `X-Forwarded-Prefix`, for which that has no word.
    Forwarded,
}

/// A word that names no family of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFamily;

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(s: &str) -> Result<Family, UnknownFamily> {
        match s {
            "x-forwarded" => Ok(Family::XForwarded),
            "forwarded" => Ok(Family::Forwarded),
            _ => Err(UnknownFamily),
        }
    }
}

/// What trusted proxies told of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The last address on the way that is told: the client's, or the outermost proxy's that does not tell for whom it speaks.
    pub address: Option<IpAddr>,
    /// The client spoke TLS with the outermost trusted proxy.
    pub secure: Option<bool>,
    /// The `Host` that the client asked for.
    pub host: Option<String>,
    /// The path below which the client finds the realm, without a slash at its end; empty when it is the root.
    pub prefix: Option<String>,
}

/// Why what a trusted proxy said cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadForwarded {
    /// The header `Forwarded` breaks the grammar of RFC 7239.
    Syntax,
    /// An element that names whom it speaks for holds neither an address nor a name.
    Address,
    /// A protocol that is neither http nor https.
    Protocol,
    /// A host that is none.
    Host,
    /// A path prefix that is none.
    Prefix,
    /// More than [`HOPS_MAX`] proxies.
    TooMany,
}

impl fmt::Display for BadForwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadForwarded::Syntax => f.write_str("Forwarded does not follow RFC 7239"),
            BadForwarded::Address => f.write_str("it forwards for what is no address, no \"unknown\" and no \"_name\""),
            BadForwarded::Protocol => f.write_str("the client's protocol is neither http nor https"),
            BadForwarded::Host => f.write_str("the host that the client asked for is none"),
            BadForwarded::Prefix => f.write_str("X-Forwarded-Prefix is no path such as /live"),
            BadForwarded::TooMany => write!(f, "it came through more than {HOPS_MAX} trusted proxies"),
        }
    }
}

impl core::error::Error for BadForwarded {}

/// True when a request carries any of these headers, of whichever family.
pub fn is_told<'a>(mut headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "forwarded"];
    headers.any(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

/// Reads what the headers of a request tell that came from a trusted proxy. `trusted` says of which addresses what they
/// wrote in turn is believed.
///
/// # Errors
/// What a trusted proxy wrote is malformed. What others wrote may be anything, as long as `Forwarded` follows its grammar,
/// without which nothing in it can be told apart.
pub fn read<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    family: Family,
    trusted: impl Fn(IpAddr) -> bool,
) -> Result<Told, BadForwarded> {
    let mut told = match family {
        Family::XForwarded => read_x(headers.clone(), trusted)?,
        Family::Forwarded => read_standard(headers.clone(), trusted)?,
    };
    // It is written by the proxy that takes the path away; those before it leave it as it is.
    let prefix = list(headers, "x-forwarded-prefix", BadForwarded::Prefix)?.last().copied();
    told.prefix = prefix.map(read_prefix).transpose()?;
    Ok(told)
}

fn read_x<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    trusted: impl Fn(IpAddr) -> bool,
) -> Result<Told, BadForwarded> {
    // What is no text counts as an element all the same, which matters only where it is believed.
    let chain: Vec<&[u8]> =
        values(headers.clone(), "x-forwarded-for").flat_map(|value| value.split(|b| *b == b',')).collect();
    let chain = chain.into_iter().map(<[u8]>::trim_ascii).filter(|element| !element.is_empty());
    let nodes: Vec<Option<&str>> = chain.map(|element| Some(str::from_utf8(element).unwrap_or("\u{fffd}"))).collect();
    let way = walk(&nodes, trusted)?;
    // Proxies that append to one header append to the others; a header that one of them has set anew has fewer entries.
    let outermost = |entries: Vec<&'a str>| entries.get(entries.len().saturating_sub(way.hops.max(1))).copied();
    let protocol = outermost(list(headers.clone(), "x-forwarded-proto", BadForwarded::Protocol)?);
    let host = outermost(list(headers, "x-forwarded-host", BadForwarded::Host)?);
    Ok(Told {
        address: way.address,
        secure: protocol.map(read_protocol).transpose()?,
        host: host.map(read_host).transpose()?,
        prefix: None,
    })
}

fn read_standard<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Result<Told, BadForwarded> {
    let mut chain: Vec<Element> = Vec::new();
    for value in values(headers, "forwarded") {
        elements(str::from_utf8(value).map_err(|_| BadForwarded::Syntax)?, &mut chain)?;
    }
    let nodes: Vec<Option<&str>> = chain.iter().map(|element| element.node.as_deref()).collect();
    let way = walk(&nodes, trusted)?;
    // The outermost trusted proxy tells how the client came; where it does not, the next may.
    let believed = chain.get(chain.len().saturating_sub(way.hops)..).unwrap_or_default();
    let protocol = believed.iter().find_map(|element| element.protocol.as_deref());
    let host = believed.iter().find_map(|element| element.host.as_deref());
    Ok(Told {
        address: way.address,
        secure: protocol.map(read_protocol).transpose()?,
        host: host.map(read_host).transpose()?,
        prefix: None,
    })
}

/// How far a chain is believed.
struct Way {
    address: Option<IpAddr>,
    /// Elements that trusted proxies wrote.
    hops: usize,
}

/// Goes along a chain from its right end, to the first that is not trusted or not told.
fn walk(nodes: &[Option<&str>], trusted: impl Fn(IpAddr) -> bool) -> Result<Way, BadForwarded> {
    let mut way = Way { address: None, hops: 0 };
    for node in nodes.iter().rev() {
        if way.hops == HOPS_MAX {
            return Err(BadForwarded::TooMany);
        }
        way.hops += 1;
        let Some(address) = node.map_or(Ok(None), read_node)? else { break };
        way.address = Some(address);
        if !trusted(address) {
            break;
        }
    }
    Ok(way)
}

/// The elements of a list, of the headers called `name`.
fn list<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    name: &str,
    bad: BadForwarded,
) -> Result<Vec<&'a str>, BadForwarded> {
    let mut found = Vec::new();
    for value in values(headers, name) {
        let text = str::from_utf8(value).map_err(|_| bad)?;
        found.extend(text.split(',').map(str::trim).filter(|element| !element.is_empty()));
    }
    Ok(found)
}

/// An address, with a port or without; `None` for `unknown` and for names that hide one (RFC 7239 section 6).
fn read_node(text: &str) -> Result<Option<IpAddr>, BadForwarded> {
    // A port may be hidden as well.
    let bare = match text.rsplit_once(":_") {
        Some((node, port)) if is_obfuscated(port) => node,
        _ => text,
    };
    let hidden =
        bare.strip_prefix('_').is_some_and(|name| is_obfuscated(name.split_once(':').map_or(name, |(name, _)| name)));
    if hidden || bare.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("unknown")) {
        return Ok(None);
    }
    let bracketed = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => {
            let with_port = || bare.parse::<SocketAddr>().ok().map(|address| address.ip());
            bare.parse::<IpAddr>().ok().or_else(with_port)
        }
    };
    address.map(|address| Some(address.to_canonical())).ok_or(BadForwarded::Address)
}

/// What stands behind the underscore of a name (RFC 7239 section 6.3).
fn is_obfuscated(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn read_protocol(text: &str) -> Result<bool, BadForwarded> {
    let is = |words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match (is(["https", "wss"]), is(["http", "ws"])) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(BadForwarded::Protocol),
    }
}

fn read_host(text: &str) -> Result<String, BadForwarded> {
    if is_host(text) { Ok(text.to_owned()) } else { Err(BadForwarded::Host) }
}

/// True for what may stand in `Host`: a name or an address, that of IPv6 in brackets, and perhaps a port.
pub fn is_host(text: &str) -> bool {
    if text.len() > HOST_BYTES_MAX {
        return false;
    }
    if text.starts_with('[') {
        let plain = text.strip_suffix(']').and_then(|text| text.strip_prefix('['));
        return plain.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()) || text.parse::<SocketAddrV6>().is_ok();
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let symbol = |b: u8| matches!(b, b'.' | b'-' | b'_');
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || symbol(b));
    named && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn read_prefix(text: &str) -> Result<String, BadForwarded> {
    let path = text.trim_end_matches('/');
    if path.is_empty() && !text.is_empty() {
        return Ok(String::new());
    }
    if is_prefix(path) { Ok(path.to_owned()) } else { Err(BadForwarded::Prefix) }
}

/// True for a path without a slash at its end, below which a realm can be.
pub fn is_prefix(path: &str) -> bool {
    let symbol = |b: u8| b"/-._~%!$&'()*+;=:@".contains(&b);
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || symbol(b));
    path.len() <= PREFIX_BYTES_MAX && path.starts_with('/') && !path.contains("//") && plain && !path.ends_with('/')
}
