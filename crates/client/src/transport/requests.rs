//! The requests of a link: POSTs on one connection that is kept alive between them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::ConnectError;
use crate::http::request;
use crate::net::{self, Form};
use crate::url::RealmUrl;

/// Needs no CORS preflight in a browser, so that all clients look alike to what is on the way.
const CONTENT_TYPE: &str = "text/plain;charset=UTF-8";
/// Time for the body of a refusal, milliseconds.
const REFUSAL_TIMEOUT_MS: u64 = 2_000;

/// Names one link: 128 random bits, a secret.
#[derive(Clone, Copy)]
pub(super) struct LinkId([u8; 16]);

impl LinkId {
    pub(super) fn draw() -> Result<LinkId, String> {
        let mut bytes = [0; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Ok(LinkId(bytes)),
            Err(e) => Err(format!("the system gives no random numbers: {e}")),
        }
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One connection at a time, opened when it is needed.
pub(super) struct Requests {
    url: RealmUrl,
    link: LinkId,
    open_timeout_ms: u64,
    connection: Option<Connection>,
    sent: u64,
}

struct Connection {
    /// It has carried a request before.
    kept: bool,
    form: Form,
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

/// Why a request has no answer, and whether it may have arrived.
struct Unanswered {
    sent: bool,
    error: ConnectError,
}

impl Unanswered {
    const fn sent(error: ConnectError) -> Unanswered {
        Unanswered { sent: true, error }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Requests {
    pub(super) const fn new(url: RealmUrl, link: LinkId, open_timeout_ms: u64) -> Requests {
        Requests { url, link, open_timeout_ms, connection: None, sent: 0 }
    }

    /// Opens a connection if there is none.
    pub(super) async fn connect(&mut self) -> Result<(), ConnectError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let (stream, form) = net::connect_for_requests(&self.url, self.open_timeout_ms).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        let task = tokio::spawn(async move {
            // How it ended is told to whoever waits for an answer.
            let _ = connection.await;
        });
        self.connection = Some(Connection { kept: false, form, sender, task });
        Ok(())
    }

    /// Posts `body` to `resource` with `query` and gives the realm's own answer, as far as its head, if it is 200.
    pub(super) async fn post(
        &mut self,
        resource: &str,
        query: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ConnectError> {
        let kept = self.connection.as_ref().is_some_and(|connection| connection.kept);
        let answered = match self.send(resource, query, body.clone()).await {
            // It was closed while it was quiet.
            Err(Unanswered { sent: false, .. }) if kept => self.send(resource, query, body).await,
            answered => answered,
        };
        let answered = answered.map_err(|unanswered| unanswered.error)?;
        if answered.status() == StatusCode::OK && request::is_ours(answered.headers()) {
            return Ok(answered);
        }
        let refusal = request::refusal(&self.url, answered);
        let refusal = timeout(Duration::from_millis(REFUSAL_TIMEOUT_MS), refusal).await;
        self.close();
        Err(refusal.unwrap_or_else(|_| self.timed_out("whole answer", REFUSAL_TIMEOUT_MS)))
    }

    /// The same with the whole body of the answer, which has to be there within `timeout_ms`.
    pub(super) async fn call(
        &mut self,
        resource: &str,
        query: &str,
        body: Bytes,
        timeout_ms: u64,
    ) -> Result<Bytes, ConnectError> {
        let exchange = async {
            let response = self.post(resource, query, body).await?;
            request::read_body(response.into_body()).await.map_err(|fault| self.broken(&fault))
        };
        let outcome = timeout(Duration::from_millis(timeout_ms), exchange).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.timed_out("answer", timeout_ms)));
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    async fn send(&mut self, resource: &str, query: &str, body: Bytes) -> Result<Response<Incoming>, Unanswered> {
        self.connect().await.map_err(Unanswered::sent)?;
        self.sent += 1;
        let form = self.connection.as_ref().map(|connection| connection.form.clone()).unwrap_or_default();
        let path = self.url.path(resource);
        let target = format!("{}{path}?link={}{query}&u={}", form.front, self.link, self.sent);
        let mut request = Request::post(target)
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            // Also of an empty one: lighttpd answers 411 without it.
            .header(header::CONTENT_LENGTH, body.len());
        if let Some(value) = form.authorization {
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(|e| Unanswered::sent(self.broken(&e)))?;
        let Some(Connection { kept, sender, .. }) = &mut self.connection else {
            return Err(Unanswered::sent(self.broken(&"it was closed")));
        };
        let answered = match sender.ready().await {
            Ok(()) => sender.send_request(request).await,
            Err(closed) => Err(closed),
        };
        *kept = true;
        answered.map_err(|e| {
            self.close();
            Unanswered { sent: !(e.is_canceled() || e.is_closed()), error: self.broken(&request::describe(&e)) }
        })
    }

    fn close(&mut self) {
        self.connection = None;
    }

    pub(super) fn broken(&self, fault: &impl fmt::Display) -> ConnectError {
        ConnectError::Broken { authority: self.url.authority().to_owned(), fault: fault.to_string() }
    }

    fn timed_out(&self, waited_for: &'static str, after_ms: u64) -> ConnectError {
        ConnectError::TimedOut { authority: self.url.authority().to_owned(), waited_for, after_ms }
    }
}
