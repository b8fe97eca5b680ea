//! How a proxy that wants to know who asks (407) is answered: by one scheme after the other, the strongest first.

use std::ops::ControlFlow;
use std::slice::Iter;

use tokio::io::AsyncWriteExt;

use super::answer::{self, Answer};
use super::digest::Challenge;
use super::handshake::{BEYOND, Handshake, WAYS, Way};
use super::refusals::Refusals;
use super::route::Proxy;
use super::{Stream, to_proxy};
use crate::error::{ConnectError, ProxyAnswer};
use crate::url::RealmUrl;

/// Room for a token in the head of an answer, bytes.
const TOKEN_TEXT_BYTES_MAX: usize = 80 << 10;
/// So often credentials are shown by Digest: once, and once more where the nonce was old.
const DIGESTS_MAX: u32 = 2;

/// Fault of a proxy that lets in connections and ends them.
pub(super) const UNKEPT: &str = "it does not keep the connection open, which it lets in as a whole; ask who runs it";

/// Why a scheme did not work; whether another one may be tried.
pub(super) type Fault = ControlFlow<String, String>;

/// What a proxy is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) target: &'a str,
    pub(super) host: &'a str,
}

/// What a proxy has let in.
pub(super) enum By {
    /// Whoever comes: it has not asked.
    Nothing,
    /// This connection.
    Connection,
    /// This request, and no other.
    Request,
    /// Requests with this value of `Proxy-Authorization`.
    Header(String),
}

/// An answer that asks for nothing, and the connection on which it came.
pub(super) struct Admitted {
    pub(super) stream: Stream,
    pub(super) answer: Answer,
    pub(super) by: By,
}

/// Asks a proxy, and shows it what it wants to be shown: on the same connection, where it keeps that open.
pub(super) async fn admit(
    url: &RealmUrl,
    proxy: &Proxy,
    ask: Ask<'_>,
    timeout_ms: u64,
) -> Result<Admitted, ConnectError> {
    let mut stream = to_proxy(url, proxy, timeout_ms).await?;
    let mut admission = Admission::new(url.route().refusals(), proxy, ask);
    loop {
        let broken = |e: std::io::Error| proxy.fault(admission.here(&format!("it ended the connection: {e}")));
        stream.write_all(admission.request().as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let room = admission.handshake.as_ref().map_or(0, |_| TOKEN_TEXT_BYTES_MAX);
        let read = answer::read(&mut stream, answer::HEAD_BYTES_MAX + room).await;
        let answer = read.map_err(|fault| proxy.fault(admission.here(&fault)))?;
        if answer.status != 407 {
            return Ok(Admitted { stream, answer, by: admission.by });
        }
        let next = admission.asked(&answer).await?;
        let usable = !matches!(next, Next::New) && !answer.says_close();
        if usable && answer::read_past(&mut stream, &answer, ask.method).await {
            continue;
        }
        if matches!(next, Next::Same) {
            return Err(proxy.refused(admission.here(UNKEPT), answer.told()));
        }
        stream = to_proxy(url, proxy, timeout_ms).await?;
    }
}

/// On which connection the next request belongs.
enum Next {
    Same,
    /// The same, if it can be kept.
    Any,
    New,
}

/// What was shown to a proxy, and what there is to be shown yet.
struct Admission<'a> {
    refusals: &'a Refusals,
    proxy: &'a Proxy,
    ask: Ask<'a>,
    by: By,
    /// The value of `Proxy-Authorization` for the next request.
    shown: Option<String>,
    /// The scheme that is under way.
    handshake: Option<Handshake>,
    ways: Iter<'static, Way>,
    digests: u32,
    /// What became of the schemes that did not work.
    faults: Vec<String>,
}

impl<'a> Admission<'a> {
    fn new(refusals: &'a Refusals, proxy: &'a Proxy, ask: Ask<'a>) -> Admission<'a> {
        let (ways, faults) = (WAYS.iter(), Vec::new());
        Admission { refusals, proxy, ask, by: By::Nothing, shown: None, handshake: None, ways, digests: 0, faults }
    }

    fn request(&self) -> String {
        let Ask { method, target, host } = self.ask;
        let keep = if self.handshake.is_some() { "Proxy-Connection: keep-alive\r\n" } else { "" };
        let shown = self.shown.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n"));
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{keep}{}\r\n", shown.unwrap_or_default())
    }

    /// A fault with the scheme and the step at which it came.
    fn here(&self, fault: &str) -> String {
        self.handshake.as_ref().map_or_else(|| fault.to_owned(), |handshake| format!("{handshake}: {fault}"))
    }

    /// Decides what is shown next. Each scheme has one turn, and a turn few steps: this ends.
    async fn asked(&mut self, answer: &Answer) -> Result<Next, ConnectError> {
        let Some((user, password)) = &self.proxy.credentials else { return Err(self.no_credentials(answer)) };
        if let Some(fault) = self.refusals.of(self.proxy) {
            return Err(self.not_taken(fault, answer));
        }
        let wanted: Vec<_> = answer.all("proxy-authenticate").collect();
        if let Some(handshake) = self.handshake.take() {
            let challenge = token(&wanted, handshake.scheme()).filter(|token| !token.is_empty());
            match handshake.go_on(challenge).await {
                Ok((handshake, token)) => {
                    self.show(handshake, &token);
                    return Ok(Next::Same);
                }
                Err(fault) => self.failed(fault, answer)?,
            }
            // What was begun stays with its connection; on a new one the proxy says again what it offers.
            (self.shown, self.by) = (None, By::Nothing);
            return Ok(Next::New);
        }
        while let Some(way) = self.ways.next() {
            if token(&wanted, way.scheme()).is_none() {
                continue;
            }
            match Handshake::begin(*way, &self.proxy.host, user, password).await {
                Ok((handshake, token)) => {
                    self.show(handshake, &token);
                    return Ok(Next::Any);
                }
                Err(fault) => self.failed(fault, answer)?,
            }
        }
        self.by_request(answer, &wanted, user, password)
    }

    fn show(&mut self, handshake: Handshake, token: &str) {
        self.shown = Some(format!("{} {token}", handshake.scheme()));
        self.handshake = Some(handshake);
        self.by = By::Connection;
    }

    /// Puts down why a scheme did not work, and ends it all where the password was refused: whoever refused it once would count
    /// the next time, and may lock its owner out.
    fn failed(&mut self, fault: Fault, answer: &Answer) -> Result<(), ConnectError> {
        let (ControlFlow::Break(words) | ControlFlow::Continue(words)) = &fault;
        self.faults.push(words.clone());
        if fault.is_break() { Err(self.refused(answer, true)) } else { Ok(()) }
    }

    /// Digest and Basic, of which each request has its own.
    fn by_request(
        &mut self,
        answer: &Answer,
        wanted: &[&str],
        user: &str,
        password: &str,
    ) -> Result<Next, ConnectError> {
        let before = self.digests > 0 || matches!(self.by, By::Header(_));
        let digest = wanted.iter().filter_map(|value| Challenge::parse(value)).max_by_key(Challenge::strength);
        if let Some(digest) = digest
            && (!before || digest.stale)
            && self.digests < DIGESTS_MAX
        {
            self.digests += 1;
            self.shown = Some(digest.answer(self.ask.method, self.ask.target, user, password));
            self.by = By::Request;
            return Ok(Next::Any);
        }
        let basic = wanted.iter().any(|value| scheme(value).eq_ignore_ascii_case("basic"));
        match self.proxy.basic() {
            Some(value) if basic && !before => {
                self.shown = Some(value.clone());
                self.by = By::Header(value);
                Ok(Next::Any)
            }
            _ => Err(self.refused(answer, before)),
        }
    }

    fn refused(&self, answer: &Answer, shown: bool) -> ConnectError {
        let wanted: Vec<_> = answer.all("proxy-authenticate").collect();
        let fault = if !self.faults.is_empty() {
            let last = match self.by {
                By::Request => Some("Digest"),
                By::Header(_) => Some("Basic"),
                By::Nothing | By::Connection => None,
            };
            let last =
                last.map(|scheme| format!("{scheme}: it does not take these credentials; check user and password"));
            let faults: Vec<_> = self.faults.iter().cloned().chain(last).collect();
            format!("it wants credentials (status 407). {}", faults.join(". "))
        } else if shown {
            "it does not take these credentials (status 407); check user and password".to_owned()
        } else {
            format!("it wants credentials in a way that this client has not ({}); {BEYOND}", wanted.join("; "))
        };
        if !shown {
            return self.proxy.refused(fault, answer.told());
        }
        self.refusals.add(self.proxy, &fault);
        self.not_taken(fault, answer)
    }

    fn not_taken(&self, fault: String, answer: &Answer) -> ConnectError {
        self.proxy.refused(fault, ProxyAnswer { credentials_refused: true, ..answer.told() })
    }

    fn no_credentials(&self, answer: &Answer) -> ConnectError {
        let schemes: Vec<_> = answer.all("proxy-authenticate").map(scheme).collect();
        let fault = format!(
            "it wants credentials ({}, status 407); give them as --proxy http://USER:PASSWORD@{}",
            schemes.join(", "),
            self.proxy.authority()
        );
        self.proxy.refused(fault, answer.told())
    }
}

/// The word by which a challenge begins.
fn scheme(challenge: &str) -> &str {
    challenge.trim_start().split([' ', ',']).next().unwrap_or_default()
}

/// What a scheme that is offered has with it: a token, or nothing. Such schemes may stand in one header, with commas between.
fn token<'a>(wanted: &[&'a str], name: &str) -> Option<&'a str> {
    let listed = wanted.iter().flat_map(|value| value.split(',').take_while(|part| !part.contains('"')));
    let mut found = listed.filter(|part| scheme(part).eq_ignore_ascii_case(name));
    found.next().map(|part| part.trim().get(name.len()..).unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_found_wherever_they_stand() {
        let wanted = ["Basic realm=\"a, NTLM\"", "negotiate, NTLM  TlRM=  ,Digest realm=\"x\", NTLM other"];
        assert_eq!(token(&wanted, "Negotiate"), Some(""));
        assert_eq!(token(&wanted, "NTLM"), Some("TlRM="));
        assert_eq!(token(&wanted[..1], "NTLM"), None);
        assert_eq!(token(&["NTLMv3 x", ""], "NTLM"), None);
        assert_eq!(wanted.map(scheme), ["Basic", "negotiate"]);
    }
}
