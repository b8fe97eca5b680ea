//! HTTP/2 (RFC 9113): one connection for many requests and links. What a request asks for is what it would ask for on a connection
//! of its own; a link has a [`pipe`] in place of the connection.

mod outgoing;
mod streams;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use httpdate::fmt_http_date;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::{Method, Request, Response, StatusCode};
use throughline_wire::ws::handshake;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::replay::Replay;
use super::{handshake_by_hyper, identity};
use crate::http::{self, Body};
use crate::peer::Source;
use crate::pipe::{self, Far};
use crate::probe::{self, Arrival};
use crate::runtime::{Local, Phase};
use crate::socket::Stream;
use crate::tls::Agreed;
use crate::transport::{self, Outcome};
use crate::upgrade::{self, Accepted};
use crate::waiting::{Awaited, Wait};
use outgoing::{Incoming, Outgoing};
use streams::{Streams, Ticket};

/// What a connection begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As much of it as no request of HTTP/1 begins with.
const PREFACE_BYTES_MIN: usize = 12;
/// Bytes of an answer that are handed to the connection at a time.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a client may send ahead of what is read, on one stream.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// The same on one connection: streams of links that take nothing for now leave room for the others.
const WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;
/// Bytes of a request's headers.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// Headers that say how a message goes over a connection of HTTP/1.
const OF_HTTP1: [HeaderName; 3] = [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING];

/// True when a connection that began with `bytes` speaks HTTP/2.
pub(super) fn is_preface(bytes: &[u8]) -> bool {
    bytes.len() >= PREFACE_BYTES_MIN && bytes.iter().zip(PREFACE).all(|(got, wanted)| got == wanted)
}

/// Whom the requests of a connection come from.
#[derive(Clone, Copy)]
struct Origin {
    source: Source,
    tls: Option<Agreed>,
}

/// Serves a connection to its end; `first` are bytes that were read from it already.
pub(super) async fn serve(
    local: Rc<Local>,
    stream: Stream,
    source: Source,
    first: Vec<u8>,
    wait: Rc<Wait>,
) -> io::Result<()> {
    local.http.metrics.http2_connections.inc();
    let settings = &local.http.config.http2;
    let timeouts = &local.http.config.timeouts;
    let (head, body) = (Duration::from_millis(timeouts.head_ms), Duration::from_millis(timeouts.body_ms));
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(u32::try_from(settings.streams_max).unwrap_or(u32::MAX))
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_window_size(STREAM_WINDOW_BYTES);
    if settings.websocket {
        builder.enable_connect_protocol();
    }
    let origin = Origin { source, tls: stream.agreed() };
    let mut phase = local.phase.clone();
    let mut stopping = pin!(phase.wait_for(|p| *p != Phase::Running));
    let mut connection = tokio::select! {
        begun = timeout(head, builder.handshake::<_, Bytes>(Replay::http2(first, stream, body))) => match begun {
            Ok(begun) => begun.map_err(io::Error::other)?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "HTTP/2 did not begin in time (timeouts.head_ms)")),
        },
        _ = stopping.as_mut() => return Ok(()),
    };
    let streams = Rc::new(Streams::new(head, wait));
    let mut closing = false;
    loop {
        tokio::select! {
            request = connection.accept() => match request {
                Some(Ok((request, respond))) => {
                    spawn_local(exchange(Rc::clone(&local), origin, streams.ticket(), request, respond));
                    continue;
                }
                Some(Err(e)) => return Err(io::Error::other(e)),
                None => return Ok(()),
            },
            _ = stopping.as_mut(), if !closing => {}
            () = streams.rest() => if closing {
                // It was told to go, and has not gone.
                return Ok(());
            },
        }
        closing = true;
        streams.begin_rest();
        connection.graceful_shutdown();
    }
}

/// What a request comes to.
enum Answer {
    Whole(Response<Body>),
    /// An answer without an end, and where its body comes from.
    Stream(HeaderMap, Far),
    /// What was agreed on, what the client sends, and the link.
    WebSocket(Box<handshake::Accepted>, Awaited<Incoming>, Far),
}

/// A request and its answer, to the end of its stream or to the beginning of a link.
async fn exchange(
    local: Rc<Local>,
    origin: Origin,
    ticket: Ticket,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let answer = tokio::select! {
        answer = answer(&local, origin, &ticket, request) => answer,
        // Nobody waits for it any more.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    let patience = Duration::from_millis(local.http.config.timeouts.body_ms);
    let now = UNIX_EPOCH + Duration::from_millis(local.http.unix_ms());
    // Where the client is gone there is nobody to tell.
    let mut begin = |mut head: Response<()>, over| {
        for name in OF_HTTP1 {
            head.headers_mut().remove(name);
        }
        head.headers_mut().extend(HeaderValue::try_from(fmt_http_date(now)).ok().map(|date| (header::DATE, date)));
        Some(Outgoing::new(respond.send_response(head, over).ok()?, patience))
    };
    match answer {
        Answer::Whole(response) => {
            ticket.answers();
            let (head, body) = response.into_parts();
            let mut head = Response::from_parts(head, ());
            if let Some(length) = body.len().filter(|length| *length > 0) {
                head.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
            }
            if let Some(outgoing) = begin(head, body.is_empty()) {
                outgoing.whole(body.into_bytes()).await.unwrap_or_default();
            }
        }
        // Tasks of their own, since this one is many times as large.
        Answer::Stream(headers, far) => {
            ticket.carries();
            let mut head = Response::new(());
            *head.headers_mut() = headers;
            if let Some(mut outgoing) = begin(head, false) {
                spawn_local(async move {
                    outgoing.link(&far).await.unwrap_or_default();
                    drop((far, ticket));
                });
            }
        }
        Answer::WebSocket(accepted, incoming, far) => {
            ticket.carries();
            if let Some(outgoing) = begin(connected(&accepted), false) {
                spawn_local(async move {
                    outgoing.carry(incoming, far).await;
                    drop(ticket);
                });
            }
        }
    }
}

async fn answer(local: &Rc<Local>, origin: Origin, ticket: &Ticket, request: Request<RecvStream>) -> Answer {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let whole = ticket.whole();
    let mut request = request.map(|body| Awaited::new(Incoming::new(body, length), whole));
    let client = match identity::identify(local, origin.source, &mut request) {
        Ok(client) => client,
        Err(refused) => return Answer::Whole(*refused),
    };
    let path = request.uri().path();
    let kind = transport::Kind::of(path).filter(|_| request.method() != Method::OPTIONS);
    let probed = probe::Kind::of(path).filter(|_| request.method() != Method::OPTIONS);
    let purpose = upgrade::purpose(path).filter(|_| request.method() != Method::OPTIONS);
    Answer::Whole(if !speaks_known_protocol(request.extensions()) {
        let text = "websocket is the only protocol that CONNECT opens here";
        http::error(StatusCode::NOT_IMPLEMENTED, "bad_request", text)
    } else if let Some(purpose) = purpose {
        match handshake_by_hyper(local, purpose, (&client, origin.tls), &request) {
            Ok((start, Accepted::Numbered(accepted))) => {
                let (near, far) = pipe::pair();
                local.link(Stream::Pipe(near), start, &mut [], None);
                local.http.metrics.http2_websockets.inc();
                return Answer::WebSocket(accepted, request.into_body(), far);
            }
            Ok((_, Accepted::Draft(_))) => {
                http::error(StatusCode::BAD_REQUEST, "bad_request", "HTTP/2 carries version 13 of WebSocket only")
            }
            Err(refused) => *refused,
        }
    } else if let Some(kind) = kind {
        match transport::serve(local, kind, client.address, request).await {
            Outcome::Stream(mut start) => {
                let (near, far) = pipe::pair();
                let headers = std::mem::take(&mut start.headers);
                local.stream_link(Stream::Pipe(near), start, None);
                return Answer::Stream(headers, far);
            }
            Outcome::Answer(response) => response,
        }
    } else if let Some(kind) = probed {
        match probe::serve(local, kind, Arrival { client, tls: origin.tls, raw: None }, request).await {
            probe::Outcome::Stream(mut start) => {
                let (near, far) = pipe::pair();
                let headers = std::mem::take(&mut start.headers);
                let local = Rc::clone(local);
                spawn_local(async move { probe::run(&local, &Stream::Pipe(near), &start).await });
                return Answer::Stream(headers, far);
            }
            probe::Outcome::Answer(response) => response,
        }
    } else {
        http::serve(request, &local.http).await
    })
}

/// False for a CONNECT to anything but WebSocket (RFC 8441 section 4).
fn speaks_known_protocol(extensions: &Extensions) -> bool {
    extensions.get::<Protocol>().is_none_or(|protocol| protocol.as_str() == "websocket")
}

fn connected(accepted: &handshake::Accepted) -> Response<()> {
    let mut response = Response::new(());
    for (name, value) in accepted.negotiated() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
