//! What is counted of the disk: once for each commit, and for each error.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use throughline_engine::store::StoreError;
use throughline_store::Progress;

use super::{Counter, counters_by};
use crate::clock::{Clock, unix_ms};

/// Counted by the store's thread, and where its events are read.
#[derive(Clone, Debug)]
pub(super) struct StoreNumbers {
    commit_seconds: Histogram,
    commit_events: Histogram,
    latency_seconds: Histogram,
    /// Writes for which there was no room.
    full: Counter,
    writes_failed: Counter,
    pub(super) reads_failed: Counter,
    /// 1 while events are refused for want of room.
    without_room: Gauge,
}

impl StoreNumbers {
    pub(super) fn register(registry: &mut Registry) -> StoreNumbers {
        let help = "Reads and writes that the store did not do, by kind";
        let [full, writes_failed, reads_failed] =
            counters_by(registry, "store_errors", help, "kind", ["full", "write", "read"]);
        let numbers = StoreNumbers {
            // 100 us to 6.5 s.
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 17)),
            // Up to the most events that a commit takes.
            commit_events: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            // 1 ms, which is as fine as events know their time, to 16 s.
            latency_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            full,
            writes_failed,
            reads_failed,
            without_room: Gauge::default(),
        };
        let help = "1 while events are refused because the disk lacks room, otherwise 0";
        registry.register("store_full", help, numbers.without_room.clone());
        let help = "Time of the commits that reached the disk";
        registry.register_with_unit("store_commit", help, Unit::Seconds, numbers.commit_seconds.clone());
        registry.register("store_commit_events", "Events in these commits", numbers.commit_events.clone());
        let help = "Time from the acceptance of a commit's first event until it was on disk";
        registry.register_with_unit("store_latency", help, Unit::Seconds, numbers.latency_seconds.clone());
        numbers
    }

    /// Whether events are refused for want of room.
    pub(super) fn is_full(&self) -> bool {
        self.without_room.get() != 0
    }

    /// Counts what a store tells.
    pub(super) fn watch(&self) -> impl FnMut(Progress<'_>) + Send + use<> {
        let (numbers, mut begun) = (self.clone(), Clock::start());
        move |progress| match progress {
            Progress::Begun => begun = Clock::start(),
            Progress::Committed { events, oldest } => {
                numbers.commit_seconds.observe(begun.elapsed().as_secs_f64());
                numbers.commit_events.observe(events as f64);
                if let Some(oldest) = oldest {
                    numbers.latency_seconds.observe(unix_ms().saturating_sub(oldest) as f64 / 1000.0);
                }
            }
            Progress::Failed(StoreError::Full(_)) => numbers.full.inc(),
            Progress::Failed(StoreError::Failed(_)) => numbers.writes_failed.inc(),
            Progress::Full(full) => {
                numbers.without_room.set(i64::from(full));
            }
        }
    }
}
