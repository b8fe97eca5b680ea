//! How the links on polls share what answers may take: `limits.poll_bytes_max`.
//!
//! Half of it is divided among as many links as there may be, so that no other link can take from one what small messages need.
//! What a link holds beyond its share comes from the other half, the pool.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::budget::Budget;

/// Links that are woken when one gives something back: it may be enough for several.
const WOKEN_MAX: usize = 8;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct PollBytes {
    /// What every link may hold without asking, bytes.
    share: usize,
    pool: Budget,
    waiting: Mutex<VecDeque<Waker>>,
}

impl PollBytes {
    /// `max` bytes for at most `links_max` links.
    pub(crate) fn new(max: u64, links_max: u64) -> PollBytes {
        let share = max / 2 / links_max.max(1);
        let pool = Budget::new(max - share.saturating_mul(links_max));
        PollBytes { share: usize::try_from(share).unwrap_or(usize::MAX), pool, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every link may hold without asking, bytes.
    pub(crate) const fn share(&self) -> usize {
        self.share
    }

    /// Has a link that took `pooled` bytes of the pool hold `total`; false when there is too little in the pool.
    pub(crate) fn hold(&self, pooled: &mut usize, total: usize) -> bool {
        let needed = total.saturating_sub(self.share);
        if needed > *pooled && !self.pool.take(needed - *pooled) {
            return false;
        }
        let back = pooled.saturating_sub(needed);
        *pooled = needed;
        if back > 0 {
            self.pool.give_back(back);
            self.wake(WOKEN_MAX);
        }
        true
    }

    /// True when [`PollBytes::hold`] would succeed at this moment.
    pub(crate) fn has_room(&self, pooled: usize, total: usize) -> bool {
        self.pool.has_room(total.saturating_sub(self.share).saturating_sub(pooled))
    }

    /// `waker` is woken when something was given back, or by [`PollBytes::wake`].
    pub(crate) fn await_room(&self, waker: Waker) {
        self.waiting().push_back(waker);
    }

    /// True when links wait.
    pub(crate) fn is_short(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// Wakes the links that have waited longest, at most `max`.
    pub(crate) fn wake(&self, max: usize) {
        for _ in 0..max {
            let Some(waker) = self.waiting().pop_front() else { return };
            waker.wake();
        }
    }

    #[cfg(test)]
    pub(crate) fn pooled(&self) -> u64 {
        self.pool.used()
    }
}
