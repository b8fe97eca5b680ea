//! How long the server may hold a poll: what the path has survived, and what killed it.

/// The first hold, milliseconds: the shortest limit measured on a real proxy is 15 s.
const FIRST_MS: u64 = 12_000;
/// Longest, milliseconds.
const LONGEST_MS: u64 = 25_000;
/// Shortest, milliseconds.
const SHORTEST_MS: u64 = 3_000;
/// What is added after [`GOOD`] polls were held to their end, milliseconds.
const STEP_MS: u64 = 4_000;
/// Polls held to their end before more is asked for.
const GOOD: u32 = 3;

/// The hold to ask for. It outlives links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    ms: u64,
    good: u32,
}

impl Default for Hold {
    fn default() -> Hold {
        Hold { ms: FIRST_MS, good: 0 }
    }
}

impl Hold {
    /// Milliseconds to ask for.
    pub(crate) const fn ms(self) -> u64 {
        self.ms
    }

    /// A poll was held to its end and answered.
    pub(super) fn survived(&mut self) {
        self.good += 1;
        if self.good >= GOOD {
            *self = Hold { ms: (self.ms + STEP_MS).min(LONGEST_MS), good: 0 };
        }
    }

    /// A poll was cut, or got no answer.
    pub(super) fn failed(&mut self) {
        *self = Hold { ms: (self.ms / 2).max(SHORTEST_MS), good: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_up_and_down() {
        let mut hold = Hold::default();
        let mut seen = vec![hold.ms()];
        for _ in 0..15 {
            hold.survived();
            if seen.last() != Some(&hold.ms()) {
                seen.push(hold.ms());
            }
        }
        assert_eq!(seen, [12_000, 16_000, 20_000, 24_000, 25_000]);
        hold.survived();
        hold.survived();
        hold.failed();
        assert_eq!(hold.ms(), 12_500);
        hold.survived();
        assert_eq!(hold.ms(), 12_500, "the count begins anew");
        hold.failed();
        hold.failed();
        hold.failed();
        assert_eq!(hold.ms(), SHORTEST_MS);
    }
}
