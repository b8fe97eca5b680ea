//! The messages of the protocol and their two carriages: PROTOCOL.md sections 2 to 4.

mod decode;
mod encode;

pub use decode::{DecodeError, decode_event_object};
pub use encode::{MessageKind, encode_event, encode_event_object, encode_event_text, write_json_string};

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::close::CloseCode;
use crate::event::{Body, Eid, Epoch, Event, SessionId};

/// The protocol version this crate implements.
pub const VERSION: u64 = 1;
/// The WebSocket subprotocol that is offered and selected.
pub const SUBPROTOCOL: &str = "throughline.v1";
/// Longest JSON header of a binary message, bytes.
pub const HEADER_BYTES_MAX: usize = 65_536;
/// Longest `client` member of a `connect`, bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;
/// Longest `transport` or `failure` member of a `report`, bytes.
pub const REPORT_WORD_BYTES_MAX: usize = 32;
/// Longest `detail` member of a `report`, bytes.
pub const REPORT_DETAIL_BYTES_MAX: usize = 200;

/// One message as a transport hands it over: a whole WebSocket message, or a line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage<'a> {
    /// A JSON object in UTF-8 that was not checked yet.
    Text(&'a [u8]),
    /// Length-prefixed JSON header and data.
    Binary(&'a [u8]),
}

/// From client to server.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// First on every link.
    Connect {
        /// Protocol versions the client speaks.
        versions: Vec<u64>,
        /// The session to resume.
        session: Option<SessionId>,
        /// Name and version of the client.
        client: Option<Box<str>>,
        /// The interval of section 6 that the client wants on this link, milliseconds.
        heartbeat: Option<u64>,
    },
    /// Begin to receive a channel.
    Subscribe {
        /// Request id.
        id: u64,
        /// Channel name, checked.
        channel: Box<str>,
        /// Where to begin.
        from: From,
    },
    /// Stop receiving a channel.
    Unsubscribe {
        /// Request id.
        id: u64,
        /// Channel name, checked.
        channel: Box<str>,
    },
    /// Publish an event.
    Publish {
        /// Request id and publish number.
        id: u64,
        /// Channel name, checked.
        channel: Box<str>,
        /// What to publish.
        body: Body,
        /// On a channel of type `mixed`: keep it on disk.
        persistent: Option<bool>,
    },
    /// Asks for a `pong`.
    Ping,
    /// Answers a `ping`.
    Pong,
    /// What the client learned about its path: an attempt that failed, or a link that ended. Not answered.
    Report {
        /// The transport that failed.
        transport: Box<str>,
        /// How: a word of section 4.1, or one of a newer client.
        failure: Box<str>,
        /// How long after its beginning, milliseconds.
        after: u64,
        /// More, for the operator.
        detail: Option<Box<str>>,
    },
    /// The client is done.
    Close {
        /// Why, for the operator.
        reason: Option<String>,
    },
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the next event.
    New,
    /// With the oldest event that is kept.
    All,
    /// With this event, or the next one that is kept.
    Eid(Eid),
    /// After the cursor `after` in the history `epoch`: resuming.
    After {
        /// The last event given; [`Eid::NONE`] if none was.
        after: Eid,
        /// The history it belongs to.
        epoch: Epoch,
    },
}

/// From server to client.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// First on every link.
    Welcome {
        /// The protocol version chosen.
        version: u64,
        /// The session's id.
        session: SessionId,
        /// Interval of section 6, milliseconds.
        heartbeat: u64,
        /// What the server accepts.
        limits: Limits,
        /// Opaque name of the network that the client's requests come from, at most 32 characters.
        network: Option<Box<str>>,
    },
    /// Answers a request.
    Reply {
        /// Id of the request.
        id: u64,
        /// What became of it.
        result: Result<Reply, ReplyError>,
    },
    /// An event of a subscription.
    Event {
        /// Channel number.
        channel: u32,
        /// The event.
        event: Event,
    },
    /// Events were missed.
    Gap {
        /// Channel number.
        channel: u32,
        /// Which and why.
        gap: Gap,
    },
    /// A subscription ended.
    End {
        /// Channel number.
        channel: u32,
        /// Why: `deleted`.
        reason: Box<str>,
    },
    /// Asks for a `pong`.
    Ping,
    /// Answers a `ping`.
    Pong,
    /// The server is stopping.
    Drain {
        /// Reconnect after a random delay up to this many milliseconds.
        after: u64,
    },
    /// The link ends, on transports that have no close frame.
    Close {
        /// See [`CloseCode`].
        code: u16,
        /// Why, for a person.
        reason: String,
    },
}

/// Limits that a `welcome` announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest data of one event, bytes.
    pub event_bytes: u64,
    /// Most publishes of a session without a reply.
    pub publishes_max: u64,
    /// Most subscriptions of a link.
    pub subscriptions_max: u64,
}

/// The content of a `reply` that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `subscribe`.
    Subscribed {
        /// Channel number on this link.
        number: u32,
        /// The channel's history.
        epoch: Epoch,
        /// The last event that counts as given.
        eid: Eid,
    },
    /// To `unsubscribe`.
    Unsubscribed,
    /// To `publish`.
    Published {
        /// The event's id.
        eid: Eid,
        /// True when the event had been stored before.
        duplicate: bool,
    },
}

/// Events that will not come on a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First event missed.
    pub from: Eid,
    /// Last event missed; [`Eid::NONE`] when that is unknown ([`GapReason::Epoch`]).
    pub to: Eid,
    /// The history that is current now.
    pub epoch: Epoch,
    /// Why they are gone.
    pub reason: GapReason,
}

/// Why events are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The channel keeps only so many.
    Capacity,
    /// Their time to live had passed.
    Expired,
    /// The cursor belongs to another history.
    Epoch,
    /// The realm ended without warning, and events not on disk may have existed.
    Restart,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [GapReason; 4] = [GapReason::Capacity, GapReason::Expired, GapReason::Epoch, GapReason::Restart];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            GapReason::Capacity => "capacity",
            GapReason::Expired => "expired",
            GapReason::Epoch => "epoch",
            GapReason::Restart => "restart",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<GapReason> {
        GapReason::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// Codes of a `reply` with an error: PROTOCOL.md section 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The name breaks the rules.
    BadChannelName,
    /// No such channel.
    UnknownChannel,
    /// This link has a subscription to it.
    AlreadySubscribed,
    /// Nothing to unsubscribe.
    NotSubscribed,
    /// `subscriptions_max` reached.
    TooManySubscriptions,
    /// No position to begin at.
    BadPosition,
    /// Data over `event_bytes`.
    EventTooLarge,
    /// Tag, ttl, properties, base64 or data out of range.
    BadEvent,
    /// The channel keeps nothing on disk.
    NotPersistent,
    /// Id lower than any that is remembered.
    PublishNumber,
    /// The disk is full.
    StoreFull,
    /// The disk failed.
    StoreFailed,
    /// A bound on work in progress.
    Overloaded,
    /// Deleted while under way.
    ChannelDeleted,
    /// The realm is stopping.
    Draining,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [ErrorCode; 15] = [
        ErrorCode::BadChannelName,
        ErrorCode::UnknownChannel,
        ErrorCode::AlreadySubscribed,
        ErrorCode::NotSubscribed,
        ErrorCode::TooManySubscriptions,
        ErrorCode::BadPosition,
        ErrorCode::EventTooLarge,
        ErrorCode::BadEvent,
        ErrorCode::NotPersistent,
        ErrorCode::PublishNumber,
        ErrorCode::StoreFull,
        ErrorCode::StoreFailed,
        ErrorCode::Overloaded,
        ErrorCode::ChannelDeleted,
        ErrorCode::Draining,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::BadChannelName => "bad_channel_name",
            ErrorCode::UnknownChannel => "unknown_channel",
            ErrorCode::AlreadySubscribed => "already_subscribed",
            ErrorCode::NotSubscribed => "not_subscribed",
            ErrorCode::TooManySubscriptions => "too_many_subscriptions",
            ErrorCode::BadPosition => "bad_position",
            ErrorCode::EventTooLarge => "event_too_large",
            ErrorCode::BadEvent => "bad_event",
            ErrorCode::NotPersistent => "not_persistent",
            ErrorCode::PublishNumber => "publish_number",
            ErrorCode::StoreFull => "store_full",
            ErrorCode::StoreFailed => "store_failed",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::ChannelDeleted => "channel_deleted",
            ErrorCode::Draining => "draining",
        }
    }
}

/// The error of a `reply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    /// A code of section 4.3, or one that a newer server sent.
    pub code: Cow<'static, str>,
    /// What is wrong and the way out, for a person.
    pub message: String,
    /// The limit that was passed.
    pub limit: Option<u64>,
}

impl ReplyError {
    /// An error without a limit.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ReplyError {
        ReplyError { code: Cow::Borrowed(code.name()), message: message.into(), limit: None }
    }

    /// An error that names the limit passed.
    pub fn limit(code: ErrorCode, message: impl Into<String>, limit: u64) -> ReplyError {
        ReplyError { limit: Some(limit), ..ReplyError::new(code, message) }
    }

    /// True when the error has this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.name()
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl core::error::Error for ReplyError {}

/// A close code with its reason, as both sides keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// Why.
    pub code: CloseCode,
    /// The fault in words, at most 123 bytes so that it fits a close frame.
    pub reason: String,
}

impl CloseReason {
    /// Longest reason, bytes: a control frame carries 125, two of them are the code (RFC 6455 section 5.5).
    pub const BYTES_MAX: usize = 123;

    /// A reason, cut to [`CloseReason::BYTES_MAX`] at a character's boundary.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> CloseReason {
        let mut reason: String = reason.into();
        if reason.len() > CloseReason::BYTES_MAX {
            let mut end = CloseReason::BYTES_MAX;
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            reason.truncate(end);
        }
        CloseReason { code, reason }
    }
}
