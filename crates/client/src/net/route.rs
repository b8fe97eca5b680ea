//! Which proxy leads to a realm, and whose certificates are trusted.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use url::Url;

use super::refusals::Refusals;
use crate::error::{ConnectError, ProxyAnswer};
use crate::url::RealmUrl;

/// Whether there is a forward proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in capitals or not.
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one: `http://`, `https://` (TLS to the proxy) or `socks5://`, then `[user:password@]host:port`.
    Url(String),
}

/// How a realm is reached: the forward proxy, and root certificates beside the system's.
#[derive(Clone, Default)]
pub struct Route {
    proxy: ProxyChoice,
    roots: Vec<PathBuf>,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    refusals: Arc<Refusals>,
}

/// Why a route cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRoute(String);

impl fmt::Display for BadRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRoute {}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the proxy: it may hold a password.
        f.debug_struct("Route").field("roots", &self.roots).finish_non_exhaustive()
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Route) -> bool {
        self.proxy == other.proxy && self.roots == other.roots
    }
}

impl Eq for Route {}

impl Route {
    /// A route through `proxy`; `roots` are files of root certificates in PEM, which are trusted beside the system's, for
    /// example the one of a proxy that inspects TLS.
    pub fn new(proxy: ProxyChoice, roots: Vec<PathBuf>) -> Result<Route, BadRoute> {
        let route = Route { proxy, roots, ..Route::default() };
        if let ProxyChoice::Url(text) = &route.proxy {
            Proxy::parse(text)?;
        }
        let tls = super::tls::config(&route.roots).map_err(BadRoute)?;
        Ok(Route { tls: Arc::new(OnceLock::from(tls)), ..route })
    }

    /// Host and port of the proxy on the way to a realm.
    pub(crate) fn proxy_authority(&self, url: &RealmUrl) -> Result<Option<String>, ConnectError> {
        Ok(self.proxy_for(url)?.map(|proxy| proxy.authority()))
    }

    /// Whether there are credentials for it.
    pub(crate) fn shows_credentials(&self, url: &RealmUrl) -> bool {
        matches!(self.proxy_for(url), Ok(Some(Proxy { credentials: Some(_), .. })))
    }

    /// Files of root certificates beside the system's.
    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// What its proxies did not take: all sessions through this route and its copies know.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = super::tls::config(&self.roots)?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }

    /// The proxy on the way to a realm.
    pub(super) fn proxy_for(&self, url: &RealmUrl) -> Result<Option<Proxy>, ConnectError> {
        let bad = |e: BadRoute| ConnectError::Proxy { proxy: "the proxy".to_owned(), fault: e.0, answer: None };
        match &self.proxy {
            ProxyChoice::None => Ok(None),
            ProxyChoice::Url(text) => Proxy::parse(text).map(Some).map_err(bad),
            ProxyChoice::Environment => of_environment(url, |name| std::env::var(name).ok()),
        }
    }
}

/// The proxy that the environment names for a realm. What it says is refused when it is of no use, rather than passed over: a
/// realm is not to be reached past a proxy because of a letter in its password.
fn of_environment(url: &RealmUrl, get: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, ConnectError> {
    let scheme = if url.is_tls() { "https" } else { "http" };
    let own = format!("{scheme}_proxy");
    let said = |name: &str| get(name).filter(|value| !value.trim().is_empty()).map(|value| (name.to_owned(), value));
    // In a CGI program HTTP_PROXY is a header field of whoever asks.
    let foreign = own == "http_proxy" && get("REQUEST_METHOD").is_some();
    let capitals = if foreign { None } else { said(&own.to_uppercase()) };
    let found = capitals.or_else(|| said(&own)).or_else(|| said("ALL_PROXY")).or_else(|| said("all_proxy"));
    let Some((variable, value)) = found else { return Ok(None) };
    let without = said("NO_PROXY").or_else(|| said("no_proxy")).map(|(_, hosts)| hosts).unwrap_or_default();
    let Ok(target) = format!("{scheme}://{}/", url.authority()).parse() else { return Ok(None) };
    // The proxy itself is read below; this one tells which hosts go without.
    if Matcher::builder().all("http://proxy").no(without).build().intercept(&target).is_none() {
        return Ok(None);
    }
    let address = if value.contains("://") { value } else { format!("http://{value}") };
    let bad = |e: BadRoute| ConnectError::Proxy { proxy: variable, fault: e.0, answer: None };
    Proxy::parse(address.trim()).map(Some).map_err(bad)
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Http,
    Https,
    Socks5,
}

/// A forward proxy.
pub(super) struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<(String, String)>,
}

impl Proxy {
    pub(super) fn parse(text: &str) -> Result<Proxy, BadRoute> {
        const WAY_OUT: &str = "write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ in \
                               front of the host if it wants them";
        // Without the text itself: it may hold a password.
        let bad = |fault: &str| BadRoute(format!("the address of the proxy is of no use ({fault}); {WAY_OUT}"));
        // Users of a domain are written DOMAIN\USER, and what ends a host in such an address may be in a password.
        let text = match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
            Some((scheme, (user, host))) => {
                let mut escaped = user.to_owned();
                for (sign, code) in [('\\', "%5C"), ('/', "%2F"), ('?', "%3F"), ('#', "%23")] {
                    escaped = escaped.replace(sign, code);
                }
                format!("{scheme}://{escaped}@{host}")
            }
            None => text.to_owned(),
        };
        let url = Url::parse(&text).map_err(|e| bad(&e.to_string()))?;
        let (kind, port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            other => return Err(bad(&format!("{other} is no kind of proxy"))),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Proxy { kind, host, port: url.port().unwrap_or(port), credentials })
    }

    pub(super) fn authority(&self) -> String {
        super::tcp::authority(&self.host, self.port)
    }

    /// The credentials as the scheme `Basic` has them (RFC 7617).
    pub(super) fn basic(&self) -> Option<String> {
        let (user, password) = self.credentials.as_ref()?;
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }

    pub(super) fn fault(&self, fault: String) -> ConnectError {
        ConnectError::Proxy { proxy: format!("the proxy {}", self.authority()), fault, answer: None }
    }

    /// The same with what it answered.
    pub(super) fn refused(&self, fault: String, answer: ProxyAnswer) -> ConnectError {
        let answer = Some(Box::new(answer));
        ConnectError::Proxy { proxy: format!("the proxy {}", self.authority()), fault, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_of_the_environment() {
        let found = |url: &str, variables: &[(&str, &str)]| {
            let url = url.parse().unwrap();
            let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            of_environment(&url, get).map(|proxy| proxy.map(|proxy| proxy.authority())).map_err(|e| e.to_string())
        };
        let (plain, tls) = ("http://realm.test:9000", "https://realm.test");
        let named = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(found(plain, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "other.test")]), Ok(None));
        assert_eq!(found(tls, &[("HTTPS_PROXY", "http://p:1"), ("ALL_PROXY", "http://q:2")]), named("p:1"));
        assert_eq!(found(plain, &[("HTTP_PROXY", " "), ("http_proxy", "p:1")]), named("p:1"));
        assert_eq!(found(plain, &[("all_proxy", "socks5://p")]), named("p:1080"));
        for no in ["realm.test", ".test", "*"] {
            assert_eq!(found(plain, &[("HTTP_PROXY", "http://p:1"), ("no_proxy", no)]), Ok(None), "{no}");
        }
        assert_eq!(found(plain, &[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")]), Ok(None));
        assert_eq!(found(plain, &[("HTTP_PROXY", "http://OFFICE\\us:pa#s@p:1")]), named("p:1"));
        let said = found(plain, &[("HTTP_PROXY", "http://us:secret@p:x")]).unwrap_err();
        assert!(said.contains("HTTP_PROXY") && said.contains("write http://") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn addresses_of_proxies() {
        let proxy = Proxy::parse("http://us%40er:p%3Ass@proxy.test:3128").unwrap();
        assert_eq!((proxy.kind, proxy.authority().as_str()), (ProxyKind::Http, "proxy.test:3128"));
        assert_eq!(proxy.basic().as_deref(), Some("Basic dXNAZXI6cDpzcw=="));
        for (user, name) in
            [("OFFICE\\user", "OFFICE\\user"), ("OFFICE%5cuser", "OFFICE\\user"), ("user@OFFICE", "user@OFFICE")]
        {
            let proxy = Proxy::parse(&format!("http://{user}:p@proxy.test:3128")).unwrap();
            assert_eq!(proxy.credentials, Some((name.to_owned(), "p".to_owned())));
            assert_eq!(proxy.authority(), "proxy.test:3128");
        }
        let proxy = Proxy::parse("socks5h://[::1]").unwrap();
        assert_eq!((proxy.kind, proxy.authority().as_str(), proxy.basic()), (ProxyKind::Socks5, "[::1]:1080", None));
        for bad in ["proxy.test:3128", "ftp://h:1", "http://", "3128"] {
            let said = Proxy::parse(bad).map(|_| ()).unwrap_err().to_string();
            assert!(said.contains("write http://HOST:PORT"), "{bad}: {said}");
        }
        let secret = Proxy::parse("http://user:secret@ho st").map(|_| ()).unwrap_err().to_string();
        assert!(!secret.contains("secret"), "{secret}");
    }
}
