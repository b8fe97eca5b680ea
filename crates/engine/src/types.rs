//! The values that cross the engine's boundary.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use throughline_wire::event::{Body, Eid, Epoch, Event, SessionId};
use throughline_wire::message::Gap;

use crate::channel::Channel;

/// What a channel keeps of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// Nothing: events go to those who are connected.
    Transient,
    /// Events in memory.
    Reliable,
    /// Events on disk; answered and delivered only when they are there.
    Persistent,
    /// Each event says: in memory or on disk.
    Mixed,
}

impl ChannelKind {
    /// Every kind.
    pub const ALL: [ChannelKind; 4] =
        [ChannelKind::Transient, ChannelKind::Reliable, ChannelKind::Persistent, ChannelKind::Mixed];

    /// The word in configuration, HTTP and command line.
    pub const fn name(self) -> &'static str {
        match self {
            ChannelKind::Transient => "transient",
            ChannelKind::Reliable => "reliable",
            ChannelKind::Persistent => "persistent",
            ChannelKind::Mixed => "mixed",
        }
    }

    /// True when the channel itself has to be remembered on disk.
    pub const fn on_disk(self) -> bool {
        matches!(self, ChannelKind::Persistent | ChannelKind::Mixed)
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no channel kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(pub String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown channel type {:?}; expected transient, reliable, persistent or mixed", self.0)
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for ChannelKind {
    type Err = UnknownKind;

    fn from_str(s: &str) -> Result<ChannelKind, UnknownKind> {
        ChannelKind::ALL.into_iter().find(|k| k.name() == s).ok_or_else(|| UnknownKind(s.to_owned()))
    }
}

/// What is fixed when a channel is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelAttributes {
    /// What it keeps.
    pub kind: ChannelKind,
    /// Most events kept; the oldest go first. `None`: no limit but `bytes`.
    pub capacity: Option<u64>,
    /// Most bytes of events kept. `None`: no limit but `capacity`.
    pub bytes: Option<u64>,
    /// Milliseconds an event is kept at most.
    pub ttl: Option<u64>,
}

/// Who published an event, by which a repetition is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The publishing session.
    pub session: SessionId,
    /// Its publish number.
    pub number: u64,
}

/// A request to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where.
    pub channel: Arc<Channel>,
    /// By whom; `None` for publishers that do not number their publishes, whose repetitions are new events.
    pub origin: Option<Origin>,
    /// What.
    pub body: Body,
    /// On a `mixed` channel: keep it on disk.
    pub persistent: Option<bool>,
}

/// A publish that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The event's id.
    pub eid: Eid,
    /// True when it had been stored before.
    pub duplicate: bool,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last event that counts as given.
    pub cursor: Eid,
    /// The channel's history.
    pub epoch: Epoch,
    /// Events asked for that are no longer kept.
    pub gap: Option<Gap>,
}

/// How much one read may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most events.
    pub events: usize,
    /// Bytes of event bodies after which a page ends; one event always fits.
    pub bytes: usize,
}

/// Events of a channel in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Events missed before the first of `events`; to be reported first.
    pub gap: Option<Gap>,
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// The cursor after this page. Above the last event's id when events after it had expired.
    pub next: Eid,
    /// True when there is more after `next` now.
    pub more: bool,
}

/// The outcome of a read that does not wait.
#[derive(Clone, Debug)]
pub enum Read {
    /// What memory holds.
    Page(Page),
    /// The events after the cursor are on disk: [`Channel::read_stored`] gets them, and takes time.
    Stored,
}

/// What a channel holds now, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStatus {
    /// Events kept.
    pub events: u64,
    /// Bytes of event bodies kept.
    pub bytes: u64,
    /// The oldest event kept, [`Eid::NONE`] when there is none.
    pub first: Eid,
    /// The last event given out, [`Eid::NONE`] when there was none.
    pub last: Eid,
    /// Events published since the realm started.
    pub published: u64,
}

/// Told when a channel has something new. One per shard; called from any thread, so it must only take a note.
pub trait Watcher: Send + Sync {
    /// New events can be read. Called once until [`Channel::seen`] was called for this watcher.
    fn dirty(&self, channel: u32);
    /// The channel is gone.
    fn deleted(&self, channel: u32);
}
