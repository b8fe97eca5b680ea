//! Which channels have something to do, and when.

use std::collections::BTreeMap;
use std::sync::{Mutex, Weak};

use crate::channel::Channel;
use crate::shared::lock;

/// The turns of all channels, by time and channel number; one for each channel at most. An idle channel has none, so
/// that idle channels cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Agenda(Mutex<BTreeMap<(u64, u32), Weak<Channel>>>);

impl Agenda {
    /// Moves a channel's turn from `from`, [`u64::MAX`] if it has none, to `due`.
    pub(crate) fn put(&self, from: u64, due: u64, number: u32, channel: Weak<Channel>) {
        let mut turns = lock(&self.0);
        turns.remove(&(from, number));
        turns.insert((due, number), channel);
    }

    /// Takes a channel's turn off.
    pub(crate) fn remove(&self, due: u64, number: u32) {
        lock(&self.0).remove(&(due, number));
    }

    /// The next turn that is due at `now`: its time and its channel.
    pub(crate) fn take(&self, now: u64) -> Option<(u64, Weak<Channel>)> {
        let mut turns = lock(&self.0);
        let next = turns.first_entry().filter(|turn| turn.key().0 <= now)?;
        let due = next.key().0;
        Some((due, next.remove()))
    }

    /// How many turns there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_moves_leaves_nothing_behind() {
        let agenda = Agenda::default();
        agenda.put(u64::MAX, 86_400_000, 7, Weak::new());
        for due in (1_000..=60_000).step_by(1_000) {
            // A busy channel: it wants its turn soon, and after that again the one that is far away.
            agenda.put(86_400_000, due, 7, Weak::new());
            assert_eq!(agenda.take(due).map(|turn| turn.0), Some(due));
            agenda.put(u64::MAX, 86_400_000, 7, Weak::new());
            assert_eq!(agenda.len(), 1);
        }
        agenda.put(u64::MAX, 500, 8, Weak::new());
        assert_eq!(agenda.take(499).map(|turn| turn.0), None);
        agenda.remove(86_400_000, 7);
        assert_eq!(agenda.take(u64::MAX).map(|turn| turn.0), Some(500));
        assert_eq!(agenda.len(), 0);
    }
}
