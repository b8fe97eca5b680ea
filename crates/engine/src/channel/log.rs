//! The events a channel keeps: which of them are in memory, which are gone, and why.

use std::collections::VecDeque;
use std::sync::Arc;

use throughline_wire::event::{Eid, Event};
use throughline_wire::message::GapReason;

use crate::settings::Settings;
use crate::types::{ChannelAttributes, ChannelKind};

/// What an event in memory costs beside its body, bytes.
const EVENT_OVERHEAD: u64 = 200;
/// Events on disk whose weight and end are remembered; 24 bytes each.
const INDEX_EVENTS_MAX: usize = 65_536;
/// Below so many the index is filled up from the disk, before the channel's limits need it.
const INDEX_EVENTS_MIN: usize = 1_024;
/// Most events that are removed from the disk at once.
const TRIM_EVENTS_MAX: u64 = 4_096;

/// An event in memory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) event: Arc<Event>,
    /// True when it is on disk too.
    pub(crate) stored: bool,
}

/// What has to be known of an event on disk to remove it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    eid: Eid,
    expires: u64,
    weight: u32,
}

/// The last event that was removed. Events go from the oldest, so all below it are gone as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removed {
    pub(crate) through: Eid,
    pub(crate) reason: GapReason,
}

/// The kept events of one channel.
///
/// Channels in memory keep every event in `ring`. Channels on disk keep the newest there; of the older ones, those that are
/// not on disk (`mixed` channels) are in `aside`. What these remove is found by `index`, which knows their oldest events; if that
/// is empty and `unindexed` is not, the disk has to be asked first.
#[derive(Debug)]
pub(crate) struct Log {
    attributes: ChannelAttributes,
    ring_events_max: usize,
    ring_bytes_max: u64,
    /// The newest event that can be read.
    pub(crate) head: Eid,
    pub(crate) ring: VecDeque<Entry>,
    ring_bytes: u64,
    /// Kept events up to this one are not in `ring`.
    pub(crate) floor: Eid,
    pub(crate) aside: VecDeque<Arc<Event>>,
    /// Bytes of `ring` and `aside`.
    pub(crate) memory: u64,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    index: VecDeque<Meta>,
    /// Kept events above those of `index`.
    unindexed: u64,
    pub(crate) removed: Removed,
    /// On `mixed` channels: EIDs up to this one that are not on disk may have been given out before the realm's start.
    pub(crate) lost: Eid,
    /// The newest event on disk. On a `persistent` channel it stays there, expired or not, so that its EID is not given out again after
    /// a restart; a `mixed` one has its reserved EIDs for that.
    newest_stored: Eid,
    trimmed: Eid,
    untrimmed_events: u64,
    untrimmed_bytes: u64,
}

/// What the disk holds of a channel at the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) first: Eid,
    pub(crate) last: Eid,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) head: Eid,
    pub(crate) lost: Eid,
}

fn weight(event: &Event) -> u64 {
    event.body.weight() as u64
}

fn footprint(event: &Event) -> u64 {
    weight(event) + EVENT_OVERHEAD
}

impl Log {
    pub(crate) fn new(attributes: ChannelAttributes, settings: &Settings) -> Log {
        Log::recovered(attributes, settings, Recovered::default())
    }

    pub(crate) fn recovered(attributes: ChannelAttributes, settings: &Settings, found: Recovered) -> Log {
        // The disk does not say why what is below its first event went; this is the likeliest.
        let reason = match attributes {
            ChannelAttributes { kind: ChannelKind::Mixed, .. } => GapReason::Restart,
            ChannelAttributes { ttl: Some(_), capacity: None, bytes: None, .. } => GapReason::Expired,
            _ => GapReason::Capacity,
        };
        let gone = if found.events == 0 { found.last.0 } else { found.first.0.saturating_sub(1) };
        Log {
            attributes,
            ring_events_max: settings.ring_events_max.max(1),
            ring_bytes_max: settings.ring_bytes_max as u64,
            head: found.head,
            ring: VecDeque::new(),
            ring_bytes: 0,
            floor: found.head,
            aside: VecDeque::new(),
            memory: 0,
            events: found.events,
            bytes: found.bytes,
            index: VecDeque::new(),
            unindexed: found.events,
            removed: Removed { through: Eid(gone), reason },
            lost: found.lost,
            newest_stored: found.last,
            trimmed: Eid(gone),
            untrimmed_events: 0,
            untrimmed_bytes: 0,
        }
    }

    fn on_disk(&self) -> bool {
        self.attributes.kind.on_disk()
    }

    /// When an event ends: the channel's time to live or its own, whichever is shorter.
    pub(crate) fn expires(&self, event: &Event) -> u64 {
        let ttl = match (self.attributes.ttl, event.body.ttl) {
            (Some(a), Some(b)) => a.min(b),
            (Some(ttl), None) | (None, Some(ttl)) => ttl,
            (None, None) => return u64::MAX,
        };
        event.time.saturating_add(ttl)
    }

    /// Takes the next event. The limits are not enforced yet.
    pub(crate) fn push(&mut self, event: Arc<Event>, stored: bool) {
        self.head = event.eid;
        self.events += 1;
        self.bytes += weight(&event);
        self.memory += footprint(&event);
        self.ring_bytes += weight(&event);
        if self.on_disk() {
            if self.unindexed == 0 && self.index.len() < INDEX_EVENTS_MAX {
                self.index.push_back(self.meta(&event));
            } else {
                self.unindexed += 1;
            }
        }
        if stored {
            self.newest_stored = event.eid;
        }
        self.ring.push_back(Entry { event, stored });
    }

    fn meta(&self, event: &Event) -> Meta {
        Meta { eid: event.eid, expires: self.expires(event), weight: u32::try_from(weight(event)).unwrap_or(u32::MAX) }
    }

    /// Removes what is over the channel's limits or has expired.
    pub(crate) fn enforce(&mut self, now: u64) {
        while self.front_expires() <= now && self.remove_front(GapReason::Expired) {}
        let (ring_capacity, ring_bytes) = match self.attributes.kind {
            ChannelKind::Transient => (self.ring_events_max as u64, self.ring_bytes_max),
            _ => (u64::MAX, u64::MAX),
        };
        let capacity = self.attributes.capacity.unwrap_or(u64::MAX).min(ring_capacity).max(1);
        let bytes = self.attributes.bytes.unwrap_or(u64::MAX).min(ring_bytes);
        while self.events > capacity || (self.bytes > bytes && self.events > 1) {
            if !self.remove_front(GapReason::Capacity) {
                break;
            }
        }
        if self.on_disk() {
            while self.ring.len() > self.ring_events_max
                || (self.ring_bytes > self.ring_bytes_max && self.ring.len() > 1)
            {
                self.shift_ring();
            }
        }
    }

    /// When the oldest event ends; `u64::MAX` for never or unknown.
    pub(crate) fn front_expires(&self) -> u64 {
        if self.on_disk() {
            self.index.front().map_or(u64::MAX, |meta| meta.expires)
        } else {
            self.ring.front().map_or(u64::MAX, |entry| self.expires(&entry.event))
        }
    }

    /// Removes the oldest event; false when it is not known, or there is none.
    fn remove_front(&mut self, reason: GapReason) -> bool {
        if !self.on_disk() {
            return match self.pop_ring() {
                Some(entry) => {
                    self.count_out(entry.event.eid, weight(&entry.event), reason);
                    true
                }
                None => false,
            };
        }
        let Some(meta) = self.index.pop_front() else { return false };
        self.count_out(meta.eid, u64::from(meta.weight), reason);
        self.untrimmed_events += 1;
        self.untrimmed_bytes += u64::from(meta.weight);
        while self.aside.front().is_some_and(|event| event.eid <= meta.eid) {
            if let Some(event) = self.aside.pop_front() {
                self.memory -= footprint(&event);
            }
        }
        while self.ring.front().is_some_and(|entry| entry.event.eid <= meta.eid) {
            self.pop_ring();
        }
        true
    }

    fn count_out(&mut self, eid: Eid, weight: u64, reason: GapReason) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(weight);
        self.removed = Removed { through: eid, reason };
    }

    fn pop_ring(&mut self) -> Option<Entry> {
        let entry = self.ring.pop_front()?;
        self.ring_bytes -= weight(&entry.event);
        self.memory -= footprint(&entry.event);
        self.floor = entry.event.eid;
        Some(entry)
    }

    /// Takes the oldest event out of the ring of a channel on disk.
    fn shift_ring(&mut self) {
        if let Some(entry) = self.pop_ring()
            && !entry.stored
        {
            self.memory += footprint(&entry.event);
            self.aside.push_back(entry.event);
        }
    }

    /// Gives up about `bytes` of memory, but not the newest event unless `newest` says so, or it is on disk.
    pub(crate) fn shed(&mut self, bytes: u64, newest: bool) {
        let aim = self.memory.saturating_sub(bytes);
        let kept = |log: &Log| usize::from(!newest && log.ring.back().is_some_and(|entry| !entry.stored));
        while self.memory > aim && self.ring.len() > kept(self) {
            if self.on_disk() {
                self.shift_ring();
            } else {
                self.remove_front(GapReason::Capacity);
            }
        }
    }

    /// Frees everything.
    pub(crate) fn clear(&mut self) {
        self.ring = VecDeque::new();
        self.aside = VecDeque::new();
        self.index = VecDeque::new();
        (self.ring_bytes, self.memory, self.events, self.bytes, self.unindexed) = (0, 0, 0, 0, 0);
        self.removed.through = self.head;
        self.floor = self.head;
    }

    /// True when the limits will need to know more of the disk than `index` holds, once that many more events have come.
    pub(crate) fn wants_index(&self, events: u64, bytes: u64) -> bool {
        if self.unindexed == 0 || self.index.len() >= INDEX_EVENTS_MIN {
            return false;
        }
        let events = self.events.saturating_add(events).saturating_add(2 * INDEX_EVENTS_MIN as u64);
        let bytes = self.bytes.saturating_add(bytes);
        self.attributes.ttl.is_some()
            || self.attributes.capacity.is_some_and(|capacity| events > capacity)
            || self.attributes.bytes.is_some_and(|limit| bytes.saturating_add(limit / 8) > limit)
    }

    /// The event after which `index` wants to know more.
    pub(crate) fn index_end(&self) -> Eid {
        self.index.back().map_or(self.removed.through, |meta| meta.eid.max(self.removed.through))
    }

    /// Fills `index` with the events after [`Log::index_end`]: those that the disk gave, which are complete up to `coverage`, and
    /// those in memory.
    pub(crate) fn extend_index(&mut self, stored: &[Arc<Event>], coverage: Eid) {
        let after = self.index_end();
        let end = if coverage >= self.floor { self.head } else { coverage };
        let memory = self.ring.iter().filter(|entry| !entry.stored || entry.event.eid > coverage);
        let memory = self.aside.iter().chain(memory.map(|entry| &entry.event));
        let disk = stored.iter().filter(|event| event.eid <= coverage);
        let wanted = disk.chain(memory).filter(|event| event.eid > after && event.eid <= end);
        let mut found: Vec<Meta> = wanted.map(|event| self.meta(event)).collect();
        found.sort_unstable_by_key(|meta| meta.eid);
        self.unindexed = self.unindexed.saturating_sub(found.len() as u64);
        self.index.extend(found);
        if end == self.head {
            self.unindexed = 0;
            self.events = self.index.len() as u64;
            self.bytes = self.index.iter().map(|meta| u64::from(meta.weight)).sum();
        }
    }

    /// The EID up to which the disk should forget now, if it is worth it or `all` is wanted.
    pub(crate) fn trim(&mut self, all: bool) -> Option<Eid> {
        let batch = |limit: Option<u64>| limit.map_or(u64::MAX, |limit| (limit / 16).max(1));
        let worth = self.untrimmed_events >= batch(self.attributes.capacity).min(TRIM_EVENTS_MAX)
            || self.untrimmed_bytes >= batch(self.attributes.bytes);
        let through = self.trimmable();
        if through <= self.trimmed || !(worth || all) {
            return None;
        }
        self.trimmed = through;
        self.untrimmed_events = 0;
        self.untrimmed_bytes = 0;
        Some(through)
    }

    /// True when removed events are still on disk.
    pub(crate) fn untrimmed(&self) -> bool {
        self.trimmable() > self.trimmed
    }

    fn trimmable(&self) -> Eid {
        match self.attributes.kind {
            ChannelKind::Transient | ChannelKind::Reliable => Eid::NONE,
            ChannelKind::Persistent => Eid(self.removed.through.0.min(self.newest_stored.0.saturating_sub(1))),
            ChannelKind::Mixed => self.removed.through,
        }
    }

    /// The cursor before everything that is kept.
    pub(crate) fn before_first(&self) -> Eid {
        let first = self.first();
        if first == Eid::NONE && self.events == 0 {
            self.head
        } else {
            Eid(first.0.saturating_sub(1)).max(self.removed.through)
        }
    }

    /// The oldest event kept, [`Eid::NONE`] when there is none. An estimate from below as long as the disk was not asked.
    pub(crate) fn first(&self) -> Eid {
        if !self.on_disk() {
            return self.ring.front().map_or(Eid::NONE, |entry| entry.event.eid);
        }
        match self.index.front() {
            Some(meta) => meta.eid,
            None if self.unindexed > 0 => self.removed.through.next(),
            None => Eid::NONE,
        }
    }

    /// Index in `ring` of the first event after `after`.
    pub(crate) fn ring_start(&self, after: Eid) -> usize {
        let Some(front) = self.ring.front() else { return 0 };
        let guess = after.next().0.saturating_sub(front.event.eid.0) as usize;
        match self.ring.get(guess) {
            Some(entry) if entry.event.eid == after.next() => guess,
            _ => self.ring.partition_point(|entry| entry.event.eid <= after),
        }
    }
}
