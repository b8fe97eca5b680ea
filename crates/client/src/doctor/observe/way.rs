//! One way to the realm: how connections are opened on it, and what an error means.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::observations::{Answer, Trial};
use super::PATIENCE_MS;
use super::requests::scheme;
use crate::error::{ConnectError, ProxyAnswer};
use crate::net::{self, Form, NOT_TLS, Stream, Witness};
use crate::url::RealmUrl;

/// With or without a proxy, with or without TLS.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) url: RealmUrl,
    pub(super) witness: Arc<Witness>,
    pub(super) origin: Option<String>,
}

impl Way {
    /// A trial on this way, of which nothing is known yet.
    pub(super) fn trial(&self, what: &str) -> Trial {
        let secure = self.url.is_tls();
        Trial { what: what.to_owned(), way: self.name.to_owned(), secure, ..Trial::default() }
    }

    /// The origin of the pages that a browser would have from this address.
    pub(super) fn own_origin(&self) -> String {
        let scheme = if self.url.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.url.authority())
    }

    /// A connection on which bytes reach the realm as they are.
    pub(super) async fn connect(&self, trial: &mut Trial) -> Option<Stream> {
        self.connect_offering(&["http/1.1"], trial).await
    }

    /// The same, with these protocols offered by ALPN where there is TLS.
    pub(super) async fn connect_offering(&self, offered: &[&str], trial: &mut Trial) -> Option<Stream> {
        let begin = Instant::now();
        let opened = net::connect_bare(&self.url, PATIENCE_MS).await;
        trial.connect_ms = Some(ms_since(begin));
        let stream = self.opened(trial, opened)?;
        if self.url.is_tls() { self.secured(trial, stream, offered).await } else { Some(stream) }
    }

    /// A connection for requests, and how to write them.
    pub(super) async fn connect_for_requests(&self, trial: &mut Trial) -> Option<(Stream, Form)> {
        if self.url.is_tls() {
            return Some((self.connect(trial).await?, Form::default()));
        }
        let begin = Instant::now();
        let opened = net::connect_for_requests(&self.url, PATIENCE_MS).await;
        trial.connect_ms = Some(ms_since(begin));
        self.opened(trial, opened)
    }

    async fn secured(&self, trial: &mut Trial, stream: Stream, offered: &[&str]) -> Option<Stream> {
        let begin = Instant::now();
        let wrapped = timeout(Duration::from_millis(PATIENCE_MS), self.witness.wrap(stream, &self.url, offered)).await;
        let wrapped = wrapped.unwrap_or_else(|_| {
            let fault = format!("no end of the handshake within {PATIENCE_MS} ms");
            Err(ConnectError::Tls { authority: self.url.authority().to_owned(), fault })
        });
        trial.tls_ms = Some(ms_since(begin));
        let shown = match wrapped {
            Err(ConnectError::Broken { .. }) => {
                (trial.fault, trial.detail) = (Some("tls".to_owned()), Some("the connection is cut".to_owned()));
                None
            }
            wrapped => self.opened(trial, wrapped),
        }?;
        // The trial goes on, to see what else there is; a client would not.
        if shown.certificate.fault.is_some() {
            trial.fault = Some("certificate".to_owned());
        }
        trial.tls = Some(shown.certificate);
        Some(shown.stream)
    }

    fn opened<T>(&self, trial: &mut Trial, opened: Result<T, ConnectError>) -> Option<T> {
        opened.map_err(|error| self.failed(trial, error)).ok()
    }

    fn failed(&self, trial: &mut Trial, error: ConnectError) {
        let (fault, detail) = match error {
            ConnectError::Resolve { source, .. } => ("unresolved", source.to_string()),
            ConnectError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                ("refused", "connection refused".to_owned())
            }
            ConnectError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionReset => {
                ("reset", source.to_string())
            }
            ConnectError::Connect { source, .. } => ("unreachable", source.to_string()),
            ConnectError::TimedOut { after_ms, .. } => ("unreachable", format!("nothing within {after_ms} ms")),
            ConnectError::Proxy { answer: Some(answer), fault, .. } => {
                let kind = match (answer.answer.status, self.url.route().shows_credentials(&self.url)) {
                    (407, false) => "credentials",
                    (407, true) => "credentials-refused",
                    _ => "tunnel-refused",
                };
                trial.answer = Some(told(*answer));
                (kind, fault)
            }
            ConnectError::Proxy { fault, .. } => ("proxy-unreachable", first_clause(&fault)),
            ConnectError::Tls { fault, .. } if fault == NOT_TLS => ("not-tls", fault),
            ConnectError::Tls { fault, .. } => ("tls", fault),
            other => ("reset", other.to_string()),
        };
        (trial.fault, trial.detail) = (Some(fault.to_owned()), Some(detail));
    }
}

/// What happened, without the way out.
fn first_clause(text: &str) -> String {
    text.split("; ").next().unwrap_or(text).to_owned()
}

fn told(proxy: ProxyAnswer) -> Answer {
    let ProxyAnswer { answer, challenges, .. } = proxy;
    Answer {
        status: answer.status,
        ours: false,
        server: answer.server,
        via: answer.via,
        body: Some(answer.body).filter(|body| !body.is_empty()),
        schemes: challenges.iter().map(|challenge| scheme(challenge)).collect(),
        ..Answer::default()
    }
}

/// Whole milliseconds since then.
pub(super) fn ms_since(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Puts down why a trial failed. A certificate that is not good gives way: what else there is says more.
pub(super) fn fail(trial: &mut Trial, fault: &str, begin: Instant) {
    trial.fault = Some(fault.to_owned());
    trial.after_ms = Some(ms_since(begin));
}
