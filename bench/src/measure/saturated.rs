//! Closed loops: as much as the subscribers take.

use std::time::Duration;

use serde_json::json;

use super::{Bench, CONNECT_LIMIT, Figures, PUBLISHERS_LIMIT, Snapshot, figures, latency, nanoseconds};
use crate::clock::{SECOND, now};
use crate::load::{Load, Record};

/// Nanoseconds without a delivery after which what is under way is given up.
const STALL: u64 = 3 * SECOND / 2;
/// Stalls after which the run is given up.
const STALLS_MAX: u32 = 6;
/// Nanoseconds between two messages beside the saturated channel.
const PING_INTERVAL: u64 = 5_000_000;
/// Connections served between two looks at the second channel, so that the generator adds little to its latency.
const BESIDE_BATCH: usize = 16;

/// A closed loop under way.
struct Loop {
    publishers: usize,
    /// Whose turn it is.
    turn: usize,
    /// Deliveries that are no longer expected.
    given_up: u64,
    /// Deliveries, and when their number last grew.
    progress: (u64, u64),
    stalls: u32,
}

impl Loop {
    fn new(publishers: usize) -> Loop {
        Loop { publishers, turn: 0, given_up: 0, progress: (0, now()), stalls: 0 }
    }

    /// Publishes what the window allows: each publisher one message in turn.
    fn publish(&mut self, load: &mut Load, window: u64) -> Result<(), String> {
        let subscribers = load.subscribers();
        if subscribers == 0 {
            return Err(format!("all subscribers were disconnected after {} messages", load.published));
        }
        let behind = load.expected.saturating_sub(load.counts.delivered + self.given_up) / subscribers;
        for _ in behind..window {
            if !load.can_publish(self.turn) {
                break;
            }
            load.publish(self.turn, 0, now());
            self.turn = (self.turn + 1) % self.publishers;
        }
        load.flush_publishers();
        Ok(())
    }

    fn check_progress(&mut self, load: &Load) -> Result<(), String> {
        let time = now();
        if load.counts.delivered != self.progress.0 {
            self.progress = (load.counts.delivered, time);
        } else if time - self.progress.1 > STALL {
            self.stalls += 1;
            self.given_up = load.expected.saturating_sub(load.counts.delivered);
            self.progress.1 = time;
            if self.stalls > STALLS_MAX {
                return Err(format!("no progress: {} delivered of {}", load.counts.delivered, load.expected));
            }
        }
        Ok(())
    }
}

/// Messages at a fixed rate on a channel of their own.
struct Pings {
    load: Load,
    due: u64,
}

impl Pings {
    fn send_and_receive(&mut self) {
        while now() >= self.due {
            if self.load.can_publish(0) {
                self.load.publish(0, 0, self.due);
            }
            self.due += PING_INTERVAL;
        }
        self.load.flush_publishers();
        self.load.poll(Duration::ZERO);
    }
}

impl Bench<'_> {
    pub(super) fn saturate(&mut self, publishers: usize, subscribers: usize) -> Result<Figures, String> {
        self.connect(subscribers, publishers)?;
        let mut state = Loop::new(publishers);
        self.turn_for(self.options.warm, &mut state, None)?;
        self.load.record = Record::Deliveries;
        let start = self.snapshot();
        self.turn_for(self.options.secs, &mut state, None)?;
        let end = self.snapshot();
        self.load.record = Record::Nothing;
        let latency = latency(&self.load.latency);
        let mut figures = self.finish(&start, &end, &state);
        figures.extend(latency);
        Ok(figures)
    }

    /// Latencies are those of the second channel, everything else is of the first.
    pub(super) fn beside(&mut self, subscribers: usize) -> Result<Figures, String> {
        let load = Load::new(self.profile, 1, self.options.payload)?;
        let mut pings = Pings { load, due: 0 };
        pings.load.connect(1, 1, CONNECT_LIMIT)?;
        pings.load.connect_publishers(1, PUBLISHERS_LIMIT)?;
        let saturating = Load::new(self.profile, 1, self.options.payload)?;
        self.load = saturating.in_batches_of(BESIDE_BATCH);
        self.connect(subscribers, 1)?;
        pings.due = now();
        let mut state = Loop::new(1);
        self.turn_for(self.options.warm, &mut state, Some(&mut pings))?;
        pings.load.record = Record::Deliveries;
        let start = self.snapshot();
        self.turn_for(self.options.secs, &mut state, Some(&mut pings))?;
        let end = self.snapshot();
        // The second channel first: a message of it that is under way would wait for the whole of the other's rest, and
        // that is the generator's doing.
        std::mem::swap(&mut self.load, &mut pings.load);
        let second = self.settle();
        std::mem::swap(&mut self.load, &mut pings.load);
        let mut figures = self.finish(&start, &end, &state);
        figures.extend(latency(&pings.load.latency));
        for (name, value) in second {
            figures.insert(format!("ping_{name}"), value);
        }
        figures.insert("pings".into(), json!(pings.load.published));
        Ok(figures)
    }

    fn turn_for(&mut self, secs: f64, state: &mut Loop, mut pings: Option<&mut Pings>) -> Result<(), String> {
        let end = now() + nanoseconds(secs);
        while now() < end {
            state.publish(&mut self.load, self.options.window)?;
            match &mut pings {
                None => self.load.poll(Duration::from_millis(5)),
                Some(pings) => {
                    self.load.poll(Duration::ZERO);
                    pings.send_and_receive();
                }
            }
            state.check_progress(&self.load)?;
        }
        Ok(())
    }

    fn finish(&mut self, start: &Snapshot, end: &Snapshot, state: &Loop) -> Figures {
        let mut figures = self.between(start, end);
        figures.extend(self.settle());
        figures.extend(self::figures([("stalls", json!(state.stalls))]));
        figures
    }
}
