//! Ways through forward proxies: tunnels by HTTP `CONNECT` (RFC 9110, 9.3.6) and by SOCKS 5 (RFC 1928, 1929), and
//! connections on which a proxy reads requests.

use tokio_socks::tcp::Socks5Stream;

use super::admission::{Admitted, Ask, By, UNKEPT, admit};
use super::answer::{Answer, read_past};
use super::route::Proxy;
use super::{Form, Stream, to_proxy};
use crate::error::{ConnectError, excerpt};
use crate::url::RealmUrl;

/// A tunnel through an HTTP proxy.
pub(super) async fn tunnel(url: &RealmUrl, proxy: &Proxy, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let target = super::tcp::authority(url.host(), url.port());
    let ask = Ask { method: "CONNECT", target: &target, host: &target };
    let Admitted { stream, answer, .. } = admit(url, proxy, ask, timeout_ms).await?;
    match answer.status {
        200..300 if answer.body.is_empty() => Ok(stream),
        200..300 => Err(proxy.fault("it sent bytes of its own into the tunnel".to_owned())),
        status => Err(proxy.refused(refusal(status, url, &answer), answer.told())),
    }
}

/// A connection on which a proxy reads requests. Where it has credentials to see, it is asked at first for a request that
/// changes nothing: so no credentials are shown but those it wants.
pub(super) async fn requests(url: &RealmUrl, proxy: &Proxy, timeout_ms: u64) -> Result<(Stream, Form), ConnectError> {
    let form = |authorization| Form { front: format!("http://{}", url.authority()), authorization };
    if proxy.credentials.is_none() {
        return Ok((to_proxy(url, proxy, timeout_ms).await?, form(None)));
    }
    let target = format!("http://{}{}", url.authority(), url.path("/client.js"));
    let ask = Ask { method: "HEAD", target: &target, host: url.authority() };
    let Admitted { mut stream, answer, by } = admit(url, proxy, ask, timeout_ms).await?;
    let authorization = match by {
        By::Request => {
            let tunnel = tunnel(url, proxy, timeout_ms).await;
            return tunnel.map(|stream| (stream, Form::default())).map_err(|error| needed(error, url));
        }
        By::Connection => {
            let kept = !answer.says_close() && read_past(&mut stream, &answer, ask.method).await;
            return if kept { Ok((stream, form(None))) } else { Err(proxy.refused(UNKEPT.to_owned(), answer.told())) };
        }
        By::Nothing => None,
        By::Header(value) => Some(value),
    };
    // Not this one: a proxy may end connections after one request without a word of that.
    Ok((to_proxy(url, proxy, timeout_ms).await?, form(authorization)))
}

/// The refusal of a tunnel that requests need because the proxy asks by Digest: they are no way out of it.
fn needed(error: ConnectError, url: &RealmUrl) -> ConnectError {
    match error {
        ConnectError::Proxy { proxy, answer: Some(answer), .. } if matches!(answer.answer.status, 403 | 405) => {
            let (target, status) = (super::tcp::authority(url.host(), url.port()), answer.answer.status);
            let fault = format!(
                "it allows no tunnel to {target} (status {status}), and with Digest a tunnel is needed; have the proxy allow \
                 CONNECT to {target}, or serve the realm with TLS on port 443 and use https"
            );
            ConnectError::Proxy { proxy, fault, answer: Some(answer) }
        }
        other => other,
    }
}

fn refusal(status: u16, url: &RealmUrl, answer: &Answer) -> String {
    let words = excerpt(&answer.body);
    let port = url.port();
    match status {
        403 | 405 if port != 443 => format!(
            "it allows no tunnel to port {port} (status {status}); serve the realm with TLS on port 443, which proxies allow, \
             or let the HTTP transports carry the session"
        ),
        403 | 405 => format!(
            "it allows no tunnel to {}:{port} (status {status}), and nothing with TLS can pass without one; ask who runs it \
             to allow this one, or serve the realm without TLS too: HTTP transports need no tunnel then",
            url.host()
        ),
        502..=504 => format!("it does not reach {}:{port} (status {status}); {words}", url.host()),
        _ => format!("it refused a tunnel to {}:{port} with status {status}; {words}", url.host()),
    }
}

/// A tunnel through a SOCKS proxy, which resolves the realm's name.
pub(super) async fn socks(url: &RealmUrl, proxy: &Proxy, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let tcp = super::tcp::connect(&proxy.host, proxy.port, timeout_ms).await.map_err(|e| proxy.fault(e.to_string()))?;
    let target = (url.host(), url.port());
    let opened = match &proxy.credentials {
        Some((user, password)) => Socks5Stream::connect_with_password_and_socket(tcp, target, user, password).await,
        None => Socks5Stream::connect_with_socket(tcp, target).await,
    };
    match opened {
        Ok(stream) => Ok(Box::new(stream.into_inner())),
        Err(e) => Err(proxy.fault(format!("it opens no way to {}:{} ({e})", target.0, target.1))),
    }
}
