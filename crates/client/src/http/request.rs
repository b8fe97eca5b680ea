//! One request, one connection, one answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::values::{self, HttpError};
use crate::error::{Answer, ConnectError, excerpt};
use crate::net::{self, Stream};
use crate::url::RealmUrl;

/// Largest answer that is read, bytes: a page of 1000 events of 1 MiB in base64 would be more than a client should hold.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Most bytes of a refusal that are read for the sake of its message.
pub(crate) const REFUSAL_BYTES_MAX: usize = 16 << 10;
/// Longest `Retry-After` that is believed, seconds: a day.
const RETRY_AFTER_MAX_S: u64 = 86_400;

/// An answer of the realm itself, read whole.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    body: Bytes,
}

impl Answered {
    /// The body, or the realm's own error when the status is another.
    pub(super) fn expect(self, good: &[StatusCode]) -> Result<Bytes, HttpError> {
        if good.contains(&self.status) { Ok(self.body) } else { Err(values::error(self.status, &self.body)) }
    }
}

pub(super) async fn send(
    url: &RealmUrl,
    mut request: Request<Full<Bytes>>,
    connect_ms: u64,
    answer_ms: u64,
) -> Result<Answered, HttpError> {
    let (stream, form) = net::connect_for_requests(url, connect_ms).await?;
    if !form.front.is_empty() {
        let absolute = format!("{}{}", form.front, request.uri());
        *request.uri_mut() = absolute.parse().map_err(|e| HttpError::Request(format!("{absolute}: {e}")))?;
    }
    if let Some(value) = form.authorization.and_then(|value| value.parse().ok()) {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
    }
    let exchange = timeout(Duration::from_millis(answer_ms), exchange(url, TokioIo::new(stream), request));
    exchange.await.unwrap_or_else(|_| {
        let authority = url.authority().to_owned();
        Err(ConnectError::TimedOut { authority, waited_for: "whole answer", after_ms: answer_ms }.into())
    })
}

async fn exchange(url: &RealmUrl, io: TokioIo<Stream>, request: Request<Full<Bytes>>) -> Result<Answered, HttpError> {
    let broken = |e: hyper::Error| ConnectError::Broken { authority: url.authority().to_owned(), fault: describe(&e) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
    let mut answering = std::pin::pin!(async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(url, response).await
    });
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answered = &mut answering => answered,
        _ = &mut connection => answering.await,
    }
}

async fn read(url: &RealmUrl, response: Response<Incoming>) -> Result<Answered, HttpError> {
    if !is_ours(response.headers()) {
        return Err(refusal(url, response).await.into());
    }
    let status = response.status();
    let broken = |fault| ConnectError::Broken { authority: url.authority().to_owned(), fault };
    Ok(Answered { status, body: read_body(response.into_body()).await.map_err(broken)? })
}

/// True for an answer of the realm itself, as opposed to one of something on the way.
pub(crate) fn is_ours(headers: &HeaderMap) -> bool {
    headers.contains_key("throughline")
}

/// Reads a body whole, or says why it could not be had.
pub(crate) async fn read_body(mut incoming: Incoming) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(|e| describe(&e))?.into_data() {
            if body.len() + data.len() > ANSWER_BYTES_MAX {
                return Err(format!(
                    "the answer has more than {ANSWER_BYTES_MAX} bytes; ask for fewer events at a time"
                ));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(body.freeze())
}

/// What an answer that was not hoped for means: the realm's own refusal, or something else that answered.
pub(crate) async fn refusal(url: &RealmUrl, response: Response<Incoming>) -> ConnectError {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while body.len() < REFUSAL_BYTES_MAX {
        let Some(Ok(frame)) = incoming.frame().await else { break };
        if let Ok(data) = frame.into_data() {
            body.extend_from_slice(&data);
        }
    }
    let text = |name: header::HeaderName| {
        head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let status = head.status.as_u16();
    if is_ours(&head.headers) {
        let reason = head.status.canonical_reason().unwrap_or("no reason");
        return own_refusal(status, reason, text(header::RETRY_AFTER).as_deref(), &body);
    }
    let answer = Answer { status, server: text(header::SERVER), via: text(header::VIA), body: excerpt(&body) };
    ConnectError::NotARealm { authority: url.authority().to_owned(), answer }
}

/// The realm's own refusal; `reason` stands where its body says nothing.
pub(crate) fn own_refusal(status: u16, reason: &str, retry_after: Option<&str>, body: &[u8]) -> ConnectError {
    let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
    let retry_after_ms = seconds.map(|s| s.min(RETRY_AFTER_MAX_S) * 1000);
    let (code, message) = match values::error_object(body) {
        Some(error) => (error.code.into_owned(), error.message),
        None => ("no code".to_owned(), reason.to_owned()),
    };
    ConnectError::Refused { status, code, message, retry_after_ms }
}

/// An error of hyper with what is behind it.
pub(crate) fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
