//! Streams of probes: the very bytes of a stream that carries a link, with messages that only count.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use throughline_wire::http::{CHUNK_END, Form, write_chunk};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::Held;
use super::call::Plan;
use crate::http::Context;
use crate::http::answer::Fault;
use crate::http::request::Query;
use crate::runtime::{Local, Phase};
use crate::shard::Sock;
use crate::socket::Stream;
use crate::transport::{opening, page_origin, response_headers};

/// How long a stream may take in all: its gaps, and a client that takes its time. Then it is cut.
const STREAM_TIME_MAX: Duration = Duration::from_secs(150);
/// How long a client may take to end a connection whose stream is over.
const LINGER: Duration = Duration::from_secs(3);
/// What stands for a link's id in the document of a frame.
const FRAME_NAME: &str = "probe";
/// Bytes of what a client sends behind its request that are read at a time.
const READ_BYTES_MAX: usize = 4096;

/// A stream that is about to begin.
pub(crate) struct ProbeStream {
    plan: Plan,
    chunked: bool,
    /// Of the answer, whose status is 200.
    pub(crate) headers: HeaderMap,
    /// The padding.
    start: Vec<u8>,
    /// Counted for as long as it lives.
    _held: Held,
}

pub(super) fn open(context: &Arc<Context>, head: &Parts, query: &Query<'_>) -> Result<ProbeStream, Fault> {
    let plan = Plan::of(query)?;
    let config = &context.config;
    let origin = if plan.form == Form::Script { page_origin(query, head, config)? } else { String::new() };
    let held = Held::new(context)?;
    let headers = response_headers(head, plan.form, &config.origins);
    let mut start = Vec::new();
    plan.form.write_start(FRAME_NAME, &origin, &mut start);
    Ok(ProbeStream { plan, chunked: head.version == Version::HTTP_11, headers, start, _held: held })
}

impl ProbeStream {
    /// Puts the answer's head before the body, for a connection that the stream has to itself.
    pub(crate) fn with_head(mut self) -> ProbeStream {
        self.start = opening(&self.headers, self.chunked, &self.start);
        self
    }

    /// A message as it goes over the wire.
    fn message(&self, number: u64, at: Duration) -> Vec<u8> {
        let Plan { form, count, size, .. } = self.plan;
        let mut json = Vec::with_capacity(size);
        // Writing into a Vec cannot fail.
        let _ = write!(json, r#"{{"type":"probe","n":{number},"at":{},"of":{count},"pad":""#, at.as_millis());
        json.resize(size.saturating_sub(2).max(json.len()), b'.');
        json.extend_from_slice(b"\"}");
        let mut framed = Vec::with_capacity(size + 32);
        form.write(&json, &mut framed);
        if !self.chunked {
            return framed;
        }
        let mut chunk = Vec::with_capacity(framed.len() + 16);
        write_chunk(&[&framed], &mut chunk);
        chunk
    }
}

/// Sends a stream to its end: the last message, the client's leaving, the realm's stop.
pub(crate) async fn run(local: &Local, stream: &Stream, probe: &ProbeStream) -> io::Result<()> {
    let sent = tokio::select! {
        sent = timeout(STREAM_TIME_MAX, send(local, stream, probe)) => sent,
        () = left(local, stream) => return Ok(()),
    };
    match sent {
        Ok(sent) => sent?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the client took a probe's stream too slowly")),
    }
    stream.shutdown();
    // A connection that is dropped before its client has ended it may be reset, which could overtake the last bytes there.
    timeout(LINGER, left(local, stream)).await.unwrap_or_default();
    Ok(())
}

async fn send(local: &Local, stream: &Stream, probe: &ProbeStream) -> io::Result<()> {
    let mut phase = local.phase.clone();
    let patience = Duration::from_millis(local.http.config.timeouts.body_ms);
    let begin = Instant::now();
    write(stream, &probe.start, patience, &mut phase).await?;
    let mut next = begin;
    for number in 1..=probe.plan.count {
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            () = sleep_until(next) => {}
        }
        write(stream, &probe.message(number, begin.elapsed()), patience, &mut phase).await?;
        next = Instant::now() + probe.plan.gap;
        // Who hands the bytes on has its turn before there are more: each message goes by itself.
        yield_now().await;
    }
    if probe.chunked { write(stream, CHUNK_END, patience, &mut phase).await } else { Ok(()) }
}

/// Writes all of some bytes. A client that does not take them while the realm stops is not waited for.
async fn write(
    stream: &Stream,
    bytes: &[u8],
    patience: Duration,
    phase: &mut watch::Receiver<Phase>,
) -> io::Result<()> {
    tokio::select! {
        biased;
        written = timeout(patience, write_all(stream, bytes)) => written.unwrap_or_else(|_| {
            let text = "the client took nothing of an answer in time (timeouts.body_ms)";
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }),
        _ = phase.wait_for(|phase| *phase != Phase::Running) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

async fn write_all(stream: &Stream, mut rest: &[u8]) -> io::Result<()> {
    loop {
        let outcome = if rest.is_empty() { Sock::flush(stream).map(|()| 0) } else { Sock::write(stream, rest) };
        match outcome {
            Ok(_) if rest.is_empty() => return Ok(()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| stream.poll_writable(cx)).await,
            Err(e) => return Err(e),
        }
    }
}

/// Ready when the client has left. What it sends behind its request means nothing.
async fn left(local: &Local, stream: &Stream) {
    while poll_fn(|cx| stream.poll_readable(cx)).await {
        let read = stream.read(&mut local.buffer.borrow_mut()[..READ_BYTES_MAX]);
        match read {
            Ok(0) => return,
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return,
            _ => yield_now().await,
        }
    }
}
