//! A page of events in the making, with the gap before it.

use std::ops::ControlFlow;
use std::sync::Arc;

use throughline_wire::event::{Eid, Epoch, Event};
use throughline_wire::message::{Gap, GapReason};

use super::log::Log;
use crate::types::{Page, ReadLimit};

/// Collects events in order. A page has one gap at most, before its first event: a second one ends it.
#[derive(Debug)]
pub(crate) struct Gather {
    after: Eid,
    /// Everything up to here is in the page, in its gap, or never was.
    pub(crate) cursor: Eid,
    missed: Option<(Eid, GapReason)>,
    events: Vec<Arc<Event>>,
    events_left: usize,
    bytes_left: usize,
}

impl Gather {
    pub(crate) fn new(after: Eid, limit: ReadLimit) -> Gather {
        Gather {
            after,
            cursor: after,
            missed: None,
            events: Vec::new(),
            events_left: limit.events.max(1),
            bytes_left: limit.bytes,
        }
    }

    /// Reports events up to `through` as missed, unless the cursor is past them.
    fn miss(&mut self, through: Eid, reason: GapReason) -> ControlFlow<()> {
        if self.cursor >= through {
            return ControlFlow::Continue(());
        }
        if !self.events.is_empty() {
            return ControlFlow::Break(());
        }
        self.missed = Some((through, reason));
        self.cursor = through;
        ControlFlow::Continue(())
    }

    /// Accounts for what the channel has removed.
    pub(crate) fn removed(&mut self, log: &Log) -> ControlFlow<()> {
        self.miss(log.removed.through, log.removed.reason)
    }

    /// Takes the next event that the channel holds.
    pub(crate) fn event(&mut self, event: &Arc<Event>, log: &Log, now: u64) -> ControlFlow<()> {
        if event.eid <= self.cursor {
            return ControlFlow::Continue(());
        }
        self.miss(Eid(event.eid.0.saturating_sub(1)).min(log.lost), GapReason::Restart)?;
        if log.expires(event) <= now {
            return self.miss(event.eid, GapReason::Expired);
        }
        self.cursor = event.eid;
        self.events.push(Arc::clone(event));
        self.events_left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(event.body.weight());
        if self.events_left == 0 || self.bytes_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Accounts for there being nothing more up to `through`.
    pub(crate) fn nothing(&mut self, through: Eid, log: &Log) -> ControlFlow<()> {
        self.miss(through.min(log.lost), GapReason::Restart)?;
        self.cursor = self.cursor.max(through);
        ControlFlow::Continue(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn finish(self, head: Eid, epoch: Epoch) -> Page {
        let gap = self.missed.map(|(through, reason)| {
            let to = self.events.first().map_or(through, |event| Eid(event.eid.0.saturating_sub(1)));
            Gap { from: self.after.next(), to, epoch, reason }
        });
        Page { gap, events: self.events, next: self.cursor, more: self.cursor < head }
    }
}
