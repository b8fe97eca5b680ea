//! The store as the engine sees it.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use fjall::Readable;
use throughline_engine::store::{Append, ChannelRecord, Done, Store, StoreError, StoredChannel};
use throughline_wire::event::{Eid, Event, SessionId};

use crate::committer::Committer;
use crate::disk::{self, Disk, store_error};
use crate::draft::{AllCounters, bad_row};
use crate::progress::Watch;
use crate::queue::{Command, Queue, Reply};
use crate::record;
use crate::recovery;
use crate::rows::{self, Counters};
use crate::settings::{OpenError, StoreSettings};

/// Windows forgotten in one commit.
const FORGET_MAX: usize = 256;

/// What the committer and the callers share.
pub(crate) struct Shared {
    pub settings: StoreSettings,
    pub queue: Queue,
    /// Closed after [`Store::stop`], and for a moment while the database is opened anew.
    pub disk: RwLock<Option<Disk>>,
    counters: Mutex<Arc<AllCounters>>,
}

impl Shared {
    fn lock_counters(&self) -> MutexGuard<'_, Arc<AllCounters>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counters(&self) -> Arc<AllCounters> {
        Arc::clone(&self.lock_counters())
    }

    fn counters_of(&self, channel: u32) -> Option<Counters> {
        self.lock_counters().get(&channel).copied()
    }

    pub(crate) fn replace_counters(&self, counters: AllCounters) {
        *self.lock_counters() = Arc::new(counters);
    }

    pub(crate) fn update_counters(&self, changes: HashMap<u32, Option<Counters>>) {
        let mut counters = self.lock_counters();
        let counters = Arc::make_mut(&mut counters);
        for (channel, change) in changes {
            match change {
                Some(c) => counters.insert(channel, c),
                None => counters.remove(&channel),
            };
        }
    }
}

/// The embedded engine's disk: a fjall database, written by one thread that commits in groups.
///
/// An append is answered after an fdatasync that covers it, and read by nobody before that. One that was answered as
/// failed does not come back, with one exception: when the process dies at the moment at which a commit fails and
/// before it was cut off, that commit may be there on the next start. Its publish numbers are there with it, so a
/// repeated publish is recognised.
pub struct FjallStore {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held until the store is dropped.
    _lock: File,
}

impl fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallStore").field("dir", &self.shared.settings.dir).finish_non_exhaustive()
    }
}

impl FjallStore {
    /// Opens the store in a directory, creating it when there is none, and forgets the publish windows that are older
    /// than the publish memory at `now` (milliseconds since 1970). The time this takes depends on the journals, at most
    /// [`StoreSettings::journal_bytes_max`] and one of 64 MiB, and not on how many events are stored.
    pub fn open(settings: StoreSettings, now: u64) -> Result<Arc<FjallStore>, OpenError> {
        FjallStore::open_watched(settings, now, Box::new(|_| {}))
    }

    /// The same for one who is told of every commit, those of opening among them.
    pub fn open_watched(settings: StoreSettings, now: u64, watch: Watch) -> Result<Arc<FjallStore>, OpenError> {
        let dir = settings.dir.clone();
        let lock = disk::lock(&settings)?;
        let disk = Disk::open(&settings, None)?;
        let state = recovery::load(&settings, &disk)?;
        let before = now.saturating_sub(settings.publish_memory_ms);
        let shared = Arc::new(Shared {
            settings,
            queue: Queue::default(),
            disk: RwLock::new(Some(disk)),
            counters: Mutex::new(Arc::new(state.counters)),
        });
        let committer = Committer::new(Arc::clone(&shared), state.commit, state.deleted, watch);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(|| committer.run());
        let thread = thread.map_err(|e| OpenError::Failed(dir, e.to_string()))?;
        let store = FjallStore { shared, committer: Mutex::new(Some(thread)), _lock: lock };
        if let Err(error) = store.forget_windows(before) {
            tracing::warn!(%error, "old publish windows are still there");
        }
        Ok(Arc::new(store))
    }

    /// Forgets the publish numbers of sessions that published nothing at or after `before` (milliseconds since 1970).
    /// Reads all windows, so it is for once an hour rather than once a second.
    pub fn forget_windows(&self, before: u64) -> Result<(), StoreError> {
        let stale = self.reading(|disk| recovery::stale_windows(disk, before))?;
        for windows in stale.chunks(FORGET_MAX) {
            self.wait_for(|reply| Command::Forget(windows.to_vec(), before, reply))?;
        }
        Ok(())
    }

    fn reading<T>(&self, read: impl FnOnce(&Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let slot = self.shared.disk.read().unwrap_or_else(PoisonError::into_inner);
        read(slot.as_ref().ok_or_else(|| StoreError::Failed("the store is closed".to_owned()))?)
    }

    fn on_committer(&self) -> bool {
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        committer.as_ref().is_some_and(|c| c.thread().id() == std::thread::current().id())
    }

    /// Queues a command and waits for its outcome.
    fn wait_for(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), StoreError> {
        if self.on_committer() {
            return Err(StoreError::Failed("the store's own thread cannot wait for the store".to_owned()));
        }
        let (reply, outcome) = sync_channel(1);
        self.shared.queue.push(command(reply));
        // Only a panic drops the reply.
        outcome.recv().unwrap_or_else(|_| Err(StoreError::Failed("the store's thread has panicked".to_owned())))
    }
}

impl Store for FjallStore {
    fn channels(&self) -> Result<Vec<StoredChannel>, StoreError> {
        let counters = self.shared.counters();
        self.reading(|disk| recovery::channels(disk, &counters))
    }

    fn number_next(&self) -> Result<u32, StoreError> {
        self.reading(recovery::number_next)
    }

    fn put_channel(&self, record: ChannelRecord, done: Done) {
        self.shared.queue.push(Command::PutChannel(record, done));
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.wait_for(Command::Settle)
    }

    fn delete_channel(&self, number: u32) -> Result<(), StoreError> {
        self.wait_for(|reply| Command::DeleteChannel(number, reply))
    }

    fn append(&self, append: Append) {
        self.shared.queue.push(Command::Append(append));
    }

    fn trim(&self, channel: u32, through: Eid) {
        self.shared.queue.push(Command::Trim(channel, through));
    }

    fn forget(&self, channel: u32, sessions: Vec<(SessionId, u64)>) {
        self.shared.queue.push(Command::Drop(channel, sessions));
    }

    fn read(&self, channel: u32, after: Eid, events: usize, bytes: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        let Some(counters) = self.shared.counters_of(channel).filter(|c| after < c.last) else { return Ok(Vec::new()) };
        // Starting at the first event spares the walk over what was removed before it.
        let from = rows::event_key(channel, after.next().max(counters.first));
        let to = rows::event_key(channel, Eid(u64::MAX));
        self.reading(|disk| {
            let mut page = Vec::new();
            let mut weight = 0;
            for row in disk.db.snapshot().range(&disk.events, from..=to).take(events) {
                let (key, value) = row.into_inner().map_err(|e| store_error("reading an event", &e))?;
                let event = rows::eid_of_key(&key).and_then(|eid| record::decode(eid, &value));
                let (event, _) = event.map_err(|e| bad_row(&format!("an event of channel {channel}"), &e))?;
                weight += event.body.weight();
                page.push(Arc::new(event));
                if weight >= bytes {
                    break;
                }
            }
            Ok(page)
        })
    }

    fn stop(&self) {
        // The only errors are a panic, or that it is this thread that has to end.
        if let Err(error) = self.wait_for(Command::Stop) {
            tracing::debug!(%error, "nothing to stop");
        }
    }
}

impl Drop for FjallStore {
    fn drop(&mut self) {
        self.shared.queue.quit();
        let on_committer = self.on_committer();
        let thread = self.committer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && !on_committer
            && thread.join().is_err()
        {
            tracing::error!("the store's thread had ended by a panic");
        }
    }
}
