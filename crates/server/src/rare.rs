//! Lines of the log that many clients at a time could cause.

use std::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds between two lines of one kind.
const PAUSE_MS: u64 = 1_000;

/// Lets one line pass per second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// When the next may pass, monotonic milliseconds.
    next: AtomicU64,
    held: AtomicU64,
}

impl Rare {
    /// Something happened: how often since the last line, if a line is due.
    pub(crate) fn happened(&self, now: u64) -> Option<u64> {
        self.held.fetch_add(1, Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        // Of several threads that find a line due, one writes it.
        let due = now >= next
            && self.next.compare_exchange(next, now + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        due.then(|| self.held.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_often() {
        let rare = Rare::default();
        let lines: Vec<_> = [0, 1, 500, 999, 1_000, 1_001, 9_000].map(|now| rare.happened(now)).into();
        assert_eq!(lines, [Some(1), None, None, None, Some(4), None, Some(2)]);
    }
}
