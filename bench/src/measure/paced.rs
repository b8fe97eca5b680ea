//! Open loops at a fixed rate, and one message at a time.

use std::time::Duration;

use super::{Bench, Figures, latency};
use crate::clock::{SECOND, now};
use crate::load::Record;

/// Nanoseconds that a publisher may be blocked.
const BLOCKED_MAX: u64 = 5 * SECOND;
/// Nanoseconds that a single message may take.
const ANSWER_MAX: u64 = 2 * SECOND;
/// Nanoseconds between the last step of preparation and the first message.
const LEAD: u64 = SECOND / 20;

impl Bench<'_> {
    /// Latency counts from when a message was due, so that a stalled publisher is not hidden.
    pub(super) fn rate(&mut self, subscribers: usize, per_second: f64) -> Result<Figures, String> {
        self.connect(subscribers, 1)?;
        let step = SECOND as f64 / per_second;
        let first = now() + LEAD;
        let warm = (self.options.warm * per_second) as u64;
        let total = ((self.options.warm + self.options.secs) * per_second) as u64;
        let (mut sent, mut channel) = (0, 0);
        let mut start = self.snapshot();
        while sent < total {
            let (time, due) = (now(), first + (sent as f64 * step) as u64);
            if time < due {
                self.load.poll(Duration::from_nanos((due - time).min(SECOND / 50)));
                continue;
            }
            if sent == warm {
                start = self.snapshot();
                self.load.record = Record::Deliveries;
            }
            if self.load.can_publish(0) {
                self.load.publish(0, channel, due);
                self.load.flush_publishers();
                channel = (channel + 1) % self.load.channels();
                sent += 1;
            } else if time - due > BLOCKED_MAX {
                return Err("the publisher's connection is blocked or gone".into());
            }
            self.load.poll(Duration::ZERO);
        }
        let settled = self.settle();
        let mut figures = self.between(&start, &self.snapshot());
        figures.extend(settled);
        figures.extend(latency(&self.load.latency));
        Ok(figures)
    }

    pub(super) fn ping(&mut self, count: usize) -> Result<Figures, String> {
        self.connect(1, 1)?;
        for _ in 0..count / 10 {
            self.ping_once()?;
        }
        let start = self.snapshot();
        self.load.record = Record::Deliveries;
        for _ in 0..count {
            self.ping_once()?;
        }
        let mut figures = self.between(&start, &self.snapshot());
        figures.extend(self.settle());
        figures.extend(latency(&self.load.latency));
        Ok(figures)
    }

    fn ping_once(&mut self) -> Result<(), String> {
        let end = now() + ANSWER_MAX;
        while !self.load.can_publish(0) && now() < end {
            self.load.poll(Duration::from_millis(1));
        }
        let wanted = self.load.counts.delivered + 1;
        self.load.publish(0, 0, now());
        self.load.flush_publishers();
        while self.load.counts.delivered < wanted {
            self.load.poll(Duration::from_millis(20));
            if now() > end {
                return Err(format!("message {wanted} did not arrive in {} s", ANSWER_MAX / SECOND));
            }
        }
        Ok(())
    }
}
