//! A channel: an ordered, bounded history of events that any number of readers follow, each with a cursor of its own.

mod gather;
mod log;
mod publish;
mod read;
mod record;
mod upkeep;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use throughline_wire::event::{Eid, Epoch};
use throughline_wire::message::ReplyError;

pub(crate) use self::log::{Log, Recovered};
use self::publish::Pending;
use self::record::Waiter;
use crate::error::{self, store_error};
use crate::shared::{Shared, lock};
use crate::store::StoreError;
use crate::types::{ChannelAttributes, ChannelKind, ChannelStatus, Watcher};
use crate::window::Windows;

/// A watcher's place in the engine: small, from 0, in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatcherId(pub u32);

/// Why a channel takes nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The disk is being asked to forget it, and may refuse.
    Deleting,
    Deleted,
    /// The disk has not taken it, for this reason.
    Uncreated(StoreError),
    Stopping,
}

struct Watch {
    id: WatcherId,
    watcher: Arc<dyn Watcher>,
    /// Told, and has not come to look yet.
    told: bool,
}

/// Watchers to be told, once the channel's lock is free.
pub(crate) type Notices = Vec<Arc<dyn Watcher>>;

pub(crate) struct State {
    pub(crate) log: Log,
    /// The last EID given out, maybe to an event that cannot be read yet.
    assigned: Eid,
    /// On `mixed` channels: the last EID of which the disk knows that it may have been given out.
    reserved: Eid,
    /// The disk is being asked to remember another record.
    recording: bool,
    /// While the disk is being asked to remember the channel at all: who is to be told.
    creating: Option<Vec<Waiter>>,
    /// Events that cannot be read yet, in order.
    pending: VecDeque<Pending>,
    /// Bytes of `pending`.
    pending_bytes: u64,
    windows: Windows,
    /// What `windows` takes as far as the realm knows, bytes.
    windows_bytes: u64,
    windows_due: u64,
    watches: Vec<Watch>,
    closed: Option<Closed>,
    /// The channel's turn on the agenda.
    due: u64,
    /// True while a thread asks the disk for more of the index.
    indexing: bool,
    published: u64,
    duplicates: u64,
    rejected: u64,
}

/// How often something happened since the channel was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
}

/// A channel of the realm. Shared by all who publish to it and read it.
pub struct Channel {
    this: Weak<Channel>,
    number: u32,
    name: Box<str>,
    attributes: ChannelAttributes,
    epoch: Epoch,
    shared: Arc<Shared>,
    /// Copy of the log's head, for those who only want to know.
    head: AtomicU64,
    state: Mutex<State>,
}

/// What distinguishes a channel from others.
pub(crate) struct Identity {
    pub(crate) number: u32,
    pub(crate) name: Box<str>,
    pub(crate) attributes: ChannelAttributes,
    pub(crate) epoch: Epoch,
}

impl Channel {
    pub(crate) fn new(
        identity: Identity,
        shared: Arc<Shared>,
        log: Log,
        windows: Windows,
        reserved: Eid,
    ) -> Arc<Channel> {
        let state = State {
            assigned: log.head,
            log,
            reserved,
            recording: false,
            creating: None,
            pending: VecDeque::new(),
            pending_bytes: 0,
            windows,
            windows_bytes: 0,
            windows_due: u64::MAX,
            watches: Vec::new(),
            closed: None,
            due: u64::MAX,
            indexing: false,
            published: 0,
            duplicates: 0,
            rejected: 0,
        };
        let Identity { number, name, attributes, epoch } = identity;
        Arc::new_cyclic(|this| Channel {
            this: this.clone(),
            number,
            name,
            attributes,
            epoch,
            shared,
            head: AtomicU64::new(state.log.head.0),
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Its number: short name on links and key on disk.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it keeps.
    pub fn attributes(&self) -> ChannelAttributes {
        self.attributes
    }

    /// Identity of its history. Channels that are not on disk get another one at every start of the realm.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest event that can be read, [`Eid::NONE`] when there was none. Takes no lock.
    pub fn head(&self) -> Eid {
        Eid(self.head.load(Ordering::Acquire))
    }

    /// What it holds now. Events whose time has passed count until they are removed; what a `transient` channel holds for its
    /// connected readers does not count.
    pub fn status(&self) -> ChannelStatus {
        let state = self.lock();
        let last = state.log.head;
        if self.attributes.kind == ChannelKind::Transient {
            return ChannelStatus { last, published: state.published, ..ChannelStatus::default() };
        }
        ChannelStatus {
            events: state.log.events,
            bytes: state.log.bytes,
            first: state.log.first(),
            last,
            published: state.published,
        }
    }

    /// Has a watcher told of new events and of the channel's end; at once, if that was already. Nothing happens when it is
    /// told already, or is not registered.
    pub fn watch(&self, id: WatcherId) {
        let watchers = self.shared.watchers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = watchers.get(id.0 as usize).map(Arc::clone) else { return };
        drop(watchers);
        let mut state = self.lock();
        if state.is_gone() {
            drop(state);
            watcher.deleted(self.number);
            return;
        }
        if !state.watches.iter().any(|watch| watch.id == id) {
            state.watches.push(Watch { id, watcher, told: false });
        }
    }

    /// Ends [`Channel::watch`]. A notice that is under way may still come.
    pub fn unwatch(&self, id: WatcherId) {
        self.lock().watches.retain(|watch| watch.id != id);
    }

    /// Has the watcher told again. To be called before reading, so that no event falls between reading and this.
    pub fn seen(&self, id: WatcherId) {
        if let Some(watch) = self.lock().watches.iter_mut().find(|watch| watch.id == id) {
            watch.told = false;
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts { published: state.published, duplicates: state.duplicates, rejected: state.rejected }
    }

    /// Brings what is known outside the lock up to date after a change of the log that `before` bytes of memory preceded.
    fn publish_state(&self, state: &mut State, before: u64) {
        self.head.store(state.log.head.0, Ordering::Release);
        let over = self.shared.retain(before, state.log.memory);
        let grown = state.log.memory.saturating_sub(before);
        if over > 0 && grown > 0 {
            let before = state.log.memory;
            state.log.shed(grown.min(over), false);
            self.shared.retain(before, state.log.memory);
        }
        if let Some(through) = state.log.trim(false) {
            self.shared.store.trim(self.number, through);
        }
    }

    /// What a request gets from a channel that takes nothing more.
    fn closed_error(&self, closed: &Closed) -> ReplyError {
        match closed {
            Closed::Deleting => error::deleting(&self.name),
            Closed::Deleted => error::deleted(&self.name),
            Closed::Uncreated(fault) => store_error(fault),
            Closed::Stopping => error::draining(),
        }
    }
}

impl State {
    /// True when it gives nothing more, for now or for good.
    fn unreadable(&self) -> bool {
        self.is_gone() || self.closed == Some(Closed::Deleting)
    }

    /// True when there is no such channel any more.
    const fn is_gone(&self) -> bool {
        matches!(self.closed, Some(Closed::Deleted | Closed::Uncreated(_)))
    }

    fn wants_index(&self) -> bool {
        self.log.wants_index(self.pending.len() as u64, self.pending_bytes)
    }

    fn notices(&mut self) -> Notices {
        let mut notices = Notices::new();
        for watch in self.watches.iter_mut().filter(|watch| !watch.told) {
            watch.told = true;
            notices.push(Arc::clone(&watch.watcher));
        }
        notices
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.shared.retain(state.log.memory, 0);
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("number", &self.number).field("name", &self.name).finish_non_exhaustive()
    }
}
