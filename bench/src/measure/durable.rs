//! Persistent channels: how many events are acknowledged, and how fast stored ones are read back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{Bench, CONNECT_LIMIT, Figures, PATIENCE, PUBLISHERS_LIMIT, figures, latency, nanoseconds, rounded};
use crate::clock::{SECOND, now};
use crate::load::Record;
use crate::template::{Context, fill};

/// Publishers that store what is then replayed.
const STORING: usize = 4;

impl Bench<'_> {
    pub(super) fn durable(&mut self, publishers: usize) -> Result<Figures, String> {
        self.prepare(publishers)?;
        let warm = now() + nanoseconds(self.options.warm);
        while now() < warm {
            self.store(publishers, u64::MAX);
        }
        self.load.record = Record::Acknowledgements;
        let start = self.snapshot();
        let end = now() + nanoseconds(self.options.secs);
        while now() < end {
            self.store(publishers, u64::MAX);
        }
        let end = self.snapshot();
        let acknowledged = (end.counts.acknowledged - start.counts.acknowledged) as f64;
        let secs = (end.time - start.time) as f64 / SECOND as f64;
        let cpu = end.server_cpu.0 - start.server_cpu.0;
        let mut figures = figures([
            ("events_s", json!((acknowledged / secs).round())),
            ("cpu_us_per_event", rounded(cpu * 1e6 / acknowledged.max(1.0))),
        ]);
        figures.extend(self.cpu_between(&start, &end));
        figures.extend(latency(&self.load.latency));
        self.await_acknowledgements(self.load.published);
        let missing = self.load.published - self.load.counts.acknowledged;
        figures.insert("unacknowledged".into(), json!(missing));
        figures.insert("disconnected".into(), json!(self.load.dead));
        Ok(figures)
    }

    pub(super) fn replay(&mut self, events: u64) -> Result<Figures, String> {
        let endpoint = self.profile.replay.as_ref().ok_or("the profile has no [replay]")?;
        self.prepare(STORING)?;
        let storing = now();
        let mut last = (0, now());
        while self.load.counts.acknowledged < events {
            self.store(STORING, events);
            if self.load.counts.acknowledged != last.0 {
                last = (self.load.counts.acknowledged, now());
            } else if now() - last.1 > PATIENCE {
                return Err(format!("only {} of {events} events were acknowledged", last.0));
            }
        }
        let stored_in = (now() - storing) as f64 / SECOND as f64;
        self.load.subscribe_by(endpoint)?;
        let start = self.snapshot();
        self.load.expected = events;
        self.load.connect(1, 1, CONNECT_LIMIT)?;
        let mut last = (0, now());
        while self.load.counts.delivered < events && now() - last.1 < PATIENCE {
            self.load.poll(Duration::from_millis(5));
            if self.load.counts.delivered != last.0 {
                last = (self.load.counts.delivered, now());
            }
        }
        let end = self.snapshot();
        let secs = (end.time - start.time) as f64 / SECOND as f64;
        let mut figures = self.between(&start, &end);
        figures.insert("events_s".into(), json!((self.load.counts.delivered as f64 / secs).round()));
        figures.insert("stored_s".into(), json!((events as f64 / stored_in).round()));
        figures.extend(self.settle());
        Ok(figures)
    }

    /// Makes the persistent channel and connects its publishers.
    fn prepare(&mut self, publishers: usize) -> Result<(), String> {
        if self.profile.publisher.ack.is_none() {
            return Err("the profile's [pub] has no ack".into());
        }
        let template = self.profile.persistent.as_deref().ok_or("the profile has no `persistent`")?;
        let request = fill(template, &Context { channel: self.load.channel(0), ..Context::default() });
        let answer =
            exchange(&self.profile.publisher.addr, &request).map_err(|e| format!("making the channel: {e}"))?;
        if !answer.starts_with("HTTP/1.1 20") {
            return Err(format!("making the channel: {answer}"));
        }
        self.load.connect_publishers(publishers, PUBLISHERS_LIMIT)
    }

    /// Fills each publisher's window, up to `total` messages in all, and reads acknowledgements.
    fn store(&mut self, publishers: usize, total: u64) {
        for publisher in 0..publishers {
            let window = self.options.window as usize;
            while self.load.published < total
                && self.load.unacknowledged(publisher) < window
                && self.load.can_publish(publisher)
            {
                self.load.publish(publisher, 0, now());
            }
        }
        self.load.flush_publishers();
        self.load.poll(Duration::from_millis(5));
    }

    fn await_acknowledgements(&mut self, wanted: u64) {
        let end = now() + PATIENCE;
        while self.load.counts.acknowledged < wanted && now() < end {
            self.load.flush_publishers();
            self.load.poll(Duration::from_millis(5));
        }
    }
}

/// A request whose connection the server closes after its answer.
fn exchange(addr: &str, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
