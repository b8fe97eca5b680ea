//! How long the server may hold a poll: what the path has survived, and what killed it.

/// Longest, milliseconds.
const LONGEST_MS: u64 = 25_000;
/// Shortest, milliseconds.
const SHORTEST_MS: u64 = 3_000;
/// What is added after [`GOOD`] polls were held to their end, milliseconds.
const STEP_MS: u64 = 4_000;
/// Polls held to their end before more is asked for.
const GOOD: u32 = 3;

/// The hold to ask for on one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    ms: u64,
    good: u32,
}

impl Hold {
    /// As it was learned so far, milliseconds.
    pub(super) fn new(ms: u64) -> Hold {
        Hold { ms: ms.clamp(SHORTEST_MS, LONGEST_MS), good: 0 }
    }

    /// Milliseconds to ask for.
    pub(super) const fn ms(self) -> u64 {
        self.ms
    }

    /// A poll was held to its end and answered; gives what was learned, if anything.
    pub(super) fn survived(&mut self) -> Option<u64> {
        self.good = self.good.saturating_add(1);
        if self.good < GOOD || self.ms == LONGEST_MS {
            return None;
        }
        *self = Hold { ms: (self.ms + STEP_MS).min(LONGEST_MS), good: 0 };
        Some(self.ms)
    }

    /// A poll was cut, or got no answer; gives what was learned.
    pub(super) fn failed(&mut self) -> u64 {
        *self = Hold { ms: (self.ms / 2).max(SHORTEST_MS), good: 0 };
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_up_and_down() {
        let mut hold = Hold::new(12_000);
        let learned: Vec<u64> = (0..15).filter_map(|_| hold.survived()).collect();
        assert_eq!(learned, [16_000, 20_000, 24_000, 25_000]);
        assert_eq!((hold.failed(), hold.survived(), hold.survived()), (12_500, None, None));
        assert_eq!((hold.failed(), hold.survived(), hold.survived()), (6_250, None, None), "the count begins anew");
        assert_eq!((hold.survived(), hold.failed(), hold.failed(), hold.ms()), (Some(10_250), 5_125, 3_000, 3_000));
    }
}
