//! A stream of HTTP/2, as a link sees it: a connection within a connection. What the link writes gathers here until the
//! stream's window takes it, what the client sends until the link reads it; both are bounded, and hold nothing while quiet.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

/// Bytes that a pipe takes in each direction before its writer has to wait.
const PIPE_BYTES_MAX: usize = 64 * 1024;
/// Bytes handed on at a time: a frame of HTTP/2 as every peer takes it (RFC 9113 section 6.5.2).
const PART_BYTES_MAX: usize = 16 * 1024;

/// The link's side. Dropped, it is finished: what was written is still taken, as from a connection of the operating system.
#[derive(Debug)]
pub(crate) struct Pipe(Rc<RefCell<State>>);

/// The client's side. Dropped, it is the end for the link.
#[derive(Debug)]
pub(crate) struct Far(Rc<RefCell<State>>);

/// Both sides of a pipe.
pub(crate) fn pair() -> (Pipe, Far) {
    let state = Rc::default();
    (Pipe(Rc::clone(&state)), Far(state))
}

#[derive(Debug, Default)]
struct State {
    outgoing: BytesMut,
    incoming: BytesMut,
    /// The link writes no more.
    finished: bool,
    /// The link takes no more.
    deaf: bool,
    /// The client sends no more.
    ended: bool,
    /// The client takes no more.
    closed: bool,
    /// Who takes what the link wrote.
    taker: Option<Waker>,
    /// Who waits until the link may write.
    writer: Option<Waker>,
    /// Who waits for what the client sends.
    reader: Option<Waker>,
    /// Who waits until more of the client's fits.
    feeder: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn wait<T>(waker: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    *waker = Some(cx.waker().clone());
    Poll::Pending
}

/// Takes the front of a buffer, and its memory with the last of it.
fn take(buffer: &mut BytesMut, max: usize) -> Bytes {
    if buffer.len() <= max { std::mem::take(buffer).freeze() } else { buffer.split_to(max).freeze() }
}

impl Pipe {
    /// Takes what there is room for.
    pub(crate) fn write<'a>(&self, slices: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        if state.closed || state.finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = state.outgoing.len();
        for slice in slices {
            let room = PIPE_BYTES_MAX - state.outgoing.len();
            state.outgoing.extend_from_slice(slice.get(..room).unwrap_or(slice));
            if slice.len() > room {
                break;
            }
        }
        let taken = state.outgoing.len() - before;
        if taken == 0 && before == PIPE_BYTES_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wake(&mut state.taker);
        Ok(taken)
    }

    /// Ready when [`Pipe::write`] takes something, or never will again.
    pub(crate) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let state = &mut *self.0.borrow_mut();
        let open = !(state.closed || state.finished);
        if open && state.outgoing.len() == PIPE_BYTES_MAX { wait(&mut state.writer, cx) } else { Poll::Ready(()) }
    }

    /// Reads once; 0 at the end.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        let part = take(&mut state.incoming, buffer.len());
        let over = state.ended || state.closed || state.deaf;
        if part.is_empty() {
            return if over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        wake(&mut state.feeder);
        if let Some(place) = buffer.get_mut(..part.len()) {
            place.copy_from_slice(&part);
        }
        Ok(part.len())
    }

    /// Ready when [`Pipe::read`] gives something.
    pub(crate) fn poll_readable(&self, cx: &Context<'_>) -> Poll<bool> {
        let state = &mut *self.0.borrow_mut();
        let ready = !state.incoming.is_empty() || state.ended || state.closed || state.deaf;
        if ready { Poll::Ready(true) } else { wait(&mut state.reader, cx) }
    }

    /// Nothing more is written; what was is still taken.
    pub(crate) fn finish(&self) {
        let state = &mut *self.0.borrow_mut();
        state.finished = true;
        wake(&mut state.taker);
    }

    /// Nothing more passes in either direction, but what was written.
    pub(crate) fn abort(&self) {
        self.finish();
        let state = &mut *self.0.borrow_mut();
        state.deaf = true;
        state.incoming = BytesMut::new();
        for waker in [&mut state.writer, &mut state.reader, &mut state.feeder] {
            wake(waker);
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Far {
    /// A part of what the link wrote; `None` after the last.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let state = &mut *self.0.borrow_mut();
        if !state.outgoing.is_empty() {
            wake(&mut state.writer);
            return Poll::Ready(Some(take(&mut state.outgoing, PART_BYTES_MAX)));
        }
        if state.finished { Poll::Ready(None) } else { wait(&mut state.taker, cx) }
    }

    /// Ready when [`Far::put`] may be called: false when the link takes nothing any more, and what is put is dropped.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let state = &mut *self.0.borrow_mut();
        if state.deaf {
            return Poll::Ready(false);
        }
        if state.incoming.len() < PIPE_BYTES_MAX { Poll::Ready(true) } else { wait(&mut state.feeder, cx) }
    }

    /// Hands on what the client sent.
    pub(crate) fn put(&self, bytes: &[u8]) {
        let state = &mut *self.0.borrow_mut();
        if !state.deaf {
            state.incoming.extend_from_slice(bytes);
            wake(&mut state.reader);
        }
    }

    /// True once the link is over: what it wrote before that may still be there.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.borrow().finished
    }

    /// The client sends no more.
    pub(crate) fn end(&self) {
        let state = &mut *self.0.borrow_mut();
        state.ended = true;
        wake(&mut state.reader);
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let state = &mut *self.0.borrow_mut();
        state.closed = true;
        state.outgoing = BytesMut::new();
        for waker in [&mut state.writer, &mut state.reader] {
            wake(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn taken(far: &Far) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(Some(part)) = far.poll_take(&idle()) {
            assert!(part.len() <= PART_BYTES_MAX);
            all.extend_from_slice(&part);
        }
        all
    }

    #[test]
    fn what_is_written_comes_out_in_order_and_never_more_than_fits() {
        let (pipe, far) = pair();
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut sent, mut got) = (0, Vec::new());
        while sent < bytes.len() {
            let rest = &bytes[sent..];
            let middle = rest.len().min(1000);
            match pipe.write([&rest[..middle], &rest[middle..]]) {
                Ok(n) => sent += n,
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                    assert!(pipe.poll_writable(&idle()).is_pending());
                    got.extend(taken(&far));
                    assert!(pipe.poll_writable(&idle()).is_ready());
                }
            }
        }
        pipe.finish();
        got.extend(taken(&far));
        assert!(got == bytes);
        assert!(matches!(far.poll_take(&idle()), Poll::Ready(None)));
    }

    #[test]
    fn what_comes_is_read_in_pieces_and_then_the_end() {
        let (pipe, far) = pair();
        let mut buffer = [0; 3];
        assert_eq!(pipe.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        far.put(b"hello");
        far.end();
        assert_eq!(pipe.poll_readable(&idle()), Poll::Ready(true));
        assert_eq!((pipe.read(&mut buffer).unwrap(), &buffer), (3, b"hel"));
        assert_eq!((pipe.read(&mut buffer).unwrap(), &buffer[..2]), (2, &b"lo"[..]));
        assert_eq!(pipe.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_feeder_waits_for_the_reader() {
        let (pipe, far) = pair();
        far.put(&vec![0; PIPE_BYTES_MAX]);
        assert!(far.poll_room(&idle()).is_pending());
        pipe.read(&mut [0; 16]).unwrap();
        assert_eq!(far.poll_room(&idle()), Poll::Ready(true));
    }

    #[test]
    fn a_client_that_is_gone_is_the_end_for_the_link() {
        let (pipe, far) = pair();
        pipe.write([&b"lost"[..]]).unwrap();
        drop(far);
        assert_eq!(pipe.read(&mut [0; 4]).unwrap(), 0);
        assert!(pipe.write([&b"more"[..]]).is_err());
    }

    #[test]
    fn what_was_written_before_the_end_is_still_taken() {
        let (pipe, far) = pair();
        pipe.write([&b"bye"[..]]).unwrap();
        drop(pipe);
        assert_eq!(taken(&far), b"bye");
        assert!(matches!(far.poll_take(&idle()), Poll::Ready(None)));
    }

    #[test]
    fn a_link_that_gives_up_leaves_what_it_wrote() {
        let (pipe, far) = pair();
        pipe.write([&b"last"[..]]).unwrap();
        assert!(!far.is_finished());
        pipe.abort();
        assert_eq!(far.poll_room(&idle()), Poll::Ready(false));
        assert_eq!(pipe.read(&mut [0; 4]).unwrap(), 0);
        assert!(far.is_finished());
        assert_eq!(taken(&far), b"last");
    }
}
