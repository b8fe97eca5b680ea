//! Whether the path speaks HTTP/2, and whether a browser's WebSocket could be opened within it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, timeout};

use super::super::observations::{Answer, Trial};
use super::PATIENCE_MS;
use super::requests::{AGENT, answer, fault_of, unique};
use super::way::{Way, fail, ms_since};
use crate::http::request::is_ours;
use crate::net::Stream;

/// What a browser offers by ALPN.
const OFFERED: [&str; 2] = ["h2", "http/1.1"];

/// What is agreed on when HTTP/2 is offered; and a request in it, where it is agreed on.
pub(super) async fn trial(way: Way) -> Trial {
    let mut trial = way.trial("http2");
    if let Some(stream) = way.connect_offering(&OFFERED, &mut trial).await
        && trial.tls.as_ref().is_some_and(|tls| tls.alpn.as_deref() == Some("h2"))
    {
        let begin = Instant::now();
        let asked = timeout(Duration::from_millis(PATIENCE_MS), ask(&way, stream, &mut trial, begin)).await;
        match asked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                trial.detail = Some(crate::http::request::describe(&error));
                fail(&mut trial, fault_of(&error), begin);
            }
            Err(_) => fail(&mut trial, "silent", begin),
        }
    }
    trial
}

async fn ask(way: &Way, stream: Stream, trial: &mut Trial, begin: Instant) -> hyper::Result<()> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut connection = pin!(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    // An authority and a path that were read from a good address always make one.
    *request.uri_mut() =
        format!("{}{}", way.own_origin(), way.url.path(&unique("/probe/inspect"))).parse().unwrap_or_default();
    request.headers_mut().insert(header::USER_AGENT, header::HeaderValue::from_static(AGENT));
    let response = tokio::select! {
        // It tells of its end when nobody needs it any more, or when it has failed.
        ended = connection.as_mut() => return ended,
        response = sender.send_request(request) => response?,
    };
    trial.head_ms = Some(ms_since(begin));
    trial.extended_connect = Some(connection.is_extended_connect_protocol_enabled());
    let (head, _) = response.into_parts();
    let bare = Answer { status: 200, ours: true, ..Answer::default() };
    trial.answer = Some(answer(&head, &[])).filter(|answer| *answer != bare);
    if head.status != StatusCode::OK || !is_ours(&head.headers) {
        fail(trial, "answered", begin);
    }
    Ok(())
}
