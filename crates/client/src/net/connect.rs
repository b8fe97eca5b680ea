//! Tunnels through forward proxies: HTTP `CONNECT` (RFC 9110, 9.3.6) with Basic and Digest authentication, and SOCKS 5
//! (RFC 1928, 1929).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_socks::tcp::Socks5Stream;

use super::digest::Challenge;
use super::route::Proxy;
use super::{Stream, to_proxy};
use crate::error::{self, ConnectError, ProxyAnswer, excerpt};
use crate::url::RealmUrl;

/// Longest head of a proxy's answer, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers in it.
const HEADERS_MAX: usize = 100;
/// Longest body of a refusal that is read past, so that the connection can be used again, bytes.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// A proxy's answer.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    /// What of its body has come.
    body: Vec<u8>,
}

impl Answer {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn says_close(&self) -> bool {
        let tokens = self.all("connection").chain(self.all("proxy-connection")).flat_map(|value| value.split(','));
        tokens.map(str::trim).any(|token| token.eq_ignore_ascii_case("close"))
    }

    /// Length of the body, where it is announced.
    fn length(&self) -> Option<u64> {
        if self.all("transfer-encoding").next().is_some() {
            return None;
        }
        self.all("content-length").next()?.trim().parse().ok()
    }
}

/// A tunnel through an HTTP proxy. What it asks to be shown is shown on the same connection, where it keeps that open.
pub(super) async fn tunnel(url: &RealmUrl, proxy: &Proxy, timeout_ms: u64) -> Result<Stream, ConnectError> {
    let target = super::tcp::authority(url.host(), url.port());
    let mut stream = to_proxy(url, proxy, timeout_ms).await?;
    let mut authorization = None;
    // Once without credentials, once with them, and once more where those were stale.
    for _ in 0..3 {
        let shown = authorization.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n"));
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", shown.unwrap_or_default());
        let broken = |e: std::io::Error| proxy.fault(format!("it ended the connection: {e}"));
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let answer = read_answer(&mut stream).await.map_err(|fault| proxy.fault(fault))?;
        match answer.status {
            200..300 if answer.body.is_empty() => return Ok(stream),
            200..300 => return Err(proxy.fault("it sent bytes of its own into the tunnel".to_owned())),
            407 => {
                let before = authorization.is_some();
                authorization = Some(credentials(proxy, &answer, &target, before)?);
            }
            status => return Err(proxy.refused(refusal(status, url, &answer), told(&answer))),
        }
        if answer.says_close() || !read_past(&mut stream, &answer).await {
            stream = to_proxy(url, proxy, timeout_ms).await?;
        }
    }
    Err(proxy.fault("it takes neither these credentials nor others of them; check user and password".to_owned()))
}

/// An answer for whoever wants to see it.
fn told(answer: &Answer) -> ProxyAnswer {
    let first = |name| answer.all(name).next().map(str::to_owned);
    let challenges = answer.all("proxy-authenticate").map(str::to_owned).collect();
    let answer = error::Answer {
        status: answer.status,
        server: first("server"),
        via: first("via"),
        body: excerpt(&answer.body),
    };
    ProxyAnswer { answer, challenges }
}

/// What to show to a proxy that asked for it.
fn credentials(proxy: &Proxy, answer: &Answer, target: &str, before: bool) -> Result<String, ConnectError> {
    let wanted: Vec<_> = answer.all("proxy-authenticate").collect();
    let Some((user, password)) = &proxy.credentials else {
        let schemes = wanted.iter().filter_map(|value| value.split(' ').next()).collect::<Vec<_>>().join(", ");
        let fault = format!(
            "it wants credentials ({schemes}, status 407); give them as --proxy http://USER:PASSWORD@{}",
            proxy.authority()
        );
        return Err(proxy.refused(fault, told(answer)));
    };
    let digest = wanted.iter().filter_map(|value| Challenge::parse(value)).max_by_key(Challenge::strength);
    if let Some(digest) = digest
        && (!before || digest.stale)
    {
        return Ok(digest.answer("CONNECT", target, user, password));
    }
    let basic = wanted.iter().any(|value| value.split(' ').next().is_some_and(|s| s.eq_ignore_ascii_case("basic")));
    if before {
        let fault = "it does not take these credentials (status 407); check user and password".to_owned();
        return Err(proxy.refused(fault, told(answer)));
    }
    match proxy.basic() {
        Some(value) if basic => Ok(value),
        _ => {
            let fault = format!(
                "it wants credentials in a way that this client has not ({}); a local proxy that can may stand between",
                wanted.join("; ")
            );
            Err(proxy.refused(fault, told(answer)))
        }
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

/// Reads the head of an answer, and no byte of a tunnel that stays in it unseen.
async fn read_answer(stream: &mut Stream) -> Result<Answer, String> {
    let mut bytes = Vec::with_capacity(1024);
    let mut passed = 0;
    loop {
        let n = stream.read_buf(&mut bytes).await.map_err(|e| format!("it ended the connection: {e}"))?;
        loop {
            match parse(&bytes)? {
                Some((answer, len)) if (100..200).contains(&answer.status) => {
                    // Interim answers count as well: there may be no end to them.
                    passed += len;
                    bytes.drain(..len);
                }
                Some((answer, _)) => return Ok(answer),
                None => break,
            }
        }
        if n == 0 {
            return Err("it ended the connection without an answer to CONNECT".to_owned());
        }
        if passed + bytes.len() > HEAD_BYTES_MAX {
            return Err(format!("the head of its answer has more than {HEAD_BYTES_MAX} bytes"));
        }
    }
}

/// The head of an answer and its length, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|e| format!("its answer is no HTTP ({e}): {:?}", excerpt(bytes)))?;
    let httparse::Status::Complete(len) = parsed else { return Ok(None) };
    let header = |h: &httparse::Header<'_>| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned());
    let headers = response.headers.iter().map(header).collect();
    let body = bytes.get(len..).unwrap_or_default().to_vec();
    Ok(Some((Answer { status: response.code.unwrap_or(0), headers, body }, len)))
}

/// Reads the rest of a body; false when the connection is of no further use.
async fn read_past(stream: &mut Stream, answer: &Answer) -> bool {
    let Some(length) = answer.length().filter(|length| *length <= BODY_BYTES_MAX) else { return false };
    let Some(rest) = length.checked_sub(answer.body.len() as u64) else { return false };
    let mut rest = vec![0; rest as usize];
    stream.read_exact(&mut rest).await.is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_whole_or_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nX: y\r\n").unwrap().is_none());
        let (answer, len) =
            parse(b"HTTP/1.0 407 Who\r\nproxy-authenticate: Basic realm=\"x\"\r\n\r\nbody").unwrap().unwrap();
        assert_eq!((answer.status, len, answer.body.as_slice()), (407, 57, &b"body"[..]));
        assert_eq!(answer.all("Proxy-Authenticate").collect::<Vec<_>>(), ["Basic realm=\"x\""]);
        for bad in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", b"HTTP/1.1 20\r\n\r\n"] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn only_a_known_length_is_read_past() {
        let answer = |text: &str| parse(text.as_bytes()).unwrap().unwrap().0;
        assert_eq!(answer("HTTP/1.1 407 x\r\nContent-Length: 12\r\n\r\n").length(), Some(12));
        assert_eq!(answer("HTTP/1.1 407 x\r\nContent-Length: -1\r\n\r\n").length(), None);
        assert_eq!(answer("HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n").length(), None);
        assert!(answer("HTTP/1.1 407 x\r\nProxy-Connection: Close\r\n\r\n").says_close());
    }
}
