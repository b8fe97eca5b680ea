//! The values that cross the client's boundary.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use throughline_wire::event::{BadChannelName, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{Gap, Limits, ReplyError};

/// How a client session behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Name and version of the program, for the server's operator; at most 64 bytes, longer ones are cut.
    pub client: Option<Box<str>>,
    /// Most publishes held without an answer, sent or not; default 10,000. Beyond it [`PublishError::Full`].
    pub queue_publishes_max: usize,
    /// Most bytes of their events; default 16 MiB. One event is taken whatever its size.
    pub queue_bytes_max: usize,
    /// Time for a link to open, and again for its `welcome` to come, milliseconds; default 10,000.
    pub open_timeout_ms: u64,
    /// Longest wait that a server can ask for (`drain`, `Retry-After`), milliseconds; default 300,000.
    pub asked_delay_max_ms: u64,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            client: None,
            queue_publishes_max: 10_000,
            queue_bytes_max: 16 << 20,
            open_timeout_ms: 10_000,
            asked_delay_max_ms: 300_000,
        }
    }
}

/// Names a subscription of this session for its whole life. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// Up to where a subscription has been given its channel's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The channel's history.
    pub epoch: Epoch,
    /// The last event given, [`Eid::NONE`] when none was.
    pub eid: Eid,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// No link; the next one is opened at `until` (milliseconds of the caller's clock).
    Waiting {
        /// When.
        until: u64,
    },
    /// A link is being opened, or it is open and `welcome` has not come.
    Connecting,
    /// `welcome` has come.
    Open,
    /// Over for good.
    Closed,
}

/// What the caller has to do with the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Open one. To be answered by [`link_opened`](super::ClientSession::link_opened) or
    /// [`link_lost`](super::ClientSession::link_lost).
    Open,
    /// Something is outstanding on the link and nothing comes, not even the answer to a ping: it may be worth looking for
    /// another one beside it. Only links that were [adopted](super::ClientSession::adopt) are doubted.
    Doubt,
    /// The link that was doubted has spoken again.
    Trust,
    /// Close it with this code and reason, or stop opening it. The session has forgotten it already: nothing of it may
    /// be handed to the session any more, and `link_lost` is not to be called for it.
    Close {
        /// Close code of section 7.
        code: u16,
        /// Why, at most 123 bytes.
        reason: String,
    },
}

/// How a link ended, or why it could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkLoss {
    /// The server closed it with a code of section 7.
    Closed {
        /// The code.
        code: u16,
        /// What the server said.
        reason: String,
    },
    /// It broke, or could not be opened; another attempt may succeed. Holds what happened, for a person.
    Broken(String),
    /// The server refused it for now, as with status 503.
    Refused {
        /// What the server asked for in `Retry-After`, milliseconds.
        retry_after_ms: Option<u64>,
        /// What the server said.
        reason: String,
    },
    /// No attempt can succeed (bad address, status 403, no Throughline server): the session ends. Holds the reason.
    Hopeless(String),
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The session stands elsewhere now.
    StateChanged(ClientState),
    /// A link carries the session.
    Welcome {
        /// The session's id, a secret.
        session: SessionId,
        /// What the server accepts.
        limits: Limits,
        /// False on the session's first link.
        resumed: bool,
    },
    /// A link ended; the session goes on with another one unless [`ClientEvent::Closed`] follows.
    LinkLost(LinkLoss),
    /// A subscription stands, on this link. Comes again after each reconnection.
    Subscribed {
        /// Which.
        subscription: SubscriptionId,
        /// Its channel.
        channel: Arc<str>,
        /// Where it goes on.
        cursor: Cursor,
        /// True when it had been standing on an earlier link.
        resumed: bool,
    },
    /// The server refused a subscription; it is over. It may have been standing on an earlier link.
    SubscribeFailed {
        /// Which.
        subscription: SubscriptionId,
        /// Its channel.
        channel: Arc<str>,
        /// Why.
        error: ReplyError,
    },
    /// An event.
    Event {
        /// Of which subscription.
        subscription: SubscriptionId,
        /// Its channel.
        channel: Arc<str>,
        /// The event, above all before it.
        event: Event,
    },
    /// Events were missed.
    Gap {
        /// Of which subscription.
        subscription: SubscriptionId,
        /// Its channel.
        channel: Arc<str>,
        /// Which and why.
        gap: Gap,
    },
    /// The server ended a subscription.
    Ended {
        /// Which.
        subscription: SubscriptionId,
        /// Its channel.
        channel: Arc<str>,
        /// Why: `deleted`.
        reason: Box<str>,
    },
    /// A publish was stored.
    Published {
        /// What [`publish`](super::ClientSession::publish) returned.
        id: u64,
        /// The event's id.
        eid: Eid,
        /// True when this answer is to a repetition.
        duplicate: bool,
    },
    /// A publish got no good answer and will not be repeated.
    PublishFailed {
        /// What [`publish`](super::ClientSession::publish) returned.
        id: u64,
        /// Why.
        fault: PublishFault,
    },
    /// The session is over; the last event but for those of publishes, which precede it.
    Closed {
        /// Close code of section 7; 1006 when no server said one.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// Why a publish failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishFault {
    /// The server did not take it. After `store_full`, `store_failed` and `overloaded` it may be published anew later.
    Refused(ReplyError),
    /// The session ended before the answer. When `sent`, the event may have been stored.
    Closed {
        /// True when it had been sent.
        sent: bool,
    },
}

impl fmt::Display for PublishFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishFault::Refused(error) => error.fmt(f),
            PublishFault::Closed { sent: true } => {
                f.write_str("the session ended before the answer came; the event may or may not be stored")
            }
            PublishFault::Closed { sent: false } => {
                f.write_str("the session ended before the event was sent; it is not stored")
            }
        }
    }
}

impl core::error::Error for PublishFault {}

/// Why a publish was not taken into the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The name breaks section 3.
    Channel(BadChannelName),
    /// The queue is full; there is room again after a [`ClientEvent::Published`] or [`ClientEvent::PublishFailed`].
    Full {
        /// Publishes without an answer.
        publishes: usize,
        /// Bytes of their events.
        bytes: usize,
    },
    /// The data are larger than the server takes.
    TooLarge {
        /// Their length.
        bytes: usize,
        /// The server's `event_bytes`.
        limit: u64,
    },
    /// The session is over.
    Closed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Channel(bad) => bad.fmt(f),
            PublishError::Full { publishes, bytes } => {
                write!(f, "{publishes} publishes ({bytes} bytes) wait for their answer; wait for one before the next")
            }
            PublishError::TooLarge { bytes, limit } => {
                write!(f, "the event's data have {bytes} bytes; the server takes {limit} (event_bytes): split them")
            }
            PublishError::Closed => f.write_str("the session is closed; open another one"),
        }
    }
}

impl core::error::Error for PublishError {}

/// Why a subscription was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The name breaks section 3.
    Channel(BadChannelName),
    /// This session has a subscription to the channel; holds its id.
    Already(SubscriptionId),
    /// The session is over.
    Closed,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscribeError::Channel(bad) => bad.fmt(f),
            SubscribeError::Already(_) => {
                f.write_str("this session is subscribed to the channel; end that subscription, or use another session")
            }
            SubscribeError::Closed => f.write_str("the session is closed; open another one"),
        }
    }
}

impl core::error::Error for SubscribeError {}
