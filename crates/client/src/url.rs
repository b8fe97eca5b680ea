//! Where a realm is: `http://HOST:PORT[/prefix]`, or the same with `https`.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::net::Route;

/// Below this path, after the prefix, everything of the protocol lives (PROTOCOL.md section 1).
const ROOT: &str = "/throughline/v1";

/// The address of a realm, as a client sees it: a reverse proxy's, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmUrl {
    host: String,
    port: u16,
    authority: String,
    prefix: String,
    tls: bool,
    route: Route,
}

impl RealmUrl {
    /// Host name or IP address to connect to; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port to connect to.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `Host` header has them.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// True for `https` and `wss`.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The same realm, reached by this route. Without one the environment says whether there is a proxy.
    #[must_use]
    pub fn through(self, route: Route) -> RealmUrl {
        RealmUrl { route, ..self }
    }

    /// How it is reached.
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// What a reverse proxy puts in front of the paths: empty, or with a slash in front and none behind.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The same without what a reverse proxy puts in front of the paths.
    #[must_use]
    pub(crate) fn without_prefix(&self) -> RealmUrl {
        RealmUrl { prefix: String::new(), ..self.clone() }
    }

    /// The path of `resource` (which begins with a slash) below `{prefix}/throughline/v1`.
    pub fn path(&self, resource: &str) -> String {
        format!("{}{ROOT}{resource}", self.prefix)
    }
}

impl fmt::Display for RealmUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// Why a text is no realm's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadUrl {
    /// No URL at all; holds the text and what is wrong.
    Syntax(String, String),
    /// Another scheme than `http`, `https`, `ws` or `wss`.
    Scheme(String),
    /// Something that an address of a realm does not have: user, query or fragment.
    Extra(String, &'static str),
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadUrl::Syntax(text, fault) => {
                write!(f, "{text:?} is no address of a realm ({fault}); write http://HOST:PORT")
            }
            BadUrl::Scheme(text) => write!(f, "{text:?} is no address of a realm; write http://HOST:PORT"),
            BadUrl::Extra(text, part) => {
                write!(f, "{text:?} has a {part}, which a realm's address cannot have; write http://HOST:PORT[/PREFIX]")
            }
        }
    }
}

impl std::error::Error for BadUrl {}

impl FromStr for RealmUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<RealmUrl, BadUrl> {
        let url = Url::parse(text).map_err(|e| BadUrl::Syntax(text.to_owned(), e.to_string()))?;
        match url.scheme() {
            "http" | "ws" | "https" | "wss" => {}
            _ => return Err(BadUrl::Scheme(text.to_owned())),
        }
        let extra = |part| Err(BadUrl::Extra(text.to_owned(), part));
        if !url.username().is_empty() || url.password().is_some() {
            return extra("user name");
        }
        if url.query().is_some() {
            return extra("query");
        }
        if url.fragment().is_some() {
            return extra("fragment");
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(BadUrl::Syntax(text.to_owned(), "no host".to_owned())),
        };
        let tls = matches!(url.scheme(), "https" | "wss");
        let port = url.port_or_known_default().unwrap_or(if tls { 443 } else { 80 });
        Ok(RealmUrl {
            host,
            port,
            authority: url.authority().to_owned(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            tls,
            route: Route::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table = [
            ("http://127.0.0.1:9000", "127.0.0.1", 9000, "127.0.0.1:9000", ""),
            ("http://127.0.0.1:9000/", "127.0.0.1", 9000, "127.0.0.1:9000", ""),
            ("http://example.org", "example.org", 80, "example.org", ""),
            ("ws://example.org:8080/a/b/", "example.org", 8080, "example.org:8080", "/a/b"),
            ("http://[::1]:9000/x", "::1", 9000, "[::1]:9000", "/x"),
            ("https://h", "h", 443, "h", ""),
            ("wss://h:9000/p", "h", 9000, "h:9000", "/p"),
        ];
        for (text, host, port, authority, prefix) in table {
            let url: RealmUrl = text.parse().unwrap();
            assert_eq!(
                (url.host(), url.port(), url.authority(), url.prefix()),
                (host, port, authority, prefix),
                "{text}"
            );
        }
        let url: RealmUrl = "http://h:1/p".parse().unwrap();
        assert_eq!(url.path("/channels"), "/p/throughline/v1/channels");
        assert_eq!(url.to_string(), "http://h:1/p");
    }

    #[test]
    fn refused_addresses_name_the_fault() {
        let table = [
            ("localhost:9000", "write http://HOST:PORT"),
            ("127.0.0.1:9000", "write http://HOST:PORT"),
            ("ftp://h", "write http://HOST:PORT"),
            ("http://", "write http://HOST:PORT"),
            ("http://h:70000", "port"),
            ("http://u:p@h", "user name"),
            ("http://h?x=1", "query"),
            ("http://h#x", "fragment"),
        ];
        for (text, part) in table {
            let error = text.parse::<RealmUrl>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
