//! Which channels have something to do, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, Weak};

use crate::channel::Channel;
use crate::shared::lock;

/// A channel's turn. Ordered by time.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) due: u64,
    number: u32,
    pub(crate) channel: Weak<Channel>,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Turn) -> bool {
        (self.due, self.number) == (other.due, other.number)
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// The turns of all channels. An idle channel has none, so that idle channels cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Agenda(Mutex<BinaryHeap<Reverse<Turn>>>);

impl Agenda {
    pub(crate) fn add(&self, due: u64, number: u32, channel: Weak<Channel>) {
        lock(&self.0).push(Reverse(Turn { due, number, channel }));
    }

    /// The next turn that is due at `now`.
    pub(crate) fn take(&self, now: u64) -> Option<Turn> {
        let mut turns = lock(&self.0);
        let due = turns.peek().is_some_and(|Reverse(turn)| turn.due <= now);
        if due { turns.pop().map(|Reverse(turn)| turn) } else { None }
    }
}
