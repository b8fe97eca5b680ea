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
/// What the peer has to take of an answer each time that it may take nothing, bytes: with single ones it would hold it for ever.
pub(super) const STEP_BYTES: usize = 16 * 1024;
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
    /// How long the peer may take next to nothing of an answer.
    patience: Duration,
    /// How many bytes are more than that.
    step: usize,
    /// True while it takes nothing.
    behind: Rc<Cell<bool>>,
    /// True while an answer is being made.
    serving: Rc<Cell<bool>>,
    /// Runs from when it first takes nothing until it has taken enough, or everything.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Bytes that it has taken meanwhile.
    taken: usize,
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
        let (gate, step) = (Some(gate), STEP_BYTES);
        Replay { held: first, ready, gate, stream, patience, step, behind, serving, stalled: None, taken: 0 }
    }

    /// A connection that speaks HTTP/2, which says itself where things end. It carries links, too, whose clients may be slow, so that any
    /// progress will do; answers are judged where they are sent.
    pub(super) fn http2(first: Vec<u8>, stream: Stream, patience: Duration) -> Replay {
        let Told { behind, serving } = Told::default();
        let (ready, gate, step) = (first.len(), None, 1);
        Replay { held: first, ready, gate, stream, patience, step, behind, serving, stalled: None, taken: 0 }
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

    /// Gives the outcome of a write on, or ends the connection when the peer has taken too little for too long: what waits
    /// for it would be held as long as it likes.
    fn taken<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        self.behind.set(outcome.is_pending());
        if let Poll::Ready(Ok(taken)) = &outcome {
            self.taken = self.taken.saturating_add(bytes(taken));
            if self.taken >= self.step {
                self.stalled = None;
            }
        }
        if outcome.is_ready() {
            return outcome;
        }
        if self.stalled.is_none() {
            self.taken = 0;
        }
        let patience = self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        timer.as_mut().poll(cx).map(|()| {
            let text = "the client took next to nothing of an answer in time (timeouts.body_ms)";
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
        self.taken(cx, outcome, |n| *n)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.taken(cx, outcome, |n| *n)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Everything was taken then. With TLS a write is taken whole, and what the socket has not taken of it waits here.
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.taken(cx, outcome, |()| STEP_BYTES)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a peer is waited for that takes `bytes` each time a quarter of the patience is over.
    async fn waits_for(replay: &mut Replay, bytes: usize) -> bool {
        let quarter = replay.patience / 4;
        for _ in 0..40 {
            let pending =
                |cx: &mut Context<'_>| Poll::Ready(replay.taken(cx, Poll::Pending::<io::Result<usize>>, |n| *n));
            if std::future::poll_fn(pending).await.is_ready() {
                return false;
            }
            tokio::time::advance(quarter).await;
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(replay.taken(&mut cx, Poll::Ready(Ok(bytes)), |n| *n).is_ready());
        }
        true
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_single_bytes_of_an_answer_is_not_waited_for() {
        let patience = Duration::from_secs(30);
        let stream = || Stream::Pipe(crate::pipe::pair().0);
        let mut http1 = Replay::http1(Vec::new(), stream(), patience, &Told::default());
        assert!(waits_for(&mut http1, STEP_BYTES / 3).await, "slow, but not too slow");
        assert!(!waits_for(&mut http1, 1).await);
        let mut http2 = Replay::http2(Vec::new(), stream(), patience);
        assert!(waits_for(&mut http2, 1).await, "what it carries may be a slow link");
        let mut ended = Replay::http1(Vec::new(), stream(), patience, &Told::default());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..40 {
            // Answers that were taken whole, however small, leave nothing behind for the next.
            assert!(ended.taken(&mut cx, Poll::Pending::<io::Result<()>>, |()| 0).is_pending());
            tokio::time::advance(patience / 2).await;
            assert!(ended.taken(&mut cx, Poll::Ready(Ok(())), |()| STEP_BYTES).is_ready());
        }
    }
}
