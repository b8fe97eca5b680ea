//! The realm's channels.

use std::collections::BinaryHeap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use throughline_wire::event::{Eid, check_channel_name};
use throughline_wire::message::{ErrorCode, ReplyError};

use crate::channel::{Channel, Closed, Counts, Identity, Log, Recovered, WatcherId};
use crate::error::{self, CreateError, OpenError, store_error};
use crate::settings::Settings;
use crate::shared::{Shared, lock};
use crate::store::{ChannelRecord, Store, StoreError, StoredChannel};
use crate::table::{Admin, Birth, Table};
use crate::types::{ChannelAttributes, Publish, Published, Watcher};
use crate::window::Windows;

/// The outcome of [`Engine::create`].
#[derive(Clone, Debug)]
pub enum Creation {
    /// The channel is new.
    Created(Arc<Channel>),
    /// It was there, with the same attributes.
    Existing(Arc<Channel>),
}

impl Creation {
    /// The channel, new or not.
    pub fn channel(self) -> Arc<Channel> {
        match self {
            Creation::Created(channel) | Creation::Existing(channel) => channel,
        }
    }
}

/// Sums over the realm, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Channels.
    pub channels: u64,
    /// Events kept.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Events published since the start, also to channels that were deleted since.
    pub published: u64,
    /// Publishes since the start that were recognised as repetitions.
    pub duplicates: u64,
    /// Publishes since the start that failed.
    pub rejected: u64,
}

impl Totals {
    pub(crate) fn count(&mut self, counts: Counts) {
        self.published += counts.published;
        self.duplicates += counts.duplicates;
        self.rejected += counts.rejected;
    }
}

/// A realm's channels by name. All calls may come from any thread.
pub struct Engine {
    shared: Arc<Shared>,
    table: Arc<Table>,
    /// Held while the disk deletes a channel, and while the realm stops.
    changing: Mutex<()>,
    stopping: AtomicBool,
}

impl Engine {
    /// Opens a realm on what `store` holds, and creates those of the `configured` channels that are not there. A configured channel
    /// that is there takes the configured limits; its type cannot change. `seed` makes the epochs: it must be another one at
    /// each start. Waits for the disk.
    pub fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        configured: &[(String, ChannelAttributes)],
        seed: u64,
        now: u64,
    ) -> Result<Arc<Engine>, OpenError> {
        let stored = store.channels().map_err(OpenError::Store)?;
        let number_next = store.number_next().map_err(OpenError::Store)?;
        let engine = Engine {
            shared: Arc::new(Shared::new(settings, store)),
            table: Arc::new(Table::new(number_next, seed)),
            changing: Mutex::new(()),
            stopping: AtomicBool::new(false),
        };
        let (told, answers) = mpsc::channel();
        for channel in stored {
            engine.restore(channel, configured, now, &told)?;
        }
        drop(told);
        let mut created = Vec::new();
        for (name, attributes) in configured {
            check_channel_name(name).map_err(|fault| OpenError::Name { name: name.clone(), fault })?;
            let creation = engine.begin(name, *attributes, now).map_err(|fault| match fault {
                CreateError::Conflict(_) => OpenError::Twice(name.clone()),
                CreateError::Reply(fault) => OpenError::Channel { name: name.clone(), fault },
            })?;
            created.push(creation.channel());
        }
        engine.shared.store.settle().map_err(OpenError::Store)?;
        answers.iter().collect::<Result<(), StoreError>>().map_err(OpenError::Store)?;
        for channel in created {
            let name = || channel.name().to_owned();
            channel.creation().map_err(|fault| OpenError::Channel { name: name(), fault })?;
        }
        Ok(Arc::new(engine))
    }

    fn restore(
        &self,
        stored: StoredChannel,
        configured: &[(String, ChannelAttributes)],
        now: u64,
        told: &mpsc::Sender<Result<(), StoreError>>,
    ) -> Result<(), OpenError> {
        let StoredChannel { mut record, first, last, events, bytes, windows } = stored;
        let mut changed = self.shared.settings.restored;
        if changed {
            record.epoch = self.table.admin().epoch(now);
        }
        let wanted = configured.iter().find(|(name, _)| **name == *record.name).map(|(_, attributes)| *attributes);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != record.attributes) {
            if wanted.kind != record.attributes.kind {
                let (stored, configured) = (record.attributes.kind, wanted.kind);
                return Err(OpenError::Kind { name: record.name.into_string(), stored, configured });
            }
            let name = || record.name.to_string();
            error::check_attributes(&wanted).map_err(|fault| OpenError::Channel { name: name(), fault })?;
            record.attributes = wanted;
            changed = true;
        }
        if changed {
            let told = told.clone();
            // It is listened to until all have answered.
            self.shared.store.put_channel(record.clone(), Box::new(move |result| drop(told.send(result))));
        }
        let settings = &self.shared.settings;
        let windows = Windows::restore(windows, settings.publish_window);
        let head = last.max(windows.last()).max(record.reserved);
        let found = Recovered { first, last, events, bytes, head, lost: record.reserved };
        let log = Log::recovered(record.attributes, settings, found);
        let ChannelRecord { number, name, attributes, epoch, .. } = record;
        let identity = Identity { number, name, attributes, epoch };
        let channel = Channel::new(identity, Arc::clone(&self.shared), log, windows, head);
        channel.restored(now);
        self.table.insert(&channel);
        Ok(())
    }

    /// Takes a watcher, which channels can then be told of by its id. There is no way back: one for each shard, at its start.
    pub fn register(&self, watcher: Arc<dyn Watcher>) -> WatcherId {
        let mut watchers = self.shared.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.push(watcher);
        WatcherId(u32::try_from(watchers.len() - 1).unwrap_or(u32::MAX))
    }

    /// The channel of this name. One that is being created is not there yet.
    pub fn channel(&self, name: &str) -> Option<Arc<Channel>> {
        self.table.get(name).filter(|channel| !channel.is_being_created())
    }

    /// The channel of this name; created with the default attributes when there is none. Never waits for the disk: a channel that has to
    /// be there first takes publishes, and [`Channel::await_creation`] tells when it is. Fails with `unknown_channel` when the realm does not create
    /// channels on first use, `bad_channel_name`, `overloaded` when there are too many, `draining`.
    pub fn channel_or_create(&self, name: &str, now: u64) -> Result<Arc<Channel>, ReplyError> {
        if let Some(channel) = self.table.get(name) {
            return Ok(channel);
        }
        check_channel_name(name).map_err(|fault| error::bad_name(&fault))?;
        let settings = &self.shared.settings;
        if !settings.auto_create {
            let message =
                format!("there is no channel {name:?}, and the realm creates none on first use; create it first");
            return Err(ReplyError::new(ErrorCode::UnknownChannel, message));
        }
        let mut admin = self.table.admin();
        match self.table.get(name) {
            Some(channel) => Ok(channel),
            None => self.insert(&mut admin, name, settings.defaults, now),
        }
    }

    /// Creates a channel. Waits for the disk when the channel is to be kept there. Fails as [`Engine::channel_or_create`], with `store_full` and
    /// `store_failed`, and with `bad_request` when a limit is 0.
    pub fn create(&self, name: &str, attributes: ChannelAttributes, now: u64) -> Result<Creation, CreateError> {
        let creation = self.begin(name, attributes, now)?;
        let channel = creation.clone().channel();
        if channel.is_being_created() {
            self.shared.store.settle().map_err(|fault| store_error(&fault))?;
        }
        channel.creation()?;
        Ok(creation)
    }

    /// Creates a channel, which may be being created afterwards. Waits for a deletion that is under way.
    fn begin(&self, name: &str, attributes: ChannelAttributes, now: u64) -> Result<Creation, CreateError> {
        check_channel_name(name).map_err(|fault| error::bad_name(&fault))?;
        error::check_attributes(&attributes)?;
        let _changing = lock(&self.changing);
        let mut admin = self.table.admin();
        match self.table.get(name) {
            Some(channel) if channel.attributes() == attributes => Ok(Creation::Existing(channel)),
            Some(channel) => Err(CreateError::Conflict(channel.attributes())),
            None => Ok(Creation::Created(self.insert(&mut admin, name, attributes, now)?)),
        }
    }

    fn insert(
        &self,
        admin: &mut Admin,
        name: &str,
        attributes: ChannelAttributes,
        now: u64,
    ) -> Result<Arc<Channel>, ReplyError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(error::draining());
        }
        let limit = self.shared.settings.channels_max;
        let room = self.table.len() < limit;
        let Some(number_next) = admin.number_next.checked_add(1).filter(|_| room) else {
            let message = format!("the realm has {limit} channels (channels_max); delete some or raise the limit");
            return Err(ReplyError::limit(ErrorCode::Overloaded, message, limit as u64));
        };
        let identity = Identity { number: admin.number_next, name: name.into(), attributes, epoch: admin.epoch(now) };
        admin.number_next = number_next;
        let log = Log::new(attributes, &self.shared.settings);
        let channel = Channel::new(identity, Arc::clone(&self.shared), log, Windows::default(), Eid::NONE);
        if attributes.kind.on_disk() {
            let birth = Birth::new(&self.table, &channel);
            channel.record_new(Box::new(move |result| birth.end(result)));
        }
        self.table.insert(&channel);
        Ok(channel)
    }

    /// Deletes a channel and its events. Publishes that are under way fail with `channel_deleted`, those that come until the
    /// disk has answered with `overloaded`. Waits for the disk. Fails with `unknown_channel`, `draining`, `store_full`,
    /// `store_failed`; the channel is then as before.
    pub fn delete(&self, name: &str) -> Result<(), ReplyError> {
        let _changing = lock(&self.changing);
        if self.stopping.load(Ordering::Acquire) {
            return Err(error::draining());
        }
        if self.table.get(name).is_some_and(|channel| channel.is_being_created()) {
            self.shared.store.settle().map_err(|fault| store_error(&fault))?;
        }
        let Some(channel) = self.channel(name) else {
            return Err(ReplyError::new(ErrorCode::UnknownChannel, format!("there is no channel {name:?}")));
        };
        // Its record is not written after it is closed, so nothing brings it back.
        channel.close(Closed::Deleting);
        if channel.attributes().kind.on_disk()
            && let Err(fault) = self.shared.store.delete_channel(channel.number())
        {
            channel.reopen();
            return Err(store_error(&fault));
        }
        let mut admin = self.table.admin();
        self.table.remove(name);
        admin.gone.count(channel.counts());
        drop(admin);
        channel.end(Closed::Deleted);
        Ok(())
    }

    /// Every channel, by name.
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        let mut channels = self.table.all();
        channels.retain(|channel| !channel.is_being_created());
        channels
    }

    /// The first `limit` channels whose names come after `after`, by name, and whether there are more.
    pub fn channels_after(&self, after: &str, limit: usize) -> (Vec<Arc<Channel>>, bool) {
        self.table.after(after, limit)
    }

    /// Publishes an event. Gives the outcome when it is decided at once; otherwise `done` gets it later, from the store's thread
    /// and without any lock held. Events in memory are decided at once, unless they follow one on the same `mixed` channel
    /// that waits for the disk, or need an EID of which the disk does not know yet. `done` must not wait for the disk itself, so it must not publish, create or delete: the thread it
    /// runs on is the one that would have to answer.
    ///
    /// Fails with `not_persistent`, `publish_number`, `overloaded`, `channel_deleted`, `draining`, `store_full`, `store_failed`; the
    /// event was not published then, and may be tried again. Waits for the disk only to read what the channel's limits remove next.
    pub fn publish(
        &self,
        publish: Publish,
        now: u64,
        done: impl FnOnce(Result<Published, ReplyError>) + Send + 'static,
    ) -> Option<Result<Published, ReplyError>> {
        let Publish { channel, origin, body, persistent } = publish;
        channel.publish(origin, body, persistent, now, done)
    }

    /// Does what is due: expired events, forgotten publish numbers, room in memory. To be called every second, from a thread that
    /// may wait for the disk. Looks only at channels that have something to do.
    pub fn expire(&self, now: u64) {
        while let Some((due, channel)) = self.shared.agenda.take(now) {
            if let Some(channel) = channel.upgrade() {
                channel.turn(due, now);
            }
        }
        let limit = self.shared.settings.retained_bytes_max;
        if self.shared.retained() > limit {
            self.make_room(limit - limit / 16, Shared::retained, Channel::memory, Channel::shed);
        }
        let limit = self.shared.settings.publish_memory_bytes_max;
        if self.shared.remembered() > limit {
            self.make_room(limit - limit / 16, Shared::remembered, Channel::publish_memory, Channel::shed_windows);
        }
    }

    /// Has the fullest channels give up memory until all hold `aim` bytes together.
    fn make_room(
        &self,
        aim: u64,
        total: fn(&Shared) -> u64,
        memory_of: fn(&Channel) -> u64,
        shed: fn(&Channel, u64) -> u64,
    ) {
        let channels = self.channels();
        let mut fullest: BinaryHeap<(u64, usize)> =
            channels.iter().enumerate().map(|(index, channel)| (memory_of(channel), index)).collect();
        while let Some((memory, index)) = fullest.pop() {
            let over = total(&self.shared).saturating_sub(aim);
            if over == 0 {
                return;
            }
            let freed = shed(&channels[index], over.min(memory / 2 + 1));
            if freed > 0 {
                fullest.push((memory.saturating_sub(freed), index));
            }
        }
    }

    /// Ends what is under way and closes the store: publishes that wait get their answer, later ones `draining`. Waits for
    /// the disk.
    pub fn stop(&self) {
        let _changing = lock(&self.changing);
        let admin = self.table.admin();
        self.stopping.store(true, Ordering::Release);
        drop(admin);
        for channel in self.table.all() {
            channel.close(Closed::Stopping);
        }
        self.shared.store.stop();
    }

    /// Sums over all channels.
    pub fn totals(&self) -> Totals {
        let mut totals = self.table.admin().gone;
        for channel in self.channels() {
            let status = channel.status();
            totals.channels += 1;
            totals.events += status.events;
            totals.bytes += status.bytes;
            totals.count(channel.counts());
        }
        totals
    }

    /// Bytes that events in memory take.
    pub fn retained_bytes(&self) -> u64 {
        self.shared.retained()
    }

    /// Bytes that publish numbers take, all channels, about.
    pub fn publish_memory_bytes(&self) -> u64 {
        self.shared.remembered()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shared", &self.shared).finish_non_exhaustive()
    }
}
