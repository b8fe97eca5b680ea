//! How many attempts may be started: a stock that is used up and comes back in time.

/// Most permits at hand.
pub(super) const PERMITS_MAX: u32 = 12;
/// One comes back after so long, milliseconds.
pub(super) const RETURN_MS: u64 = 10_000;
/// What upgrades and rotations leave for rounds.
pub(super) const RESERVE: u32 = 4;

#[derive(Debug)]
pub(super) struct Permits {
    left: u32,
    /// Since when the next one has been on its way back; counts while some are out.
    since: u64,
}

impl Permits {
    pub(super) const fn new() -> Permits {
        Permits { left: PERMITS_MAX, since: 0 }
    }

    /// How many there are now.
    pub(super) fn left(&self, now: u64) -> u32 {
        let back = now.saturating_sub(self.since) / RETURN_MS;
        u32::try_from(back).unwrap_or(PERMITS_MAX).saturating_add(self.left).min(PERMITS_MAX)
    }

    /// Takes one; there has to be one.
    pub(super) fn take(&mut self, now: u64) {
        let left = self.left(now);
        self.since = if left == PERMITS_MAX { now } else { self.since + u64::from(left - self.left) * RETURN_MS };
        self.left = left.saturating_sub(1);
    }

    /// From when on there are at least `wanted`, if none is taken before.
    pub(super) fn at(&self, wanted: u32) -> u64 {
        let missing = wanted.min(PERMITS_MAX).saturating_sub(self.left);
        if missing == 0 { 0 } else { self.since.saturating_add(u64::from(missing) * RETURN_MS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back_one_by_one() {
        let mut permits = Permits::new();
        for n in 0..PERMITS_MAX {
            assert_eq!((permits.left(1_000), permits.at(1)), (PERMITS_MAX - n, 0));
            permits.take(1_000);
        }
        assert_eq!((permits.left(10_999), permits.at(1), permits.at(5)), (0, 11_000, 51_000));
        assert_eq!(permits.left(11_000), 1);
        permits.take(15_000);
        assert_eq!((permits.left(20_999), permits.left(21_000)), (0, 1));
        assert_eq!(permits.left(u64::MAX), PERMITS_MAX);
    }
}
