//! Which web pages may use the realm: RFC 6454 origins compared by scheme, host and port.

use std::fmt;
use std::str::FromStr;

use super::settings::Origins;

/// An entry of `origins.allowed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// Every page.
    Any,
    /// Pages whose origin the browser does not tell: files, sandboxed frames.
    Opaque,
    /// Pages from this origin.
    Exactly(Origin),
}

/// Where a page came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Box<str>,
    host: Box<str>,
    port: Option<u16>,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOrigin;

impl fmt::Display for BadOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected scheme://host or scheme://host:port without a path, \"null\" or \"*\"")
    }
}

impl std::error::Error for BadOrigin {}

impl FromStr for OriginRule {
    type Err = BadOrigin;

    fn from_str(s: &str) -> Result<OriginRule, BadOrigin> {
        match s {
            "*" => Ok(OriginRule::Any),
            "null" => Ok(OriginRule::Opaque),
            _ => s.parse().map(OriginRule::Exactly),
        }
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    /// Scheme and host are compared in lower case; the scheme's own port may be written or left out.
    fn from_str(s: &str) -> Result<Origin, BadOrigin> {
        let (scheme, authority) = s.split_once("://").ok_or(BadOrigin)?;
        let scheme = scheme.to_ascii_lowercase();
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(known) {
            return Err(BadOrigin);
        }
        let (host, port) = authority_parts(authority).ok_or(BadOrigin)?;
        Ok(Origin { port: port.or(default_port(&scheme)), scheme: scheme.into(), host })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host in lower case, and port if one is written.
pub(super) fn authority_parts(authority: &str) -> Option<(Box<str>, Option<u16>)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at_checked(end)?;
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        None if rest.is_empty() => None,
        _ => return None,
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let legal = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    legal.then(|| (host.to_ascii_lowercase().into_boxed_str(), port))
}

/// On what ground a page is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It comes from the realm's own address, or its origin is listed: it may bring its user's credentials.
    Own,
    /// Every page is allowed, or every page whose origin is not told.
    Any,
}

impl Origins {
    /// True when every page is allowed.
    pub fn any(&self) -> bool {
        self.allowed.contains(&OriginRule::Any)
    }

    /// On what ground a page is allowed, by the rules of [`Origins::allow`]; `None` when it is not.
    pub fn grant(&self, origin: &str, host: Option<&str>) -> Option<Grant> {
        let named = match origin.parse::<Origin>() {
            Ok(origin) => origin.is_own(host) || self.allowed.contains(&OriginRule::Exactly(origin)),
            Err(_) => false,
        };
        if named { Some(Grant::Own) } else { self.allow(origin, host).then_some(Grant::Any) }
    }

    /// Whether a request with this `Origin` header and this `Host` header comes from a page that is allowed.
    ///
    /// A page from the realm's own address is: one whose origin has the scheme `http` or `https` and the host and port of
    /// `Host`, where a port that is not written is the one of the origin's scheme. The realm cannot know by which scheme
    /// the page was loaded when a proxy in front ends TLS, so both are taken. Otherwise an entry of `origins.allowed` has to have
    /// the same scheme, host and port.
    pub fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        if self.any() {
            return true;
        }
        if origin == "null" {
            return self.allowed.contains(&OriginRule::Opaque);
        }
        let Ok(origin) = origin.parse::<Origin>() else { return false };
        origin.is_own(host) || self.allowed.contains(&OriginRule::Exactly(origin))
    }
}

impl Origin {
    fn is_own(&self, host: Option<&str>) -> bool {
        let Some(own) = default_port(&self.scheme) else { return false };
        match host.and_then(authority_parts) {
            Some((host, port)) => host == self.host && port.unwrap_or(own) == self.port.unwrap_or(own),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> Origins {
        Origins { allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(), hosts: Vec::new() }
    }

    #[test]
    fn a_page_from_the_realms_own_address_is_allowed_and_no_other() {
        let own = policy(&[]);
        let cases = [
            ("http://localhost:9000", Some("localhost:9000"), true),
            ("https://localhost:9000", Some("localhost:9000"), true),
            ("http://LOCALHOST:9000", Some("localhost:9000"), true),
            ("http://example.com", Some("example.com"), true),
            ("https://example.com", Some("example.com"), true),
            ("https://example.com", Some("example.com:443"), true),
            ("http://example.com:80", Some("Example.com"), true),
            ("http://[::1]:9000", Some("[::1]:9000"), true),
            ("https://example.com", Some("example.com:80"), false),
            ("http://example.com:8080", Some("example.com"), false),
            ("http://example.com", Some("example.com:8080"), false),
            ("http://localhost:9001", Some("localhost:9000"), false),
            ("http://127.0.0.1:9000", Some("localhost:9000"), false),
            ("http://example.com.evil.net", Some("example.com"), false),
            ("http://evil.net", Some("example.com"), false),
            ("http://example.com@evil.net", Some("example.com"), false),
            ("http://example.com/", Some("example.com"), false),
            ("http://example.com:", Some("example.com"), false),
            ("http://example.com:+80", Some("example.com"), false),
            ("http://example.com:99999", Some("example.com"), false),
            ("ftp://example.com", Some("example.com"), false),
            ("file://", Some(""), false),
            ("http://", Some(""), false),
            ("example.com", Some("example.com"), false),
            ("null", Some("null"), false),
            ("null", None, false),
            ("", Some(""), false),
            ("http://example.com", None, false),
            ("http://[::1", Some("[::1"), false),
            ("http://\u{e9}.com", Some("\u{e9}.com"), false),
        ];
        for (origin, host, allowed) in cases {
            assert_eq!(own.allow(origin, host), allowed, "{origin} at {host:?}");
        }
    }

    #[test]
    fn listed_origins_are_compared_whole() {
        let listed = policy(&["https://app.example.com", "http://localhost:3000", "capacitor://localhost"]);
        let cases = [
            ("https://app.example.com", true),
            ("https://APP.example.com:443", true),
            ("http://localhost:3000", true),
            ("capacitor://localhost", true),
            ("http://realm:9000", true),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("https://sub.app.example.com", false),
            ("https://example.com", false),
            ("http://localhost", false),
            ("null", false),
        ];
        for (origin, allowed) in cases {
            assert_eq!(listed.allow(origin, Some("realm:9000")), allowed, "{origin}");
        }
    }

    #[test]
    fn any_and_opaque() {
        assert!(policy(&["null"]).allow("null", None));
        assert!(!policy(&["null"]).allow("http://a", None));
        for origin in ["null", "http://a", "rubbish"] {
            assert!(policy(&["*"]).allow(origin, None), "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "example.com",
            "https://",
            "https://a/",
            "https://a/path",
            "https://*.a",
            "https://a:b",
            "://a",
            "https://a b",
        ] {
            assert_eq!(text.parse::<OriginRule>(), Err(BadOrigin), "{text}");
        }
    }
}
