//! A realm's channels by name, and what changes when they come and go.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use throughline_wire::event::Epoch;

use crate::channel::{Channel, Closed};
use crate::engine::Totals;
use crate::shared::lock;
use crate::store::StoreError;

/// What is changed when channels come and go.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) number_next: u32,
    epoch: u64,
    /// Counts of channels that are gone.
    pub(crate) gone: Totals,
}

impl Admin {
    /// The next number of a seeded sequence (splitmix64) with the time in it, never zero.
    pub(crate) fn epoch(&mut self, now: u64) -> Epoch {
        self.epoch = self.epoch.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.epoch ^ now.rotate_left(32);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch((z ^ (z >> 31)).max(1))
    }
}

#[derive(Debug, Default)]
struct Names {
    /// For every publish and subscription.
    channels: HashMap<Arc<str>, Arc<Channel>>,
    /// For pages of names.
    ordered: BTreeSet<Arc<str>>,
}

impl Names {
    /// The channels whose names come after `after`, by name.
    fn after(&self, after: &str) -> impl Iterator<Item = &Arc<Channel>> {
        let behind = self.ordered.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        behind.filter_map(|name| self.channels.get(name))
    }
}

/// See the module's text. Nobody waits for the disk with one of its locks.
#[derive(Debug)]
pub(crate) struct Table {
    names: RwLock<Names>,
    /// Held by whoever puts a channel in or takes one out. Taken before `names`.
    admin: Mutex<Admin>,
}

impl Table {
    pub(crate) fn new(number_next: u32, seed: u64) -> Table {
        let admin = Mutex::new(Admin { number_next, epoch: seed, gone: Totals::default() });
        Table { names: RwLock::default(), admin }
    }

    pub(crate) fn admin(&self) -> MutexGuard<'_, Admin> {
        lock(&self.admin)
    }

    fn read(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.read().channels.len()
    }

    /// The channel of this name, also while it is being created.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Channel>> {
        self.read().channels.get(name).map(Arc::clone)
    }

    /// Every channel, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Channel>> {
        self.read().after("").map(Arc::clone).collect()
    }

    /// The first `limit` channels that are there and whose names come after `after`, by name, and whether there are more.
    pub(crate) fn after(&self, after: &str, limit: usize) -> (Vec<Arc<Channel>>, bool) {
        let names = self.read();
        let mut there = names.after(after).filter(|channel| !channel.is_being_created());
        let page = there.by_ref().take(limit).map(Arc::clone).collect();
        (page, there.next().is_some())
    }

    pub(crate) fn insert(&self, channel: &Arc<Channel>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = channel.name().into();
        names.ordered.insert(Arc::clone(&name));
        names.channels.insert(name, Arc::clone(channel));
    }

    pub(crate) fn remove(&self, name: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.ordered.remove(name);
        names.channels.remove(name);
    }
}

/// Reports what became of a new channel, also when the store drops it.
pub(crate) struct Birth {
    table: Arc<Table>,
    channel: Option<Arc<Channel>>,
}

impl Birth {
    pub(crate) fn new(table: &Arc<Table>, channel: &Arc<Channel>) -> Birth {
        Birth { table: Arc::clone(table), channel: Some(Arc::clone(channel)) }
    }

    pub(crate) fn end(mut self, result: Result<(), StoreError>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<(), StoreError>) {
        let Some(channel) = self.channel.take() else { return };
        let Err(fault) = result else { return channel.recorded(channel.first_reserved(), &Ok(())) };
        // Who put it in has done so once this lock is free.
        let admin = self.table.admin();
        self.table.remove(channel.name());
        drop(admin);
        channel.end(Closed::Uncreated(fault));
        self.table.admin().gone.count(channel.counts());
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.tell(Err(StoreError::Failed("the store gave the channel up".to_owned())));
    }
}
