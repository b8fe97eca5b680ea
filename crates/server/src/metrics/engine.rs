//! What the engine counts, taken over when it is asked for.

use std::sync::atomic::Ordering;

use prometheus_client::registry::{Registry, Unit};
use throughline_engine::Totals;

use super::{Counter, Gauge};

#[derive(Debug, Default)]
pub(super) struct EngineNumbers {
    channels: Gauge,
    events: Gauge,
    bytes: Gauge,
    published: Counter,
    duplicates: Counter,
    rejected: Counter,
}

impl EngineNumbers {
    pub(super) fn take(&self, totals: &Totals) {
        let gauges = [(&self.channels, totals.channels), (&self.events, totals.events), (&self.bytes, totals.bytes)];
        for (gauge, number) in gauges {
            gauge.0.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        let counters = [
            (&self.published, totals.published),
            (&self.duplicates, totals.duplicates),
            (&self.rejected, totals.rejected),
        ];
        for (counter, number) in counters {
            counter.0.inner().store(number, Ordering::Relaxed);
        }
    }

    pub(super) fn register(registry: &mut Registry) -> EngineNumbers {
        let numbers = EngineNumbers::default();
        let gauges = [
            ("channels", "Channels that exist", &numbers.channels),
            ("events_kept", "Events that all channels keep, in memory or on disk", &numbers.events),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.0.clone());
        }
        registry.register_with_unit("events_kept", "Bytes of these events", Unit::Bytes, numbers.bytes.0.clone());
        let counters = [
            ("events_published", "Events accepted since the start", &numbers.published),
            (
                "publishes_duplicate",
                "Publishes that were repetitions, answered and not stored again",
                &numbers.duplicates,
            ),
            ("publishes_rejected", "Publishes answered with an error by the engine", &numbers.rejected),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.0.clone());
        }
        numbers
    }
}
