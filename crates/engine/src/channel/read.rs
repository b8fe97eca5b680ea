//! Positions and pages.

use std::ops::ControlFlow;
use std::sync::Arc;

use throughline_wire::event::{Eid, Event};
use throughline_wire::message::{ErrorCode, From, Gap, GapReason, ReplyError};

use super::gather::Gather;
use super::log::Log;
use super::{Channel, State};
use crate::store::StoreError;
use crate::types::{ChannelKind, Page, Position, Read, ReadLimit};

/// Durable events of a channel as one read of the disk gave them.
pub(super) struct Stored {
    pub(super) events: Vec<Arc<Event>>,
    /// They are all there are up to this EID.
    pub(super) coverage: Eid,
}

impl Channel {
    /// Where a subscription begins. A gap that the position itself knows of is that of another epoch; all others come with
    /// the first page. Fails with `bad_position` when the position is above the channel's head, or EID 0, with `channel_deleted`, and
    /// with `store_full` and `store_failed` when the disk has not taken the channel.
    pub fn position(&self, from: From, now: u64) -> Result<Position, ReplyError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(closed) = state.closed.as_ref().filter(|_| state.is_gone()) {
            return Err(self.closed_error(closed));
        }
        self.expire_front(state, now);
        let at = |cursor| Ok(Position { cursor, epoch: self.epoch, gap: None });
        let head = state.log.head;
        match from {
            From::New => at(head),
            From::All if self.attributes.kind == ChannelKind::Transient => at(head),
            From::All => at(state.log.before_first()),
            From::Eid(Eid(0)) => {
                Err(ReplyError::new(ErrorCode::BadPosition, "EIDs begin at 1; use \"all\" for everything"))
            }
            From::Eid(eid) if eid > head.next() => Err(self.beyond(eid, head)),
            From::Eid(eid) => at(Eid(eid.0 - 1)),
            From::After { after, epoch } if epoch != self.epoch => {
                let gap = Gap { from: after.next(), to: Eid::NONE, epoch: self.epoch, reason: GapReason::Epoch };
                Ok(Position { cursor: state.log.before_first(), epoch: self.epoch, gap: Some(gap) })
            }
            From::After { after, .. } if after > head => Err(self.beyond(after, head)),
            From::After { after, .. } => at(after),
        }
    }

    fn beyond(&self, eid: Eid, head: Eid) -> ReplyError {
        let message = format!(
            "event {eid} of channel {:?} was never given out; its last one is {head}. If the realm was started on a restored backup, \
             start it once with --restored; then subscribe without a position, or from one up to {head}",
            self.name
        );
        ReplyError::limit(ErrorCode::BadPosition, message, head.0)
    }

    /// The events after a cursor, as far as memory holds them. Never waits for the disk. The first events after `after` that are
    /// gone are reported by the page's gap; a gap further on ends the page and begins the next one. Of a channel that was deleted
    /// there is nothing to read.
    pub fn read(&self, after: Eid, limit: ReadLimit, now: u64) -> Read {
        let mut guard = self.lock();
        let state = &mut *guard;
        if after >= state.log.head || state.unreadable() {
            return Read::Page(Page { next: after, ..Page::default() });
        }
        self.expire_front(state, now);
        let log = &state.log;
        if after.max(log.removed.through) < log.floor {
            return Read::Stored;
        }
        let mut page = Gather::new(after, limit);
        let _ = page.removed(log).is_continue() && read_ring(&mut page, log, now).is_continue();
        Read::Page(page.finish(log.head, self.epoch))
    }

    /// The events after a cursor, from the disk where memory does not hold them. Waits for the disk. Otherwise as
    /// [`Channel::read`]; a page may end where memory begins.
    pub fn read_stored(&self, after: Eid, limit: ReadLimit, now: u64) -> Result<Page, StoreError> {
        let mut page = Gather::new(after, limit);
        loop {
            let start = {
                let mut guard = self.lock();
                let state = &mut *guard;
                if state.unreadable() {
                    return Ok(Page { next: after, ..Page::default() });
                }
                self.expire_front(state, now);
                page.cursor.max(state.log.removed.through)
            };
            let stored = self.read_disk(start, limit)?;
            let guard = self.lock();
            let state: &State = &guard;
            if state.unreadable() {
                return Ok(Page { next: after, ..Page::default() });
            }
            let head = state.log.head;
            let flow = read_merged(&mut page, &state.log, &stored, now);
            if flow.is_break() || !page.is_empty() || page.cursor >= head {
                return Ok(page.finish(head, self.epoch));
            }
        }
    }

    /// One read of the disk, and how far it covers what can be read.
    pub(super) fn read_disk(&self, after: Eid, limit: ReadLimit) -> Result<Stored, StoreError> {
        let head = self.head();
        if !self.attributes.kind.on_disk() || after >= head {
            return Ok(Stored { events: Vec::new(), coverage: head });
        }
        let (most, bytes) = (limit.events.max(1), limit.bytes.max(1));
        let events = self.shared.store.read(self.number, after, most, bytes)?;
        let read: usize = events.iter().map(|event| event.body.weight()).sum();
        let cut = events.len() >= most || read >= bytes;
        let coverage = match events.last() {
            Some(last) if cut => last.eid.min(head),
            _ => head,
        };
        Ok(Stored { events, coverage })
    }
}

/// Everything the ring holds after the page's cursor.
fn read_ring(page: &mut Gather, log: &Log, now: u64) -> ControlFlow<()> {
    let start = log.ring_start(page.cursor);
    for entry in log.ring.range(start..) {
        page.event(&entry.event, log, now)?;
    }
    page.nothing(log.head, log)
}

/// What the disk gave and what is in memory beside it, up to where the disk's answer ends.
fn read_merged(page: &mut Gather, log: &Log, stored: &Stored, now: u64) -> ControlFlow<()> {
    page.removed(log)?;
    if page.cursor >= log.floor {
        return read_ring(page, log, now);
    }
    let end = stored.coverage.min(log.floor);
    let mut disk = stored.events.iter().take_while(|event| event.eid <= end).peekable();
    let aside_start = log.aside.partition_point(|event| event.eid <= page.cursor);
    let mut aside = log.aside.range(aside_start..).take_while(|event| event.eid <= end).peekable();
    loop {
        let next = match (disk.peek(), aside.peek()) {
            (Some(a), Some(b)) if a.eid < b.eid => disk.next(),
            (_, Some(_)) => aside.next(),
            (Some(_), None) => disk.next(),
            (None, None) => break,
        };
        if let Some(event) = next {
            page.event(event, log, now)?;
        }
    }
    page.nothing(end, log)
}
