//! What clients say on the HTTP transports: pieces of a byte stream, numbered from 1.

use std::fmt;
use std::mem;

use throughline_wire::close::CloseCode;
use throughline_wire::http::Lines;
use throughline_wire::message::{Carriage, ClientMessage, CloseReason};

use super::link::Inlet;
use super::{LinkId, Now, Shard, Sock};

/// Pieces whose answers are held back at a time, repetitions mostly; the oldest beyond goes without.
const HELD_MAX: usize = 4;

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceOutcome {
    /// It was taken, now or before.
    Taken,
    /// Others have to come first; this one was not taken.
    Skipped {
        /// The number that is expected.
        expected: u64,
    },
    /// It was not taken, since the link took no input; now it does.
    Refused,
}

/// Who is told what became of a piece. When it is dropped instead of called, the link is gone.
pub struct PieceDone(Box<dyn FnOnce(PieceOutcome) + Send>);

impl PieceDone {
    /// Calls `done` once, on the shard's thread; it must not wait.
    pub fn new(done: impl FnOnce(PieceOutcome) + Send + 'static) -> PieceDone {
        PieceDone(Box::new(done))
    }

    fn call(self, outcome: PieceOutcome) {
        (self.0)(outcome);
    }
}

impl fmt::Debug for PieceDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PieceDone")
    }
}

/// The uplink of one link.
#[derive(Debug)]
pub(crate) struct Uplink {
    lines: Lines,
    /// The number of the next piece.
    next: u64,
    /// Answers that wait until the link takes input again, and what they will be.
    held: Vec<(PieceDone, PieceOutcome)>,
}

impl Uplink {
    pub(crate) const fn new() -> Uplink {
        Uplink { lines: Lines::new(), next: 1, held: Vec::new() }
    }

    /// The link takes input again.
    pub(crate) fn release(&mut self) {
        for (done, outcome) in mem::take(&mut self.held) {
            done.call(outcome);
        }
    }

    /// Memory that the beginning of a message takes, bytes.
    pub(crate) const fn partial_bytes(&self) -> usize {
        self.lines.partial_bytes()
    }

    /// Forgets the beginning of a message.
    pub(crate) fn clear(&mut self) {
        self.lines = Lines::new();
    }

    fn hold(&mut self, done: PieceDone, outcome: PieceOutcome) {
        if self.held.len() == HELD_MAX {
            self.held.remove(0);
        }
        self.held.push((done, outcome));
    }
}

impl<S: Sock> Shard<S> {
    /// Takes a piece of an HTTP link's uplink. `done` is told at once, or when the link takes input again: this is what
    /// holds back a client that is too fast. What one that does not wait sends meanwhile is not taken. Call [`Shard::flush`]
    /// afterwards.
    pub fn on_piece(&mut self, now: Now, id: LinkId, number: u64, bytes: &[u8], done: PieceDone) {
        self.heard(now, id);
        let full = self.over_limits(id);
        let Some(uplink) = self.uplink(id) else { return };
        let expected = uplink.next;
        if number > expected {
            return done.call(PieceOutcome::Skipped { expected });
        }
        if number == expected && full {
            return uplink.hold(done, PieceOutcome::Refused);
        }
        if number == expected {
            uplink.next += 1;
            self.take_piece(now, id, bytes);
        }
        let full = self.over_limits(id);
        match self.uplink(id) {
            Some(uplink) if full => uplink.hold(done, PieceOutcome::Taken),
            _ => done.call(PieceOutcome::Taken),
        }
    }

    fn take_piece(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        if !self.link_mut(id).is_some_and(|link| link.is_open()) {
            return;
        }
        let Some(uplink) = self.uplink(id) else { return };
        let mut lines = mem::take(&mut uplink.lines);
        let limit = self.settings.message_bytes_max();
        let mut finished = false;
        let end = lines.push(bytes, limit, |line| {
            finished = true;
            self.client(now, id, ClientMessage::decode(Carriage::Text(line)));
        });
        match (end, self.uplink(id)) {
            (Ok(()), Some(uplink)) => uplink.lines = lines,
            (Ok(()), None) => {}
            (Err(e), _) => self.close(now, id, CloseReason::new(CloseCode::TooBig, e.to_string()), false),
        }
        self.account_partial(now, id, finished);
    }

    fn uplink(&mut self, id: LinkId) -> Option<&mut Uplink> {
        match &mut self.link_mut(id)?.inlet {
            Inlet::Http(uplink) => Some(uplink),
            Inlet::WebSocket { .. } | Inlet::Hixie(_) => None,
        }
    }
}
