//! One commit in the making: the batch, and what memory will say of the disk once the batch is there.

use std::collections::HashMap;

use fjall::{OwnedWriteBatch, PersistMode, Readable, Snapshot};
use throughline_engine::store::{Append, ChannelRecord, StoreError};
use throughline_engine::types::Origin;
use throughline_wire::event::{Eid, SessionId};

use crate::codec::BadRow;
use crate::disk::{Disk, store_error};
use crate::record;
use crate::rows::{self, COMMIT_KEY, Counters, Meta};
use crate::window::{CHUNK_ENTRIES_MAX, CHUNKS_MAX, Chunk};

/// The chunk of a session's window that is being filled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    pub ordinal: u32,
    pub chunk: Chunk,
}

pub(crate) type Tails = HashMap<(u32, SessionId), Tail>;

/// What memory knows of channels: absent means that there is no such channel.
pub(crate) type AllCounters = HashMap<u32, Counters>;

pub(crate) fn bad_row(what: &str, e: &BadRow) -> StoreError {
    StoreError::Failed(format!("{what}: {e}"))
}

/// The newest chunk of a session's window on disk.
pub(crate) fn load_tail(disk: &Disk, channel: u32, session: SessionId) -> Result<Option<Tail>, StoreError> {
    let keys = rows::window_key(channel, session, 0)..=rows::window_key(channel, session, u32::MAX);
    let Some(row) = disk.windows.range(keys).next_back() else { return Ok(None) };
    let (key, value) = row.into_inner().map_err(|e| store_error("reading a publish window", &e))?;
    let decoded = rows::split_window_key(&key).and_then(|(_, _, n)| Chunk::decode(&value).map(|chunk| (n, chunk)));
    let (ordinal, chunk) = decoded.map_err(|e| bad_row("a publish window", &e))?;
    Ok(Some(Tail { ordinal, chunk }))
}

pub(crate) struct Draft<'a> {
    disk: &'a Disk,
    /// The rows as they were before this commit.
    before: Snapshot,
    batch: OwnedWriteBatch,
    committed: &'a AllCounters,
    committed_tails: &'a Tails,
    /// New counters; `None` for channels deleted by this commit.
    pub counters: HashMap<u32, Option<Counters>>,
    pub tails: Tails,
    /// Bytes of events that this commit removes, those of deleted channels among them.
    pub removed: u64,
    row: Vec<u8>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(disk: &'a Disk, committed: &'a AllCounters, committed_tails: &'a Tails) -> Draft<'a> {
        Draft {
            disk,
            before: disk.db.snapshot(),
            batch: disk.db.batch().durability(Some(PersistMode::SyncData)),
            committed,
            committed_tails,
            counters: HashMap::new(),
            tails: Tails::new(),
            removed: 0,
            row: Vec::new(),
        }
    }

    fn counters(&self, channel: u32) -> Option<Counters> {
        self.counters.get(&channel).copied().unwrap_or_else(|| self.committed.get(&channel).copied())
    }

    pub(crate) fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        let (channel, event) = (append.channel, &append.event);
        let refuse = |text: &str| Err(StoreError::Failed(format!("channel {channel}: {text}")));
        let Some(mut counters) = self.counters(channel) else {
            return refuse("is not in the store");
        };
        if event.eid <= counters.last {
            return refuse("an event's EID is not above the newest one");
        }
        if let Some(origin) = append.origin {
            self.remember(channel, origin, event.eid, event.time)?;
        }
        counters.add(event.eid, event.body.weight() as u64);
        self.counters.insert(channel, Some(counters));
        self.row.clear();
        record::encode(event, append.origin, &mut self.row);
        let row = self.row.as_slice();
        self.batch.insert(&self.disk.events, rows::event_key(channel, event.eid), row);
        Ok(())
    }

    fn remember(&mut self, channel: u32, origin: Origin, eid: Eid, time: u64) -> Result<(), StoreError> {
        let key = (channel, origin.session);
        if !self.tails.contains_key(&key) {
            let tail = match self.committed_tails.get(&key) {
                Some(tail) => tail.clone(),
                None => load_tail(self.disk, channel, origin.session)?.unwrap_or_default(),
            };
            self.tails.insert(key, tail);
        }
        let tail = self.tails.entry(key).or_default();
        if tail.chunk.entries.len() >= CHUNK_ENTRIES_MAX {
            let full = rows::window_key(channel, origin.session, tail.ordinal);
            self.batch.insert(&self.disk.windows, full, tail.chunk.encode());
            tail.ordinal += 1;
            tail.chunk.entries.clear();
            if let Some(oldest) = tail.ordinal.checked_sub(CHUNKS_MAX) {
                self.batch.remove(&self.disk.windows, rows::window_key(channel, origin.session, oldest));
            }
        }
        tail.chunk.entries.push((origin.number, eid));
        tail.chunk.time = tail.chunk.time.max(time);
        Ok(())
    }

    pub(crate) fn put_channel(&mut self, record: &ChannelRecord) -> Result<(), StoreError> {
        let number = record.number;
        if self.counters(number).is_none() && self.is_deleted(number)? {
            return Err(StoreError::Failed(format!("channel {number}: one with this number is still being removed")));
        }
        let key = rows::meta_key(Meta::Channel, number);
        self.batch.insert(&self.disk.meta, key, rows::encode_channel(record));
        let counters = self.counters(number).unwrap_or_default();
        self.counters.insert(number, Some(counters));
        Ok(())
    }

    /// True when rows of a deleted channel may be there under this number.
    fn is_deleted(&self, number: u32) -> Result<bool, StoreError> {
        let key = rows::meta_key(Meta::Deleted, number);
        let marked = self.before.contains_key(&self.disk.meta, key);
        let marked = marked.map_err(|e| store_error("reading the table of channels", &e))?;
        Ok(marked || self.counters.contains_key(&number))
    }

    /// Makes a channel disappear; [`Draft::sweep`] removes what it held. False when there is none.
    pub(crate) fn delete_channel(&mut self, number: u32) -> bool {
        let Some(counters) = self.counters(number) else { return false };
        self.removed += counters.bytes;
        self.batch.remove(&self.disk.meta, rows::meta_key(Meta::Channel, number));
        self.batch.remove(&self.disk.meta, rows::meta_key(Meta::Counters, number));
        self.batch.insert(&self.disk.meta, rows::meta_key(Meta::Deleted, number), []);
        self.counters.insert(number, None);
        self.tails.retain(|(channel, _), _| *channel != number);
        true
    }

    /// Removes events up to `through` that earlier commits brought, at most `budget`; returns what is left of the budget.
    pub(crate) fn trim(&mut self, channel: u32, through: Eid, budget: usize) -> Result<usize, StoreError> {
        let Some(mut counters) = self.counters(channel).filter(|c| c.events > 0 && c.first <= through) else {
            return Ok(budget);
        };
        let Some(before) = self.committed.get(&channel).filter(|c| c.events > 0) else { return Ok(budget) };
        let fail = |e| store_error("reading an event to be removed", &e);
        let bad = |e: BadRow| bad_row("an event to be removed", &e);
        let keys = rows::event_key(channel, before.first)..=rows::event_key(channel, before.last);
        let mut left = budget;
        // Where the events of this commit begin, should nothing older remain.
        let mut first = (counters.last > before.last).then(|| before.last.next());
        for row in self.before.range(&self.disk.events, keys) {
            let (key, value) = row.into_inner().map_err(fail)?;
            let eid = rows::eid_of_key(&key).map_err(bad)?;
            if eid > through || left == 0 {
                first = Some(eid);
                break;
            }
            left -= 1;
            counters.events = counters.events.saturating_sub(1);
            let weight = record::weight(&value).map_err(bad)?;
            counters.bytes = counters.bytes.saturating_sub(weight);
            self.removed += weight;
            self.batch.remove(&self.disk.events, key);
        }
        counters.first = first.filter(|_| counters.events > 0).unwrap_or(Eid::NONE);
        self.counters.insert(channel, Some(counters));
        Ok(left)
    }

    /// Removes rows of a deleted channel, at most `budget`; true when nothing of it is left.
    pub(crate) fn sweep(&mut self, channel: u32, budget: &mut usize) -> Result<bool, StoreError> {
        let fail = |e| store_error("reading rows of a deleted channel", &e);
        let prefix = channel.to_be_bytes();
        for keyspace in [&self.disk.events, &self.disk.windows] {
            for row in self.before.prefix(keyspace, prefix) {
                if *budget == 0 {
                    return Ok(false);
                }
                *budget -= 1;
                self.batch.remove(keyspace, row.key().map_err(fail)?);
            }
        }
        self.batch.remove(&self.disk.meta, rows::meta_key(Meta::Deleted, channel));
        Ok(true)
    }

    /// Removes the window of a session unless it was used at or after `before`.
    pub(crate) fn forget(&mut self, channel: u32, session: SessionId, before: u64) -> Result<(), StoreError> {
        let fail = |e| store_error("reading a publish window", &e);
        let key = (channel, session);
        let used = match self.tails.get(&key).or_else(|| self.committed_tails.get(&key)) {
            Some(tail) => Some(tail.chunk.time),
            None => load_tail(self.disk, channel, session)?.map(|tail| tail.chunk.time),
        };
        if used.is_none_or(|time| time >= before) {
            return Ok(());
        }
        let keys = rows::window_key(channel, session, 0)..=rows::window_key(channel, session, u32::MAX);
        for row in self.before.range(&self.disk.windows, keys) {
            self.batch.remove(&self.disk.windows, row.key().map_err(fail)?);
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.counters.is_empty() && self.tails.is_empty()
    }

    /// Writes everything as commit `number`. When it returns, it is on disk or has failed.
    pub(crate) fn commit(mut self, number: u64) -> Result<(HashMap<u32, Option<Counters>>, Tails), fjall::Error> {
        let meta = &self.disk.meta;
        for (channel, counters) in &self.counters {
            if let Some(counters) = counters {
                self.batch.insert(meta, rows::meta_key(Meta::Counters, *channel), counters.encode());
            }
        }
        for ((channel, session), tail) in &self.tails {
            let key = rows::window_key(*channel, *session, tail.ordinal);
            self.batch.insert(&self.disk.windows, key, tail.chunk.encode());
        }
        self.batch.insert(meta, COMMIT_KEY, rows::encode_commit(number, &self.disk.id));
        self.batch.commit()?;
        Ok((self.counters, self.tails))
    }
}

#[cfg(test)]
mod tests {
    use throughline_engine::types::{ChannelAttributes, ChannelKind};
    use throughline_wire::event::Epoch;

    use super::*;
    use crate::{StoreSettings, recovery};

    #[test]
    fn the_number_of_a_deleted_channel_is_taken_until_all_of_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(&StoreSettings::new(dir.path()), None).unwrap();
        let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
        let record = ChannelRecord { number: 7, name: "a".into(), attributes, epoch: Epoch(1), reserved: Eid(0) };
        let (mut counters, tails) = (AllCounters::new(), Tails::new());
        let mut commit = |number, work: &dyn Fn(&mut Draft<'_>)| {
            let mut draft = Draft::new(&disk, &counters, &tails);
            work(&mut draft);
            let (changed, _) = draft.commit(number).unwrap();
            counters = changed.into_iter().filter_map(|(channel, c)| Some((channel, c?))).collect();
        };
        let refused = |draft: &mut Draft<'_>| draft.put_channel(&record).is_err();

        commit(1, &|draft| draft.put_channel(&record).unwrap());
        commit(2, &|draft| {
            assert!(draft.delete_channel(7));
            assert!(refused(draft), "in the same commit");
        });
        assert_eq!(recovery::number_next(&disk).unwrap(), 8);
        commit(3, &|draft| {
            assert!(draft.sweep(7, &mut 10).unwrap());
            assert!(refused(draft), "in the commit that removes it");
        });
        assert_eq!(recovery::number_next(&disk).unwrap(), 0);
        commit(4, &|draft| draft.put_channel(&record).unwrap());
        assert_eq!(recovery::number_next(&disk).unwrap(), 8);
    }
}
