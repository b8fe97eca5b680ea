//! Bytes that all links of a realm may hold together.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes against a limit. Taking and giving back are one atomic operation each.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    /// Nothing is used of `max` bytes.
    pub(crate) const fn new(max: u64) -> Budget {
        Budget { max, used: AtomicU64::new(0) }
    }

    /// The limit, bytes.
    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// Takes bytes that are there already, whatever the limit says.
    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes bytes unless that would pass the limit.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let more = |used: u64| used.checked_add(bytes as u64).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// The same, or any number of bytes when nothing is used.
    pub(crate) fn take_alone(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max || used == 0);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// True when more is used than the limit allows.
    pub(crate) fn is_passed(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max
    }

    /// True when [`Budget::take`] would succeed at this moment.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed).checked_add(bytes as u64).is_some_and(|sum| sum <= self.max)
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
