//! How a client gets to a realm: TCP, through a forward proxy where there is one, and TLS where the realm's address asks
//! for it.

mod admission;
mod answer;
mod connect;
mod digest;
#[cfg(feature = "negotiate")]
mod handshake;
#[cfg(not(feature = "negotiate"))]
#[path = "net/unspoken.rs"]
mod handshake;
mod refusals;
mod route;
mod tcp;
mod tls;
mod trust;
mod witness;

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::error::ConnectError;
use crate::url::RealmUrl;
use route::{Proxy, ProxyKind};

pub use route::{BadRoute, ProxyChoice, Route};
pub(crate) use witness::{NOT_TLS, Witness};

/// Bytes both ways, whatever carries them.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Io for T {}

/// A connection to the realm, or to something that passes requests on to it.
pub(crate) type Stream = Box<dyn Io>;

/// How requests are written on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    /// Goes in front of a request's path: empty, or the scheme and authority where a proxy reads the requests
    /// (RFC 9112, 3.2.2: absolute-form).
    pub(crate) front: String,
    /// The header `Proxy-Authorization` of every request, where that proxy wants one.
    pub(crate) authorization: Option<String>,
}

/// A connection on which bytes reach the realm as they are: through a tunnel, where there is a proxy.
pub(crate) async fn connect(url: &RealmUrl, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let opened = timeout(Duration::from_millis(timeout_ms), tunnel(url, timeout_ms)).await;
    opened.unwrap_or_else(|_| Err(timed_out(url, timeout_ms)))
}

/// A connection for HTTP requests. Those of plain `http` are given to a proxy to read: it passes them on where it allows
/// no tunnel.
pub(crate) async fn connect_for_requests(url: &RealmUrl, timeout_ms: u64) -> Result<(Stream, Form), ConnectError> {
    let proxy = url.route().proxy_for(url)?;
    match proxy {
        Some(proxy) if !url.is_tls() && proxy.kind != ProxyKind::Socks5 => {
            let opened = timeout(Duration::from_millis(timeout_ms), connect::requests(url, &proxy, timeout_ms)).await;
            opened.unwrap_or_else(|_| Err(timed_out(url, timeout_ms)))
        }
        _ => Ok((connect(url, timeout_ms).await?, Form::default())),
    }
}

fn timed_out(url: &RealmUrl, after_ms: u64) -> ConnectError {
    ConnectError::TimedOut { authority: url.authority().to_owned(), waited_for: "connection", after_ms }
}

async fn tunnel(url: &RealmUrl, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let stream = bare(url, timeout_ms).await?;
    if !url.is_tls() {
        return Ok(stream);
    }
    tls::wrap(stream, url.host(), url.authority(), url.route()).await
}

/// A connection to the realm's port before anything is said on it, through a tunnel where there is a proxy.
async fn bare(url: &RealmUrl, timeout_ms: u64) -> Result<Stream, ConnectError> {
    Ok(match url.route().proxy_for(url)? {
        None => Box::new(tcp::connect(url.host(), url.port(), timeout_ms).await?),
        Some(proxy) if proxy.kind == ProxyKind::Socks5 => connect::socks(url, &proxy, timeout_ms).await?,
        Some(proxy) => connect::tunnel(url, &proxy, timeout_ms).await?,
    })
}

/// The same within a time, for whoever does the rest otherwise.
pub(crate) async fn connect_bare(url: &RealmUrl, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let opened = timeout(Duration::from_millis(timeout_ms), bare(url, timeout_ms)).await;
    opened.unwrap_or_else(|_| Err(timed_out(url, timeout_ms)))
}

/// A connection to a proxy, with TLS where its address is `https`.
async fn to_proxy(url: &RealmUrl, proxy: &Proxy, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let tcp = tcp::connect(&proxy.host, proxy.port, timeout_ms).await.map_err(|e| proxy.fault(format!("{e}")))?;
    match proxy.kind {
        ProxyKind::Https => tls::wrap(Box::new(tcp), &proxy.host, &proxy.authority(), url.route()).await,
        ProxyKind::Http | ProxyKind::Socks5 => Ok(Box::new(tcp)),
    }
}
