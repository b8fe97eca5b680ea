//! Whom a connection and its requests come from, whatever stands in between: the one answer that logs, origins, limits and
//! diagnosis use.

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use throughline_wire::forwarded::{self, Told, is_host};
use throughline_wire::proxy_protocol::Header;

use crate::config::{Config, Proxies, PublicUrl, listed};
use crate::http::answer::Fault;

/// Longest host that is repeated in an answer, characters.
const HOST_CHARS_MAX: usize = 200;

/// Where a connection comes from: known before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The other end, or whom it speaks for by a PROXY header. Never an IPv4 address in the clothes of IPv6.
    pub(crate) address: Option<IpAddr>,
    /// It speaks TLS with the realm, or with a proxy that says so.
    pub(crate) secure: bool,
    /// What its requests say of whom they were forwarded for is believed.
    pub(crate) trusted: bool,
}

impl Source {
    /// The other end of a connection.
    pub(crate) fn of(peer: Option<SocketAddr>, proxies: &Proxies) -> Source {
        let plain = Source { address: None, secure: false, trusted: false };
        plain.at(peer.map(|peer| peer.ip()), proxies)
    }

    /// Whom a PROXY header names; a proxy that speaks for itself is left as it is.
    pub(crate) fn told(self, header: Header, proxies: &Proxies) -> Source {
        let secure = header.tls.unwrap_or(self.secure);
        let address = header.client.map(|client| client.ip()).or(self.address);
        Source { secure, ..self }.at(address, proxies)
    }

    fn at(self, address: Option<IpAddr>, proxies: &Proxies) -> Source {
        let address = address.map(|address| address.to_canonical());
        Source { address, trusted: address.is_some_and(|address| listed(&proxies.trusted, address)), ..self }
    }
}

/// Whom one request comes from, and by which address it found the realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: Option<IpAddr>,
    /// It speaks TLS, with the realm or with what is in front.
    pub(crate) secure: bool,
    /// Host and port as the client has them; empty when HTTP/1.0 gives none.
    pub(crate) host: String,
    /// The path below which it finds the realm, without a slash at its end.
    pub(crate) prefix: String,
    /// It came with headers of a proxy that is not trusted.
    pub(crate) ignored: bool,
}

/// Why a request is refused before it is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// What a trusted proxy said cannot be used.
    Forwarded(forwarded::BadForwarded),
    /// `Host` is missing, there twice, or none.
    Host,
    /// It names no host of the realm's.
    UnknownHost(String),
}

impl Source {
    /// Whom a request on this connection comes from.
    ///
    /// # Errors
    /// A trusted proxy's headers that cannot be read; a `Host` that is none, or that is not the realm's.
    pub(crate) fn client(self, headers: &[(&str, &[u8])], http_1_0: bool, config: &Config) -> Result<Client, Refused> {
        let headers = headers.iter().copied();
        let own = own_host(headers.clone(), http_1_0)?;
        let trusted = |address| listed(&config.proxies.trusted, address);
        let told = match self.trusted {
            true => forwarded::read(headers.clone(), config.proxies.headers, trusted).map_err(Refused::Forwarded)?,
            false => Told::default(),
        };
        let public = config.public_url.as_ref();
        // A name that is none of the realm's is not made one of them by a proxy that passes it on as it came.
        let implied = public.filter(|_| self.trusted && config.origins.is_own_host(&own));
        let implied = implied.map(|url| url.host().to_owned());
        let host = told.host.or(implied).unwrap_or(own);
        let public = public.filter(|url| host.eq_ignore_ascii_case(url.host()));
        let client = Client {
            address: told.address.or(self.address),
            secure: told.secure.or(public.map(PublicUrl::is_secure)).unwrap_or(self.secure),
            prefix: told.prefix.or(public.map(|url| url.prefix().to_owned())).unwrap_or_default(),
            host,
            ignored: !self.trusted && forwarded::is_told(headers),
        };
        if client.host.is_empty() || config.origins.is_own_host(&client.host) {
            Ok(client)
        } else {
            Err(Refused::UnknownHost(client.host))
        }
    }
}

/// The one `Host` that every request of HTTP/1.1 has (RFC 9112 section 3.2).
fn own_host<'a>(mut headers: impl Iterator<Item = (&'a str, &'a [u8])>, http_1_0: bool) -> Result<String, Refused> {
    let mut hosts = headers.by_ref().filter(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value);
    match (hosts.next(), hosts.next()) {
        (None, _) if http_1_0 => Ok(String::new()),
        (Some(host), None) => {
            let host = str::from_utf8(host.trim_ascii()).ok().filter(|host| is_host(host));
            host.map(str::to_owned).ok_or(Refused::Host)
        }
        _ => Err(Refused::Host),
    }
}

impl Refused {
    /// What the client is told.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Refused::Forwarded(bad) => Fault::bad_request(format!(
                "a proxy in front of the realm, which is in proxies.trusted, forwards this request with headers that cannot be used: {bad}"
            )),
            Refused::Host => {
                Fault::bad_request("a request has exactly one Host, a name or an address with or without a port")
            }
            Refused::UnknownHost(host) => {
                let host: String = host.chars().take(HOST_CHARS_MAX).collect();
                let text = format!("{host:?} is no host of this realm; to make it one, add it to origins.hosts");
                Fault::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(config: &str, peer: &str, headers: &[(&str, &str)]) -> Result<Client, Refused> {
        let config = Config::load(Some(("t.toml", config)), &[]).unwrap();
        let source = Source::of(Some(SocketAddr::new(peer.parse().unwrap(), 1)), &config.proxies);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        source.client(&headers, false, &config)
    }

    /// Address, TLS, host and prefix.
    fn seen(config: &str, peer: &str, headers: &[(&str, &str)]) -> (String, bool, String, String) {
        let client = ask(config, peer, headers).unwrap();
        (client.address.unwrap().to_string(), client.secure, client.host, client.prefix)
    }

    fn expected(address: &str, secure: bool, host: &str, prefix: &str) -> (String, bool, String, String) {
        (address.to_owned(), secure, host.to_owned(), prefix.to_owned())
    }

    const TRUST: &str = "proxies.trusted = [\"10.0.0.0/8\"]\n";
    const X: [(&str, &str); 5] = [
        ("Host", "realm:9000"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "live.example"),
        ("X-Forwarded-Prefix", "/live"),
    ];

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(seen(TRUST, "10.0.0.1", &X), expected("192.0.2.7", true, "live.example", "/live"));
        assert_eq!(seen(TRUST, "::ffff:10.0.0.1", &X), expected("192.0.2.7", true, "live.example", "/live"));
        assert_eq!(seen(TRUST, "192.0.2.1", &X), expected("192.0.2.1", false, "realm:9000", ""));
        let other = format!("{TRUST}proxies.headers = \"forwarded\"\n");
        let without_prefix = &X[..4];
        assert_eq!(seen(&other, "10.0.0.1", without_prefix), expected("10.0.0.1", false, "realm:9000", ""));
    }

    #[test]
    fn the_public_url_tells_what_a_proxy_does_not() {
        let public = format!("public_url = \"https://live.example/a\"\n{TRUST}");
        assert_eq!(seen(&public, "10.0.0.1", &X[..2]), expected("192.0.2.7", true, "live.example", "/a"));
        assert_eq!(seen(&public, "10.0.0.1", &X), expected("192.0.2.7", true, "live.example", "/live"));
        assert_eq!(seen(&public, "192.0.2.1", &X[..1]), expected("192.0.2.1", false, "realm:9000", ""));
        assert_eq!(
            seen(&public, "192.0.2.1", &[("Host", "live.example")]),
            expected("192.0.2.1", true, "live.example", "/a")
        );
    }

    #[test]
    fn what_is_refused() {
        for hosts in [&[][..], &[("Host", "a"), ("host", "a")], &[("Host", "")], &[("Host", "a/b")], &[("Host", "a@b")]]
        {
            assert_eq!(ask("", "192.0.2.1", hosts), Err(Refused::Host), "{hosts:?}");
        }
        let bad = [("Host", "a"), ("X-Forwarded-For", "rubbish")];
        assert!(matches!(ask(TRUST, "10.0.0.1", &bad), Err(Refused::Forwarded(_))));
        assert!(ask(TRUST, "192.0.2.1", &bad).is_ok());
        let named = "origins.hosts = [\"realm.example\"]";
        assert_eq!(
            ask(named, "192.0.2.1", &[("Host", "evil.example")]),
            Err(Refused::UnknownHost("evil.example".into()))
        );
        assert!(ask(named, "192.0.2.1", &[("Host", "Realm.example:9000")]).is_ok());
        let public = format!("public_url = \"https://live.example\"\n{TRUST}{named}");
        assert_eq!(
            ask(&public, "10.0.0.1", &[("Host", "evil.example")]),
            Err(Refused::UnknownHost("evil.example".into()))
        );
        assert_eq!(ask(&public, "10.0.0.1", &[("Host", "realm.example")]).map(|c| c.host), Ok("live.example".into()));
    }
}
