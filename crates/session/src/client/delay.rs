//! When to try again: section 7.

use throughline_wire::close::Reconnect;

use crate::random::Random;

/// The first delay is random below this, milliseconds.
const FIRST_MS: u64 = 250;
/// No delay is longer, milliseconds.
const LONGEST_MS: u64 = 30_000;
/// A welcomed link that lived so long makes the next delay a first one, milliseconds.
pub(super) const STABLE_MS: u64 = 10_000;
/// Where "later" begins.
const LATER: u32 = 3;

/// The count of attempts, and the random numbers that keep clients from coming back all at once.
#[derive(Debug)]
pub(super) struct Delays {
    attempt: u32,
    random: Random,
}

impl Delays {
    pub(super) const fn new(seed: u64) -> Delays {
        Delays { attempt: 0, random: Random::new(seed) }
    }

    /// The last link was a good one.
    pub(super) const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Milliseconds until the next attempt.
    pub(super) fn next(&mut self, when: Reconnect) -> u64 {
        if when == Reconnect::Later {
            self.attempt = self.attempt.max(LATER);
        }
        let bound = FIRST_MS.saturating_mul(1 << self.attempt.min(16)).min(LONGEST_MS);
        self.attempt = self.attempt.saturating_add(1);
        self.random(bound)
    }

    /// A random number of 0 to `bound`.
    pub(super) fn random(&mut self, bound: u64) -> u64 {
        self.random.up_to(bound)
    }
}
