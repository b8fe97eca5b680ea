//! Where clients find the realm: by which address, and by which names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use throughline_wire::forwarded::{is_host, is_prefix};

use super::origins::{OriginRule, authority_parts};
use super::settings::Origins;

/// The address by which clients come, whatever stands in front: scheme, host and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    secure: bool,
    host: Box<str>,
    prefix: Box<str>,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPublicUrl;

impl fmt::Display for BadPublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected http:// or https://, a host, perhaps a port and a path, and no query")
    }
}

impl FromStr for PublicUrl {
    type Err = BadPublicUrl;

    fn from_str(s: &str) -> Result<PublicUrl, BadPublicUrl> {
        let (scheme, rest) = s.split_once("://").ok_or(BadPublicUrl)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BadPublicUrl),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let prefix = path.strip_suffix('/').unwrap_or(path);
        if !is_host(host) || !(prefix.is_empty() || is_prefix(prefix)) {
            return Err(BadPublicUrl);
        }
        Ok(PublicUrl { secure, host: host.to_ascii_lowercase().into(), prefix: prefix.into() })
    }
}

impl fmt::Display for PublicUrl {
    /// The address of the page.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/", self.origin(), self.prefix)
    }
}

impl PublicUrl {
    /// Clients speak TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port, as clients have them in `Host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below which the realm is found, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }

    /// Makes pages that come from here the realm's own, and its name one of the realm's where these are listed.
    pub(super) fn belongs_to(&self, origins: &mut Origins) {
        if let Ok(origin) = self.origin().parse() {
            origins.allowed.push(OriginRule::Exactly(origin));
        }
        if let Some((name, _)) = authority_parts(&self.host).filter(|_| !origins.hosts.is_empty()) {
            origins.hosts.push(HostName(name));
        }
    }
}

/// A name of the realm's, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(Box<str>);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHostName;

impl fmt::Display for BadHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a host's name without scheme, port and path")
    }
}

impl FromStr for HostName {
    type Err = BadHostName;

    fn from_str(s: &str) -> Result<HostName, BadHostName> {
        match authority_parts(s) {
            Some((name, None)) => Ok(HostName(name)),
            _ => Err(BadHostName),
        }
    }
}

impl Origins {
    /// Whether a `Host` names the realm. Addresses and `localhost` do: nobody's site can be made to bear these names.
    pub fn is_own_host(&self, host: &str) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let Some((name, _)) = authority_parts(host) else { return false };
        let name = name.strip_suffix('.').unwrap_or(&name);
        let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = inner.map_or_else(|| name.parse::<Ipv4Addr>().is_ok(), |inner| inner.parse::<Ipv6Addr>().is_ok());
        address || name == "localhost" || self.hosts.iter().any(|own| *own.0 == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let cases = [
            ("https://example.org/live/", true, "example.org", "/live", "https://example.org/live/"),
            ("http://Example.org:8080", false, "example.org:8080", "", "http://example.org:8080/"),
            ("HTTPS://[::1]:8443/", true, "[::1]:8443", "", "https://[::1]:8443/"),
        ];
        for (text, secure, host, prefix, shown) in cases {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.is_secure(), url.host(), url.prefix()), (secure, host, prefix), "{text}");
            assert_eq!(url.to_string(), shown);
        }
        let bad = [
            "example.org",
            "wss://a",
            "https://",
            "https:///a",
            "https://a@b",
            "https://a?b",
            "https://a/b?c",
            "https://a//",
        ];
        for text in bad {
            assert_eq!(text.parse::<PublicUrl>(), Err(BadPublicUrl), "{text}");
        }
    }

    #[test]
    fn names_of_the_realm() {
        let load = |text: &str| Config::load(Some(("t.toml", text)), &[]).unwrap().origins;
        let any = load("public_url = \"https://example.org/live\"");
        assert!(any.is_own_host("evil.example") && any.allow("https://example.org", Some("127.0.0.1:9000")));
        assert!(!any.allow("http://example.org", Some("127.0.0.1:9000")));
        let some = load("public_url = \"https://example.org/live\"\norigins.hosts = [\"Realm.example\"]");
        for host in [
            "realm.example",
            "REALM.example:9000",
            "realm.example.",
            "example.org",
            "localhost:9000",
            "10.0.0.1:9000",
            "[::1]:9000",
        ] {
            assert!(some.is_own_host(host), "{host}");
        }
        for host in ["evil.example", "realm.example.evil.example", "", "127.0.0.1.evil.example", "1", "0x7f.1"] {
            assert!(!some.is_own_host(host), "{host}");
        }
        assert!(["a:1", "http://a", "", "a b"].iter().all(|text| text.parse::<HostName>().is_err()));
    }
}
