//! A store in memory: for tests, and for realms that need no disk.
//!
//! It behaves as a disk does within the process: what was committed is there when it is opened again, what was not is lost.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use throughline_wire::event::{Eid, Event, SessionId};

use crate::shared::lock;
use crate::store::{Append, ChannelRecord, Done, Store, StoreError, StoredChannel, Window};
use crate::types::Origin;

/// Publish numbers kept for each session and channel.
const WINDOW_ENTRIES_MAX: usize = 1_024;

#[derive(Clone, Debug)]
struct Rows {
    record: ChannelRecord,
    events: BTreeMap<Eid, Arc<Event>>,
    windows: BTreeMap<SessionId, Window>,
}

/// What survives a crash.
type Disk = BTreeMap<u32, Rows>;

enum Work {
    Put(ChannelRecord, Done),
    Append(Append),
    Trim(u32, Eid),
    Forget(u32, Vec<(SessionId, u64)>),
}

struct State {
    disk: Disk,
    queue: VecDeque<Work>,
    fault: Option<StoreError>,
    ended: bool,
}

struct Inner {
    state: Mutex<State>,
    /// Something was queued, or the store ended.
    wake: Condvar,
    /// Held while a batch is committed and answered, so that answers keep their order.
    committing: Mutex<()>,
}

/// A store that keeps everything in memory.
pub struct MemoryStore {
    inner: Arc<Inner>,
    automatic: bool,
}

impl MemoryStore {
    /// A store that commits by itself, from a thread of its own. Ends with the last handle.
    pub fn automatic() -> Arc<MemoryStore> {
        MemoryStore::on(Disk::new(), true)
    }

    /// A store that commits only when [`MemoryStore::commit`] is called.
    pub fn manual() -> Arc<MemoryStore> {
        MemoryStore::on(Disk::new(), false)
    }

    fn on(disk: Disk, automatic: bool) -> Arc<MemoryStore> {
        let state = State { disk, queue: VecDeque::new(), fault: None, ended: false };
        let inner = Arc::new(Inner { state: Mutex::new(state), wake: Condvar::new(), committing: Mutex::new(()) });
        if automatic {
            let committer = Arc::clone(&inner);
            std::thread::spawn(move || while committer.wait() {});
        }
        Arc::new(MemoryStore { inner, automatic })
    }

    /// Makes durable what is queued and answers it. Gives the number of events.
    pub fn commit(&self) -> usize {
        self.inner.commit()
    }

    /// From now on every write fails with `fault`, until `None` is set. Reads go on.
    pub fn fail(&self, fault: Option<StoreError>) {
        lock(&self.inner.state).fault = fault;
    }

    /// Events that wait for a commit.
    pub fn queued(&self) -> usize {
        lock(&self.inner.state).queue.iter().filter(|work| matches!(work, Work::Append(_))).count()
    }

    /// A store on the same content, as after a crash: what was not committed is lost and its `done` is called with a failure. This
    /// handle ends.
    pub fn reopen(&self) -> Arc<MemoryStore> {
        let committing = lock(&self.inner.committing);
        let mut state = lock(&self.inner.state);
        state.ended = true;
        let disk = state.disk.clone();
        let lost = std::mem::take(&mut state.queue);
        drop(state);
        drop(committing);
        self.inner.wake.notify_all();
        lost.into_iter().for_each(Work::fail);
        MemoryStore::on(disk, self.automatic)
    }
}

fn ended() -> StoreError {
    StoreError::Failed("the store has ended".to_owned())
}

impl Work {
    /// Who waits for it.
    fn done(self) -> Option<Done> {
        match self {
            Work::Put(_, done) | Work::Append(Append { done, .. }) => Some(done),
            Work::Trim(..) | Work::Forget(..) => None,
        }
    }

    fn fail(self) {
        if let Some(done) = self.done() {
            done(Err(ended()));
        }
    }
}

impl Inner {
    fn queue(&self, work: Work) {
        let mut state = lock(&self.state);
        if !state.ended {
            state.queue.push_back(work);
            drop(state);
            self.wake.notify_one();
            return;
        }
        drop(state);
        // The caller may hold a lock that is taken by who is told.
        std::thread::spawn(move || work.fail());
    }

    /// Waits for work and commits it; false when the store ended.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        while state.queue.is_empty() && !state.ended {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let ended = state.ended;
        drop(state);
        self.commit();
        !ended
    }

    fn commit(&self) -> usize {
        let _committing = lock(&self.committing);
        let mut state = lock(&self.state);
        let (mut answers, mut events) = (Vec::new(), 0);
        for work in std::mem::take(&mut state.queue) {
            let fault = state.fault.clone().filter(|_| matches!(work, Work::Put(..) | Work::Append(_)));
            let result = fault.map_or_else(|| state.apply(&work), Err);
            events += usize::from(matches!(work, Work::Append(_)));
            answers.extend(work.done().map(|done| (done, result)));
        }
        drop(state);
        for (done, result) in answers {
            done(result);
        }
        events
    }
}

impl State {
    fn apply(&mut self, work: &Work) -> Result<(), StoreError> {
        match work {
            Work::Put(record, _) => {
                let fresh = || Rows { record: record.clone(), events: BTreeMap::new(), windows: BTreeMap::new() };
                self.disk.entry(record.number).or_insert_with(fresh).record = record.clone();
            }
            Work::Append(append) => {
                let rows = self.disk.get_mut(&append.channel);
                let rows = rows.ok_or_else(|| StoreError::Failed("the channel is not in the store".to_owned()))?;
                rows.events.insert(append.event.eid, Arc::clone(&append.event));
                if let Some(origin) = append.origin {
                    remember(&mut rows.windows, origin, &append.event);
                }
            }
            Work::Forget(channel, sessions) => {
                if let Some(rows) = self.disk.get_mut(channel) {
                    rows.windows.retain(|id, window| !sessions.contains(&(*id, window.time)));
                }
            }
            Work::Trim(channel, through) => {
                if let Some(rows) = self.disk.get_mut(channel) {
                    rows.events = rows.events.split_off(&through.next());
                }
            }
        }
        Ok(())
    }

    /// Whether a write can be tried.
    fn writable(&self) -> Result<(), StoreError> {
        if self.ended { Err(ended()) } else { self.fault.clone().map_or(Ok(()), Err) }
    }
}

fn remember(windows: &mut BTreeMap<SessionId, Window>, origin: Origin, event: &Event) {
    let window = windows.entry(origin.session).or_default();
    window.time = event.time;
    let index = window.entries.partition_point(|(number, _)| *number < origin.number);
    window.entries.insert(index, (origin.number, event.eid));
    if window.entries.len() > WINDOW_ENTRIES_MAX {
        window.entries.pop_front();
    }
}

impl Store for MemoryStore {
    fn channels(&self) -> Result<Vec<StoredChannel>, StoreError> {
        let state = lock(&self.inner.state);
        let stored = state.disk.values().map(|rows| StoredChannel {
            record: rows.record.clone(),
            first: rows.events.keys().next().copied().unwrap_or(Eid::NONE),
            last: rows.events.keys().next_back().copied().unwrap_or(Eid::NONE),
            events: rows.events.len() as u64,
            bytes: rows.events.values().map(|event| event.body.weight() as u64).sum(),
            windows: rows.windows.iter().map(|(id, window)| (*id, window.clone())).collect(),
        });
        Ok(stored.collect())
    }

    fn number_next(&self) -> Result<u32, StoreError> {
        Ok(lock(&self.inner.state).disk.keys().next_back().map_or(0, |number| number.saturating_add(1)))
    }

    fn put_channel(&self, record: ChannelRecord, done: Done) {
        self.inner.queue(Work::Put(record, done));
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.commit();
        Ok(())
    }

    fn delete_channel(&self, number: u32) -> Result<(), StoreError> {
        let mut state = lock(&self.inner.state);
        state.writable()?;
        // What was asked before is answered, and does not bring the channel back.
        let (puts, others) = std::mem::take(&mut state.queue)
            .into_iter()
            .partition(|work| matches!(work, Work::Put(record, _) if record.number == number));
        state.queue = others;
        state.disk.remove(&number);
        drop(state);
        VecDeque::into_iter(puts).for_each(Work::fail);
        Ok(())
    }

    fn append(&self, append: Append) {
        self.inner.queue(Work::Append(append));
    }

    fn trim(&self, channel: u32, through: Eid) {
        self.inner.queue(Work::Trim(channel, through));
    }

    fn forget(&self, channel: u32, sessions: Vec<(SessionId, u64)>) {
        self.inner.queue(Work::Forget(channel, sessions));
    }

    fn read(&self, channel: u32, after: Eid, events: usize, bytes: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        let state = lock(&self.inner.state);
        let Some(rows) = state.disk.get(&channel) else { return Ok(Vec::new()) };
        let mut page = Vec::new();
        let mut read = 0;
        for event in rows.events.range(after.next()..).map(|(_, event)| event) {
            if page.len() >= events || (read >= bytes && !page.is_empty()) {
                break;
            }
            read += event.body.weight();
            page.push(Arc::clone(event));
        }
        Ok(page)
    }

    fn stop(&self) {
        lock(&self.inner.state).ended = true;
        self.commit();
        self.inner.wake.notify_all();
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        lock(&self.inner.state).ended = true;
        self.inner.wake.notify_all();
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("automatic", &self.automatic).finish_non_exhaustive()
    }
}
