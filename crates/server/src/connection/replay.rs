//! A connection as hyper sees it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use throughline_wire::http1::{Ambiguity, Gate};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::socket::Stream;

/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;
/// Bytes for which room is kept while nothing is held.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// A connection whose first bytes were read already, and whose peer has to take what it asked for.
#[derive(Debug)]
pub(super) struct Replay {
    /// Read, and not yet given to hyper.
    held: Vec<u8>,
    /// How many of these may be given.
    ready: usize,
    /// Passes what can be read in one way only; nothing is looked at without it.
    gate: Option<Gate>,
    pub(super) stream: Stream,
    /// How long the peer may take nothing of an answer.
    patience: Duration,
    /// True while it takes nothing.
    behind: Rc<Cell<bool>>,
    /// True while an answer is being made.
    serving: Rc<Cell<bool>>,
    /// Runs while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What the two sides of hyper tell each other of a connection.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The client takes nothing of an answer.
    pub(super) behind: Rc<Cell<bool>>,
    /// An answer is being made.
    pub(super) serving: Rc<Cell<bool>>,
}

impl Replay {
    /// A connection that speaks HTTP/1.
    pub(super) fn http1(first: Vec<u8>, stream: Stream, patience: Duration, told: &Told) -> Replay {
        let mut gate = Gate::default();
        let ready = gate.pass(&first);
        let (behind, serving) = (Rc::clone(&told.behind), Rc::clone(&told.serving));
        Replay { held: first, ready, gate: Some(gate), stream, patience, behind, serving, stalled: None }
    }

    /// A connection that speaks HTTP/2, which says itself where things end.
    pub(super) fn http2(first: Vec<u8>, stream: Stream, patience: Duration) -> Replay {
        let Told { behind, serving } = Told::default();
        Replay { ready: first.len(), held: first, gate: None, stream, patience, behind, serving, stalled: None }
    }

    /// The bare connection, what was read from it and not given on, and why a request was refused before anybody saw it.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>, Option<Ambiguity>) {
        (self.stream, self.held, self.gate.and_then(|gate| gate.refused_head()))
    }

    /// Gives what may be given; false when there is nothing.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let n = self.ready.min(buf.remaining());
        buf.put_slice(self.held.get(..n).unwrap_or_default());
        self.held.drain(..n);
        self.ready -= n;
        if self.held.is_empty() && self.held.capacity() > KEPT_BYTES_MAX {
            self.held = Vec::new();
        }
        n > 0
    }

    /// Gives the outcome of a write on, or ends the connection when the peer has taken nothing for too long: what waits
    /// for it would be held as long as it likes.
    fn taken<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.behind.set(outcome.is_pending());
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
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.give(buf) {
                return Poll::Ready(Ok(()));
            }
            let Some(gate) = &mut this.gate else { return Pin::new(&mut this.stream).poll_read(cx, buf) };
            let refused_next = gate.refused_head().is_some() && this.serving.get();
            if gate.refused().is_some() && !refused_next {
                // To hyper the client has ended, once earlier answers are made.
                return Poll::Ready(Ok(()));
            }
            if refused_next || gate.is_upgrade() {
                // The answer to an upgrade either takes the connection over or closes it.
                return Poll::Pending;
            }
            let mut room = [0; READ_BYTES];
            let mut part = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(part.filled());
            this.ready = gate.pass(&this.held);
        }
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.taken(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.taken(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // With TLS a write is taken whole, and what the socket has not taken of it waits here.
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.taken(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
