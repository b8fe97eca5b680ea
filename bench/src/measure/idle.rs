//! What connections cost that do nothing, and what making them costs.

use serde_json::json;

use super::{Bench, CONNECT_LIMIT, Figures, figures, nanoseconds, rounded};
use crate::clock::SECOND;
use crate::usage;

impl Bench<'_> {
    pub(super) fn idle(&mut self, connections: usize) -> Result<Figures, String> {
        let (memory, slabs) = (usage::memory(&self.pids()), usage::socket_slabs());
        let start = self.snapshot();
        self.load.connect(connections, self.options.inflight, CONNECT_LIMIT)?;
        let connected = self.snapshot();
        self.idle_for(nanoseconds(self.options.rest));
        let (memory_after, slabs_after) = (usage::memory(&self.pids()), usage::socket_slabs());
        let rested = self.snapshot();
        self.idle_for(nanoseconds(self.options.secs));
        let end = self.snapshot();
        let each = |a: u64, b: u64| rounded((b as f64 - a as f64) / connections as f64);
        let secs = (connected.time - start.time) as f64 / SECOND as f64;
        let idle = self.cpu_between(&rested, &end);
        let mut figures = figures([
            ("rss_kib_per_conn", each(memory.0, memory_after.0)),
            ("pss_kib_per_conn", each(memory.1, memory_after.1)),
            ("rss_mib_before", rounded(memory.0 as f64 / 1024.0)),
            ("kernel_slab_kib_per_pair", each(slabs / 1024, slabs_after / 1024)),
            ("connects_s", json!((connections as f64 / secs).round())),
            ("cpu_us_per_connect", rounded((connected.server_cpu.0 - start.server_cpu.0) * 1e6 / connections as f64)),
            ("idle_cpu_pct", idle.get("server_cpu_pct").cloned().unwrap_or_default()),
            ("processes", json!(self.pids().len())),
            ("disconnected", json!(self.load.dead)),
        ]);
        figures.extend(idle);
        Ok(figures)
    }

    pub(super) fn storm(&mut self, connections: usize) -> Result<Figures, String> {
        let start = self.snapshot();
        self.load.connect(connections, self.options.inflight, CONNECT_LIMIT)?;
        let end = self.snapshot();
        let secs = (end.time - start.time) as f64 / SECOND as f64;
        let cpu = end.server_cpu.0 - start.server_cpu.0;
        let mut figures = figures([
            ("secs", rounded(secs)),
            ("connects_s", json!((connections as f64 / secs).round())),
            ("cpu_us_per_connect", rounded(cpu * 1e6 / connections as f64)),
            ("disconnected", json!(self.load.dead)),
        ]);
        figures.extend(self.cpu_between(&start, &end));
        Ok(figures)
    }
}
