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
/// Messages of one piece that are taken before other links have their turn.
const MESSAGES_MAX: usize = 256;

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
    /// What of the last piece was left, and how much of it was taken since.
    rest: (Vec<u8>, usize),
    /// A note to go on with it is under way.
    noted: bool,
    /// The number of the next piece.
    next: u64,
    /// Answers that wait until the link takes input again, and what they will be.
    held: Vec<(PieceDone, PieceOutcome)>,
}

impl Uplink {
    pub(crate) const fn new() -> Uplink {
        Uplink { lines: Lines::new(), rest: (Vec::new(), 0), noted: false, next: 1, held: Vec::new() }
    }

    /// The link takes input again. True when there is some, which [`Mail::Onward`] has to see to.
    pub(crate) fn resume(&mut self) -> bool {
        if self.has_rest() {
            return !mem::replace(&mut self.noted, true);
        }
        for (done, outcome) in mem::take(&mut self.held) {
            done.call(outcome);
        }
        false
    }

    const fn has_rest(&self) -> bool {
        !self.rest.0.is_empty()
    }

    /// Memory that is taken by what was not understood yet, bytes.
    pub(crate) const fn partial_bytes(&self) -> usize {
        self.lines.partial_bytes() + self.rest.0.capacity()
    }

    /// Forgets it.
    pub(crate) fn clear(&mut self) {
        self.lines = Lines::new();
        self.rest = (Vec::new(), 0);
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
        if number == expected && (full || uplink.has_rest()) {
            return uplink.hold(done, PieceOutcome::Refused);
        }
        if number == expected {
            uplink.next += 1;
            let (taken, finished) = self.take_messages(now, id, bytes);
            let rest = bytes.get(taken..).unwrap_or_default();
            self.leave_rest(now, id, (rest.to_vec(), 0), finished);
        }
        if let Some(uplink) = self.uplink(id) {
            uplink.hold(done, PieceOutcome::Taken);
        }
        self.note_resumed(id);
    }

    /// Goes on with the piece of which a part was left.
    pub(super) fn take_rest(&mut self, now: Now, id: LinkId) {
        let Some(uplink) = self.uplink(id) else { return };
        uplink.noted = false;
        let (bytes, before) = mem::take(&mut uplink.rest);
        let (taken, finished) = self.take_messages(now, id, bytes.get(before..).unwrap_or_default());
        self.leave_rest(now, id, (bytes, before + taken), finished);
        self.note_resumed(id);
    }

    fn leave_rest(&mut self, now: Now, id: LinkId, rest: (Vec<u8>, usize), finished: bool) {
        let open = self.link_mut(id).is_some_and(|link| link.is_open());
        if let Some(uplink) = self.uplink(id)
            && open
            && rest.1 < rest.0.len()
        {
            uplink.rest = rest;
        }
        self.account_partial(now, id, finished);
    }

    /// Takes of a piece what the link's limits allow and its turn has room for: how many bytes, and whether they ended a message.
    fn take_messages(&mut self, now: Now, id: LinkId, bytes: &[u8]) -> (usize, bool) {
        let (mut taken, mut finished) = (0, false);
        for _ in 0..MESSAGES_MAX {
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() || self.over_limits(id) || !self.link_mut(id).is_some_and(|link| link.is_open()) {
                break;
            }
            let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
            finished |= self.take_line(now, id, rest.get(..end).unwrap_or_default());
            taken += end;
        }
        (taken, finished)
    }

    /// Takes what holds the end of one message at most. True when it did.
    fn take_line(&mut self, now: Now, id: LinkId, bytes: &[u8]) -> bool {
        let limit = self.settings.message_bytes_max();
        let Some(uplink) = self.uplink(id) else { return false };
        let mut lines = mem::take(&mut uplink.lines);
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
        finished
    }

    fn uplink(&mut self, id: LinkId) -> Option<&mut Uplink> {
        match &mut self.link_mut(id)?.inlet {
            Inlet::Http(uplink) => Some(uplink),
            Inlet::WebSocket { .. } | Inlet::Hixie(_) => None,
        }
    }
}
