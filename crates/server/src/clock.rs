//! The realm's clocks, read here and nowhere else in the server.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::shard::Now;

/// Gives the time; all shards of a realm share one, so that their monotonic milliseconds agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        Now { monotonic: self.elapsed().as_millis() as u64, unix: unix_ms() }
    }

    /// Time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The instant at which the monotonic clock shows `ms`.
    pub fn instant(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }
}

/// Milliseconds since 1970-01-01T00:00Z.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
