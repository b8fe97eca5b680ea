//! Monotonic nanoseconds.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds per second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since the first call; publisher and subscribers are one process, so one origin serves both.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
