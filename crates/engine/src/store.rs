//! The store seam: what the engine asks of a disk. It has two implementors: the fjall store, and the store in
//! memory that tests run the engine on.

use std::fmt;
use std::sync::Arc;

use throughline_wire::event::{Eid, Epoch, Event, SessionId};

use crate::types::{ChannelAttributes, Origin};

/// A channel as the disk remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Key of the channel on this disk and number on links. Not used twice while a realm runs; when it starts again, numbers
    /// from [`Store::number_next`] on are given out anew.
    pub number: u32,
    /// Its name.
    pub name: Box<str>,
    /// Its attributes.
    pub attributes: ChannelAttributes,
    /// Identity of its history.
    pub epoch: Epoch,
    /// On `mixed` channels: every EID up to this one may have been given out. Zero on others.
    pub reserved: Eid,
}

/// The publish numbers of one session that a channel remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Publish number and EID of the latest publishes, numbers increasing; at most the engine's publish window.
    pub entries: std::collections::VecDeque<(u64, Eid)>,
    /// When the last one was accepted, milliseconds since 1970.
    pub time: u64,
}

/// What the disk holds of a channel when it is opened.
#[derive(Clone, Debug)]
pub struct StoredChannel {
    /// The channel.
    pub record: ChannelRecord,
    /// Its oldest event, [`Eid::NONE`] when it has none.
    pub first: Eid,
    /// Its newest event.
    pub last: Eid,
    /// How many events it has.
    pub events: u64,
    /// Bytes of their bodies ([`Body::weight`](throughline_wire::event::Body::weight)).
    pub bytes: u64,
    /// Publish numbers, by session.
    pub windows: Vec<(SessionId, Window)>,
}

/// Told what became of something that was queued: called once, from the store's thread. May call the store, but not wait for it.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// An event to be kept.
pub struct Append {
    /// Number of its channel.
    pub channel: u32,
    /// The event; its EID is above all others of the channel.
    pub event: Arc<Event>,
    /// Its publisher; goes into the session's window in the same commit.
    pub origin: Option<Origin>,
    /// Told when the event is durable or has failed; after a failure the event is never read, not even when the store is opened
    /// again.
    pub done: Done,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("channel", &self.channel).field("eid", &self.event.eid).finish_non_exhaustive()
    }
}

/// Why the disk did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No room is left; nothing of the commit was kept. Holds what the system said.
    Full(String),
    /// Anything else; holds what the system said and where.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(text) => write!(f, "the realm's disk is full: {text}; make room, then repeat"),
            StoreError::Failed(text) => write!(f, "the realm's disk failed: {text}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A disk for channels. [`Store::put_channel`], [`Store::append`], [`Store::trim`] and [`Store::forget`] queue and return at once, all
/// other calls may wait for the disk. The first two become durable in the order of these calls, and `done` is called in that order, too.
/// Their caller bounds what is queued. It may hold a lock that `done` takes, so `done` must be neither called nor dropped in there.
pub trait Store: Send + Sync {
    /// Everything kept, as recovery found it.
    fn channels(&self) -> Result<Vec<StoredChannel>, StoreError>;

    /// The lowest number above those of all channels of which the disk holds anything: of deleted ones, too, as long as their events
    /// are still being removed.
    fn number_next(&self) -> Result<u32, StoreError>;

    /// Queues a channel to be remembered, or a new state of its record, for the next group commit. Fails when the number is that of a
    /// deleted channel whose events are still being removed.
    fn put_channel(&self, record: ChannelRecord, done: Done);

    /// Waits until everything that was queued before is answered, as done or as failed. Fails only when that cannot be waited for.
    fn settle(&self) -> Result<(), StoreError>;

    /// Forgets a channel and its events. Durable when it returns.
    fn delete_channel(&self, number: u32) -> Result<(), StoreError>;

    /// Queues an event for the next group commit. Fails when its channel is not in the store.
    fn append(&self, append: Append);

    /// Queues the removal of a channel's events up to `through`. Need not be durable at once.
    fn trim(&self, channel: u32, through: Eid);

    /// Queues the removal of the publish numbers of sessions that last published at the time given, each unless it has published since.
    /// Need not be durable at once.
    fn forget(&self, channel: u32, sessions: Vec<(SessionId, u64)>);

    /// Durable events of a channel after `after`, in order: at most `events`, ending once their bodies reach `bytes`.
    fn read(&self, channel: u32, after: Eid, events: usize, bytes: usize) -> Result<Vec<Arc<Event>>, StoreError>;

    /// Ends what is queued, then closes. Later appends fail.
    fn stop(&self);
}
