//! HTTP/2 (RFC 9113): one connection for many requests and links. What a request asks for is what it would ask for on a connection
//! of its own; a link has a [`pipe`] in place of the connection.

mod streams;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::ext::Protocol;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use throughline_wire::ws::handshake;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
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
use streams::{Streams, Ticket};

/// What a connection begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As much of it as no request of HTTP/1 begins with.
const PREFACE_BYTES_MIN: usize = 12;
/// Bytes of an answer that may wait for the window of its stream.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a client may send ahead of what is read, on one stream.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// The same on one connection: streams of links that take nothing for now leave room for the others.
const WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;
/// Bytes of an answer that are handed on at a time.
const PART_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to end a WebSocket that its link has ended.
const LINGER: Duration = Duration::from_secs(3);
/// Bytes of a WebSocket that are read at a time.
const READ_BYTES_MAX: usize = 16 * 1024;

/// True when a connection that began with `bytes` speaks HTTP/2.
pub(super) fn is_preface(bytes: &[u8]) -> bool {
    bytes.len() >= PREFACE_BYTES_MIN && bytes.iter().zip(PREFACE).all(|(got, wanted)| got == wanted)
}

/// Tasks of a connection run on its shard.
#[derive(Clone, Copy)]
struct Tasks;

impl<F: Future + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        spawn_local(async move {
            task.await;
        });
    }
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
    let mut builder = http2::Builder::new(Tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(settings.streams_max).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES);
    if settings.websocket {
        builder.enable_connect_protocol();
    }
    let tls = stream.agreed();
    let io = Replay::http2(first, stream, body);
    let streams = Rc::new(Streams::new(head, body, wait));
    let service = service_fn(|request| answer(Rc::clone(&local), (source, tls), streams.ticket(), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut phase = local.phase.clone();
    let mut stopping = pin!(phase.wait_for(|p| *p != Phase::Running));
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
            _ = stopping.as_mut(), if !closing => {}
            judged = streams.judge() => {
                judged?;
                if closing {
                    // It was told to go, and has not gone.
                    return Ok(());
                }
            }
        }
        closing = true;
        streams.begin_rest();
        connection.as_mut().graceful_shutdown();
    }
}

/// The body of an answer.
struct Outgoing {
    content: Content,
    /// Of the stream, unless somebody else keeps it.
    ticket: Option<Ticket>,
}

enum Content {
    /// What is left of it.
    Whole(Bytes),
    Link(Far),
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Outgoing { content, ticket } = self.get_mut();
        match content {
            Content::Whole(rest) => {
                // Asked for a part, since the client took the one before.
                ticket.iter().for_each(Ticket::moved);
                let part = rest.split_to(rest.len().min(PART_BYTES_MAX));
                Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(part))))
            }
            Content::Link(far) => far.poll_take(cx).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(rest) if rest.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(rest) => SizeHint::with_exact(rest.len() as u64),
            Content::Link(_) => SizeHint::default(),
        }
    }
}

async fn answer(
    local: Rc<Local>,
    (source, tls): (Source, Option<Agreed>),
    ticket: Ticket,
    mut request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let client = match identity::identify(&local, source, &mut request) {
        Ok(client) => client,
        Err(refused) => {
            return Ok(
                refused.map(|body| Outgoing { content: Content::Whole(body.into_bytes()), ticket: Some(ticket) })
            );
        }
    };
    let request_is_whole = ticket.whole();
    let mut request = request.map(|body| Awaited::new(body, request_is_whole));
    let path = request.uri().path();
    let kind = transport::Kind::of(path).filter(|_| request.method() != Method::OPTIONS);
    let probed = probe::Kind::of(path).filter(|_| request.method() != Method::OPTIONS);
    let purpose = upgrade::purpose(path).filter(|_| request.method() != Method::OPTIONS);
    let response = if !speaks_known_protocol(request.extensions()) {
        let text = "websocket is the only protocol that CONNECT opens here";
        http::error(StatusCode::NOT_IMPLEMENTED, "bad_request", text)
    } else if let Some(purpose) = purpose {
        match handshake_by_hyper(&local, purpose, (&client, tls), &request) {
            Ok((start, Accepted::Numbered(accepted))) => {
                let (near, far) = pipe::pair();
                local.link(Stream::Pipe(near), start, &mut []);
                ticket.carries(&far);
                local.http.metrics.http2_websockets.inc();
                let upgraded = hyper::upgrade::on(&mut request);
                spawn_local(async move {
                    if let Ok(upgraded) = upgraded.await {
                        carry(&local, upgraded, &far).await;
                    }
                    drop((far, ticket));
                });
                return Ok(connected(&accepted));
            }
            Ok((_, Accepted::Draft(_))) => {
                http::error(StatusCode::BAD_REQUEST, "bad_request", "HTTP/2 carries version 13 of WebSocket only")
            }
            Err(refused) => *refused,
        }
    } else if let Some(kind) = kind {
        match transport::serve(&local, kind, client.address, request).await {
            Outcome::Stream(mut start) => {
                let headers = std::mem::take(&mut start.headers);
                let (near, response) = streaming(headers, ticket);
                local.stream_link(near, start);
                return Ok(response);
            }
            Outcome::Answer(response) => response,
        }
    } else if let Some(kind) = probed {
        match probe::serve(&local, kind, Arrival { client, tls, raw: None }, request).await {
            probe::Outcome::Stream(mut start) => {
                let (near, response) = streaming(std::mem::take(&mut start.headers), ticket);
                spawn_local(async move { probe::run(&local, &near, &start).await });
                return Ok(response);
            }
            probe::Outcome::Answer(response) => response,
        }
    } else {
        http::serve(request, &local.http).await
    };
    Ok(response.map(|body: Body| Outgoing { content: Content::Whole(body.into_bytes()), ticket: Some(ticket) }))
}

/// An answer without an end, and where its body is written to.
fn streaming(headers: HeaderMap, ticket: Ticket) -> (Stream, Response<Outgoing>) {
    let (near, far) = pipe::pair();
    ticket.carries(&far);
    let mut response = Response::new(Outgoing { content: Content::Link(far), ticket: Some(ticket) });
    *response.headers_mut() = headers;
    (Stream::Pipe(near), response)
}

/// False for a CONNECT to anything but WebSocket (RFC 8441 section 4).
fn speaks_known_protocol(extensions: &Extensions) -> bool {
    extensions.get::<Protocol>().is_none_or(|protocol| protocol.as_str() == "websocket")
}

fn connected(accepted: &handshake::Accepted) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing { content: Content::Whole(Bytes::new()), ticket: None });
    for (name, value) in accepted.negotiated() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Carries the bytes of a WebSocket between its stream and its link, until both have ended.
async fn carry(local: &Local, upgraded: Upgraded, far: &Far) {
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    let mut up = pin!(async {
        loop {
            poll_fn(|cx| far.poll_room(cx)).await;
            let read = |cx: &mut Context<'_>| {
                let mut buffer = local.buffer.borrow_mut();
                let mut part = ReadBuf::new(&mut buffer[..READ_BYTES_MAX]);
                ready!(Pin::new(&mut reader).poll_read(cx, &mut part))?;
                far.put(part.filled());
                Poll::Ready(io::Result::Ok(part.filled().len()))
            };
            if !matches!(poll_fn(read).await, Ok(1..)) {
                break;
            }
        }
        far.end();
    });
    let mut down = pin!(async {
        while let Some(part) = poll_fn(|cx| far.poll_take(cx)).await {
            writer.write_all(&part).await?;
            writer.flush().await?;
        }
        writer.shutdown().await
    });
    // A stream that breaks ends both ways; the link learns it from the end of what it reads.
    let _: io::Result<()> = tokio::select! {
        () = &mut up => down.await,
        written = &mut down => {
            // A stream that is dropped before its client has ended it is reset, which may overtake the last bytes there.
            timeout(LINGER, up).await.unwrap_or_default();
            written
        }
    };
}
