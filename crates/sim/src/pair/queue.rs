//! What is to happen, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that becomes due. The number says of which connection, link or carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The application and the weather do something.
    Step,
    /// The session's deadline.
    Session,
    /// A carrier's deadline.
    Carrier(u32),
    /// Something reaches the server's end of a connection.
    Up(u32),
    /// Something reaches the client's end.
    Down(u32),
    /// A middlebox's timer on a connection.
    Middlebox(u32),
    /// The deadline of a link at the server.
    Link(u32),
    /// A held poll is to be answered.
    Hold(u32),
    /// An uplink request has waited long enough for its link.
    Wait(u32),
    /// The client reads again.
    Resume,
    /// The store commits.
    Commit,
    /// The server stops at last, and begins anew.
    Restart,
}

/// Virtual time and what is due in it. Things due at the same moment happen in the order they were put in.
#[derive(Debug, Default)]
pub struct Queue {
    now: u64,
    count: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Due)>>,
}

impl Queue {
    /// Milliseconds since the run began.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Has something happen `after` milliseconds from now.
    pub fn after(&mut self, after: u64, due: Due) {
        self.at(self.now.saturating_add(after), due);
    }

    /// Has something happen at a time, which is not before now.
    pub fn at(&mut self, at: u64, due: Due) {
        self.count += 1;
        self.heap.push(Reverse((at.max(self.now), self.count, due)));
    }

    /// Goes on to the next thing.
    pub fn proceed(&mut self) -> Option<Due> {
        let Reverse((at, _, due)) = self.heap.pop()?;
        self.now = at;
        Some(due)
    }

    /// How many things wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
