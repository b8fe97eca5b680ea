//! Delivery: at the end of a turn every link whose channels have something new is given what lies between its
//! cursors and the heads.
//!
//! The walk goes round the dirty channels with a quantum of links each, so that a small channel never waits behind a
//! large one, and hands control back after a budget, so that reads mix in.

use std::sync::Arc;

use throughline_engine::{Channel, Page, Read, ReadLimit};
use throughline_wire::event::Eid;

use crate::metrics::{Metrics, Source};

use super::frames::View;
use super::link::{Life, Link, Queued, Written};
use super::{LinkId, Now, PAGE_BYTES_MAX, PAGE_BYTES_MIN, ReadRequest, Shard, Sock};

/// Links of one channel that are served before the next channel has its turn.
const QUANTUM: usize = 64;
/// Links that are served before reads have their turn.
pub(super) const BUDGET: usize = 128;
/// Events of one page read for one link.
const PAGE_EVENTS: usize = 8192;

/// A channel that links of this shard subscribe to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) channel: Arc<Channel>,
    pub(super) members: Vec<Member>,
    views: Vec<View>,
    /// In the list of dirty channels.
    pub(super) dirty: bool,
    /// Something came, or a member moved, since the walk began: walk once more.
    pub(super) again: bool,
    /// The next member to serve; zero when no walk is under way.
    walk: usize,
    /// In the list of slots that hold frames.
    holds: bool,
}

/// A subscription, seen from its channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Key of the link.
    pub(super) link: u32,
    /// Place in the link's list.
    pub(super) sub: u32,
}

impl Slot {
    pub(super) fn new(channel: Arc<Channel>) -> Slot {
        let (members, views) = (Vec::new(), Vec::new());
        Slot { channel, members, views, dirty: false, again: false, walk: 0, holds: false }
    }

    /// True when the walk under way will not come to this place again.
    pub(super) const fn has_passed(&self, index: u32) -> bool {
        (index as usize) < self.walk
    }

    /// It may hold frames from now on, which are to be let go when the channel is quiet.
    fn hold(&mut self, key: u32, holding: &mut Vec<u32>) {
        if !self.holds {
            self.holds = true;
            holding.push(key);
        }
    }
}

/// A page that the disk gave for one link.
#[derive(Debug)]
pub(super) struct Arrived {
    link: LinkId,
    /// Number of the channel.
    channel: u32,
    after: Eid,
    page: Page,
    /// The page behind it is being read.
    ahead: bool,
}

/// How a visit to a subscription ended.
enum Pulled {
    /// It has everything, or its socket takes no more.
    Rest,
    /// There is more for it now.
    More,
    /// What it needs is on disk only.
    Stored,
}

impl<S: Sock> Shard<S> {
    /// Gives links what waits for them, for about a budget of links. True when there is more to do at once.
    ///
    /// To be called after input, mail, a writable link or a time-out; again while it returns true.
    #[must_use]
    pub fn flush(&mut self, now: Now) -> bool {
        let mut budget = BUDGET;
        for arrived in std::mem::take(&mut self.arrived) {
            self.stored(&arrived);
        }
        for _ in 0..self.queue.len().min(QUANTUM) {
            let Some(id) = self.queue.pop_front() else { break };
            self.flush_link(now, id);
            budget -= 1;
        }
        for _ in 0..self.behind.len().min(QUANTUM / 2) {
            let Some(id) = self.behind.pop_front() else { break };
            // A word that came meanwhile has moved it to the other queue.
            if self.link_mut(id).is_some_and(|link| link.queued == Queued::Behind) {
                self.flush_link(now, id);
            }
            budget -= 1;
        }
        while budget > 0 {
            let Some(key) = self.next_dirty() else { break };
            budget = budget.saturating_sub(self.walk(now, key).max(1));
        }
        if !self.has_more() || self.answered_at < now.monotonic {
            for _ in 0..self.answered.len().min(QUANTUM) {
                let Some(id) = self.answered.pop_front() else { break };
                if self.link_mut(id).is_some_and(|link| link.queued == Queued::Answered) {
                    self.flush_link(now, id);
                }
            }
        }
        self.has_more() || !self.answered.is_empty()
    }

    fn has_more(&self) -> bool {
        !self.queue.is_empty() || !self.behind.is_empty() || !self.dirty.is_empty() || !self.walking.is_empty()
    }

    /// Has the answer to a publish, which is pending, told once the events are delivered, or in the next millisecond.
    pub(super) fn enqueue_answered(&mut self, now: Now, id: LinkId) {
        if self.answered.is_empty() {
            self.answered_at = now.monotonic;
        }
        if let Some(link) = self.link_mut(id)
            && link.queued == Queued::No
        {
            link.queued = Queued::Answered;
            self.answered.push_back(id);
        }
    }

    /// Has a link looked at in the next flush.
    pub(super) fn enqueue(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id)
            && link.queued != Queued::Next
        {
            link.queued = Queued::Next;
            self.queue.push_back(id);
        }
    }

    /// Has a link that catches up looked at when it is its turn among such.
    pub(super) fn enqueue_behind(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id)
            && matches!(link.queued, Queued::No | Queued::Answered)
        {
            link.queued = Queued::Behind;
            self.behind.push_back(id);
        }
    }

    /// The channel whose turn it is: by turns one that has just become dirty, and one whose walk is under way. So
    /// the first waits for a quantum at most, and a stream of such does not stop the walk of a large channel.
    fn next_dirty(&mut self) -> Option<u32> {
        self.fresh_turn = !self.fresh_turn;
        let (first, second) =
            if self.fresh_turn { (&mut self.dirty, &mut self.walking) } else { (&mut self.walking, &mut self.dirty) };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// One quantum of a channel's walk; how many links were served.
    fn walk(&mut self, now: Now, key: u32) -> usize {
        let Some(slot) = self.slots.get_mut(key as usize) else { return 0 };
        if slot.walk == 0 {
            slot.again = false;
            slot.channel.seen(self.watcher);
        }
        for view in &mut slot.views {
            view.refresh(&slot.channel, &mut self.encoder, now.unix);
        }
        slot.hold(key, &mut self.holding);
        let begin = slot.walk.min(slot.members.len());
        let end = (begin + QUANTUM).min(slot.members.len());
        for at in begin..end {
            self.serve(now, key, at);
        }
        let Some(slot) = self.slots.get_mut(key as usize) else { return end - begin };
        slot.walk = if end < slot.members.len() { end } else { 0 };
        if slot.walk > 0 || slot.again {
            self.walking.push_back(key);
        } else {
            slot.dirty = false;
        }
        end - begin
    }

    fn serve(&mut self, now: Now, key: u32, at: usize) {
        let Some(slot) = self.slots.get_mut(key as usize) else { return };
        let Some(member) = slot.members.get(at).copied() else { return };
        let Some(link) = self.links.get_mut(member.link as usize) else { return };
        let id = LinkId { key: member.link, generation: link.generation };
        if link.blocked || matches!(link.queued, Queued::Behind | Queued::Next) {
            // It is served when its socket takes more, or by its own entry in the queue.
            return;
        }
        self.pull(now, id, member.sub as usize);
        // This may have been the last that a stopping realm owed it.
        self.close_if_drained(now, id);
    }

    /// Serves one link: what is pending first, then every subscription that is behind.
    fn flush_link(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.link_mut(id) else { return };
        link.queued = Queued::No;
        if link.blocked {
            return;
        }
        // So that the word and the end go out together: a poll takes what there is, and may be the last.
        self.close_if_drained(now, id);
        let Some(link) = self.link_mut(id) else { return };
        let flushed = link.flush_pending();
        self.note_blocked(id);
        self.note_resumed(id);
        if !flushed {
            return;
        }
        let Some(link) = self.link_mut(id) else { return };
        match link.life {
            Life::Closing { finish: true, .. } => {
                link.sock.shutdown();
                link.blocked = link.sock.is_behind();
                self.note_blocked(id);
            }
            Life::Closing { .. } => {}
            Life::Open => {
                for sub in 0..link.subs.len() {
                    self.pull(now, id, sub);
                }
                self.close_if_drained(now, id);
            }
        }
    }

    /// Gives one subscription what lies between its cursor and the head.
    fn pull(&mut self, now: Now, id: LinkId, index: usize) {
        let Shard { links, slots, encoder, logs, counts, holding, .. } = self;
        let Some(link) = links.get_mut(id.key as usize) else { return };
        let Some(sub) = link.subs.get(index) else { return };
        let Some(slot) = slots.get_mut(sub.slot as usize) else { return };
        let (key, cursor) = (sub.slot, sub.cursor);
        if sub.reading || link.blocked || !link.is_open() || cursor >= slot.channel.head() || !link.flush_pending() {
            self.note_blocked(id);
            return;
        }
        let view = match slot.views.iter_mut().position(|v| v.framing == link.framing) {
            Some(at) => &mut slot.views[at],
            None => {
                let log = logs.get(&slot.channel, link.framing);
                slot.views.push(View::new(link.framing, log));
                slot.hold(key, holding);
                let last = slot.views.len() - 1;
                slot.views[last].refresh(&slot.channel, encoder, now.unix);
                &mut slot.views[last]
            }
        };
        let (written, pulled) = match view.after(cursor) {
            Some(segments) => (link.write_segments(segments, cursor), Pulled::Rest),
            None => {
                let limit = ReadLimit { events: PAGE_EVENTS, bytes: link.page_bytes as usize };
                match slot.channel.read(cursor, limit, now.unix) {
                    Read::Page(page) => {
                        let written = write_page(link, encoder, slot.channel.number(), cursor, &page);
                        count_page(counts, Source::Memory, &page, &written);
                        let more = page.more && !link.blocked;
                        (written, if more { Pulled::More } else { Pulled::Rest })
                    }
                    Read::Stored => (Written { cursor, frames: 0, bytes: 0 }, Pulled::Stored),
                }
            }
        };
        counts.delivered.add(written.frames as u64);
        counts.bytes_out.add(written.bytes as u64);
        if let Some(sub) = link.subs.get_mut(index) {
            sub.cursor = written.cursor;
            sub.reading = matches!(pulled, Pulled::Stored);
        }
        let request = matches!(pulled, Pulled::Stored).then(|| ReadRequest {
            link: id,
            channel: Arc::clone(&slot.channel),
            after: cursor,
            limit: ReadLimit { events: PAGE_EVENTS, bytes: link.page_bytes as usize },
        });
        self.reads.extend(request);
        if matches!(pulled, Pulled::More) {
            self.enqueue_behind(id);
        }
        self.note_blocked(id);
    }

    /// The disk gave a page: the next flush writes it. For a link whose socket has taken the largest page whole, the one behind
    /// it is read meanwhile.
    pub(super) fn arrived(&mut self, link: LinkId, channel: u32, after: Eid, page: Page) {
        let ahead = self.read_ahead(link, channel, after, &page);
        self.arrived.push(Arrived { link, channel, after, page, ahead });
    }

    fn read_ahead(&mut self, id: LinkId, number: u32, after: Eid, page: &Page) -> bool {
        let Some((link, index)) = self.subscription(id, number) else { return false };
        let sub = &link.subs[index];
        let (slot, awaited) = (sub.slot, sub.reading && sub.cursor == after);
        let quick = awaited && page.more && !link.is_behind() && link.page_bytes == PAGE_BYTES_MAX;
        let Some(slot) = self.slots.get(slot as usize).filter(|_| quick) else { return false };
        let limit = ReadLimit { events: PAGE_EVENTS, bytes: PAGE_BYTES_MAX as usize };
        self.reads.push(ReadRequest { link: id, channel: Arc::clone(&slot.channel), after: page.next, limit });
        true
    }

    /// An open link's subscription to the channel with that number.
    pub(super) fn subscription(&mut self, id: LinkId, number: u32) -> Option<(&mut Link<S>, usize)> {
        let Shard { links, slots, .. } = self;
        let link = links.get_mut(id.key as usize).filter(|l| l.generation == id.generation)?;
        let subscribed = |slot: u32| slots.get(slot as usize).is_some_and(|s| s.channel.number() == number);
        let index = link.subs.iter().position(|s| subscribed(s.slot))?;
        Some((link, index))
    }

    /// A page that the disk gave for a link is written at once; what its socket does not take is read again later,
    /// so that a slow reader holds no memory.
    fn stored(&mut self, arrived: &Arrived) {
        let Arrived { link: id, channel, after, page, ahead } = arrived;
        let Some((link, index)) = self.subscription(*id, *channel) else { return };
        let sub = &mut link.subs[index];
        let awaited = std::mem::replace(&mut sub.reading, *ahead) && sub.cursor == *after;
        if awaited && link.is_open() && link.flush_pending() {
            let Shard { links, encoder, counts, .. } = self;
            let Some(link) = links.get_mut(id.key as usize) else { return };
            let written = write_page(link, encoder, *channel, *after, page);
            count_page(counts, Source::Disk, page, &written);
            counts.delivered.add(written.frames as u64);
            counts.bytes_out.add(written.bytes as u64);
            if let Some(sub) = link.subs.get_mut(index) {
                sub.cursor = written.cursor;
            }
        }
        self.note_blocked(*id);
        self.enqueue_behind(*id);
    }

    /// Lets go of frames of channels that are quiet.
    pub(super) fn rest(&mut self) {
        let Shard { holding, slots, .. } = self;
        holding.retain(|key| {
            let Some(slot) = slots.get_mut(*key as usize) else { return false };
            let held = slot.views.iter_mut().map(|view| !view.rest()).filter(|held| *held).count();
            slot.holds = held > 0;
            slot.holds
        });
        self.logs.sweep();
    }
}

/// A page's gap comes first, so it is told with the first bytes.
fn count_page(counts: &Metrics, source: Source, page: &Page, written: &Written) {
    counts.page_read(source);
    if let Some(gap) = page.gap.filter(|_| written.bytes > 0) {
        counts.gap(&gap);
    }
}

/// Writes a page read for one link, and learns how large its next page should be.
fn write_page<S: Sock>(
    link: &mut Link<S>,
    encoder: &mut super::frames::Encoder,
    number: u32,
    after: Eid,
    page: &Page,
) -> Written {
    let segment = encoder.page(link.framing, number, after, page);
    let mut written = link.write_segment(&segment, after, 0);
    if written.bytes == segment.bytes.len() {
        written.cursor = written.cursor.max(page.next);
        link.page_bytes = link.page_bytes.saturating_mul(2).min(PAGE_BYTES_MAX);
    } else {
        link.page_bytes = (written.bytes as u32).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    }
    written
}
