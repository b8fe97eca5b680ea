//! From an accepted connection to what it speaks: its first bytes are looked at, a WebSocket handshake is answered
//! here, everything else goes to hyper, also when a kept-alive connection asks for an upgrade later.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use throughline_wire::ws::handshake::{self, Accepted, RequestHead};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::http::{self, Body};
use crate::runtime::{Local, Phase};
use crate::shard::Purpose;
use crate::upgrade;

/// Bytes read at a time while a request's head is awaited.
const HEAD_READ_BYTES: usize = 4096;

/// Serves a connection to its end.
pub(crate) async fn run(local: &Rc<Local>, socket: std::net::TcpStream) -> io::Result<()> {
    let mut stream = TcpStream::from_std(socket)?;
    let limit = Duration::from_millis(local.http.config.timeouts.head_ms);
    let mut phase = local.phase.clone();
    let first = tokio::select! {
        first = tokio::time::timeout(limit, first_bytes(local, &stream)) => first,
        _ = phase.wait_for(|p| *p != Phase::Running) => return Ok(()),
    };
    let Ok(first) = first else {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time (timeouts.head_ms)"));
    };
    let (bytes, head) = first?;
    if let Some(head) = head
        && let Some((purpose, accepted)) = sniff(local, &head)
    {
        stream.write_all(&accepted.response_head()).await?;
        let mut bytes = bytes;
        local.link(stream, purpose, accepted.deflate, bytes.get_mut(head.len..).unwrap_or_default());
        return Ok(());
    }
    // Kept apart, so that this task is small for the many that only become WebSocket connections.
    Box::pin(serve_http(local, stream, bytes)).await
}

/// Reads until a request's head is whole, or is none.
async fn first_bytes(local: &Local, stream: &TcpStream) -> io::Result<(Vec<u8>, Option<RequestHead>)> {
    let mut bytes = Vec::new();
    loop {
        stream.readable().await?;
        let mut buffer = local.buffer.borrow_mut();
        match stream.try_read(&mut buffer[..HEAD_READ_BYTES]) {
            Ok(0) => return Ok((bytes, None)),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        }
        // What is no HTTP head gets its answer from hyper.
        match handshake::parse_request_head(&bytes) {
            Ok(None) => {}
            Ok(head) => return Ok((bytes, head)),
            Err(_) => return Ok((bytes, None)),
        }
    }
}

/// A WebSocket handshake that succeeds; all others are answered by the HTTP service.
fn sniff(local: &Local, head: &RequestHead) -> Option<(Purpose, Accepted)> {
    let headers = || head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let path = head.target.split('?').next().unwrap_or_default();
    let purpose = upgrade::purpose(path)?;
    if head.version == 0 || !handshake::wants_websocket(headers()) {
        return None;
    }
    upgrade::accept(&local.http, purpose, &head.method, headers()).ok().map(|accepted| (purpose, accepted))
}

async fn serve_http(local: &Rc<Local>, stream: TcpStream, first: Vec<u8>) -> io::Result<()> {
    let patience = Duration::from_millis(local.http.config.timeouts.body_ms);
    let io = TokioIo::new(Replay { first: Bytes::from(first), stream, patience, stalled: None });
    let service = service_fn(|request| answer(Rc::clone(local), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(local.http.config.timeouts.head_ms))
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut phase = local.phase.clone();
    tokio::select! {
        done = connection.as_mut() => done.map_err(io::Error::other),
        _ = phase.wait_for(|p| *p != Phase::Running) => {
            connection.as_mut().graceful_shutdown();
            connection.await.map_err(io::Error::other)
        }
    }
}

async fn answer(local: Rc<Local>, mut request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let Some(purpose) = upgrade::purpose(request.uri().path()) else {
        return Ok(http::serve(request, &local.http).await);
    };
    // The map's own iterator cannot be cloned, and a handshake is looked through several times.
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let headers = headers.iter().copied();
    let accepted = match upgrade::accept(&local.http, purpose, request.method().as_str(), headers) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(refusal.response()),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let deflate = accepted.deflate;
    tokio::task::spawn_local({
        let local = Rc::clone(&local);
        async move {
            let Ok(upgraded) = upgraded.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<Replay>>() else { return };
            let replay = parts.io.into_inner();
            let mut early = [parts.read_buf.as_ref(), replay.first.as_ref()].concat();
            local.link(replay.stream, purpose, deflate, &mut early);
        }
    });
    Ok(switching(&accepted))
}

fn switching(accepted: &Accepted) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in accepted.headers() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A connection whose first bytes were read already, and whose peer has to take what it asked for.
#[derive(Debug)]
struct Replay {
    first: Bytes,
    stream: TcpStream,
    /// How long the peer may take nothing of an answer.
    patience: Duration,
    /// Runs while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Replay {
    /// Gives the outcome of a write on, or ends the connection when the peer has taken nothing for too long: what waits
    /// for it would be held as long as it likes.
    fn written(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        timer.as_mut().poll(cx).map(|()| {
            let text = "the client took nothing of an answer in time (timeouts.body_ms)";
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl AsyncRead for Replay {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
