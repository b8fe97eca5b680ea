//! One request, one connection, one answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::values::{self, HttpError};
use crate::error::{Answer, ConnectError, excerpt};
use crate::tcp;
use crate::url::RealmUrl;

/// Largest answer that is read, bytes: a page of 1000 events of 1 MiB in base64 would be more than a client should hold.
const ANSWER_BYTES_MAX: usize = 256 << 20;

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
    request: Request<Full<Bytes>>,
    connect_ms: u64,
    answer_ms: u64,
) -> Result<Answered, HttpError> {
    let stream = tcp::connect(url, connect_ms).await?;
    let exchange = timeout(Duration::from_millis(answer_ms), exchange(url, TokioIo::new(stream), request));
    exchange.await.unwrap_or_else(|_| {
        let authority = url.authority().to_owned();
        Err(ConnectError::TimedOut { authority, waited_for: "whole answer", after_ms: answer_ms }.into())
    })
}

async fn exchange(
    url: &RealmUrl,
    io: TokioIo<tokio::net::TcpStream>,
    request: Request<Full<Bytes>>,
) -> Result<Answered, HttpError> {
    let broken = |e: hyper::Error| ConnectError::Broken { authority: url.authority().to_owned(), fault: e.to_string() };
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
    let broken = |fault: String| ConnectError::Broken { authority: url.authority().to_owned(), fault };
    let (head, mut incoming) = response.into_parts();
    let ours = head.headers.contains_key("throughline");
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(|e| broken(e.to_string()))?.into_data() {
            if body.len() + data.len() > ANSWER_BYTES_MAX {
                let fault =
                    format!("the answer has more than {ANSWER_BYTES_MAX} bytes; ask for fewer events at a time");
                return Err(broken(fault).into());
            }
            body.extend_from_slice(&data);
        }
    }
    if ours {
        return Ok(Answered { status: head.status, body: body.freeze() });
    }
    let text = |name: header::HeaderName| {
        head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let answer = Answer {
        status: head.status.as_u16(),
        server: text(header::SERVER),
        via: text(header::VIA),
        body: excerpt(&body),
    };
    Err(ConnectError::NotARealm { authority: url.authority().to_owned(), answer }.into())
}
