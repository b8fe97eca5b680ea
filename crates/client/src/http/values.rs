//! What the HTTP side says and takes, as values.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use throughline_wire::event::{Eid, Epoch, Event};
use throughline_wire::message::{GapReason, ReplyError, decode_event_object};

use crate::error::ConnectError;
use crate::session::Published;

/// What a channel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelType {
    /// Nothing.
    Transient,
    /// Events in memory.
    Reliable,
    /// Events on disk.
    Persistent,
    /// Each event says.
    Mixed,
}

impl ChannelType {
    /// Every type.
    pub const ALL: [ChannelType; 4] =
        [ChannelType::Transient, ChannelType::Reliable, ChannelType::Persistent, ChannelType::Mixed];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ChannelType::Transient => "transient",
            ChannelType::Reliable => "reliable",
            ChannelType::Persistent => "persistent",
            ChannelType::Mixed => "mixed",
        }
    }
}

impl FromStr for ChannelType {
    type Err = String;

    fn from_str(text: &str) -> Result<ChannelType, String> {
        let found = ChannelType::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("{text:?} is no channel type: transient, reliable, persistent or mixed"))
    }
}

/// The attributes of a channel to be created. What is `None` is the realm's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelSpec {
    /// What it keeps.
    #[serde(rename = "type")]
    pub kind: ChannelType,
    /// Most events kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Most bytes kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Milliseconds after which an event is not given out any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// A channel as the realm shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What it keeps.
    pub kind: ChannelType,
    /// Most events kept; `None` for no limit.
    pub capacity: Option<u64>,
    /// Most bytes kept; `None` for no limit.
    pub bytes: Option<u64>,
    /// Milliseconds after which an event is not given out any more; `None` for no limit.
    pub ttl: Option<u64>,
    /// Identity of its history.
    pub epoch: Epoch,
    /// The oldest event kept, [`Eid::NONE`] when none is.
    pub first: Eid,
    /// The last event published, [`Eid::NONE`] when none was.
    pub last: Eid,
    /// How many events are kept.
    pub events: u64,
    /// The JSON object as it came.
    pub json: String,
}

/// A page of kept events.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The channel's history.
    pub epoch: Epoch,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Where the next page begins.
    pub next: Eid,
    /// True when there is a next page now.
    pub more: bool,
    /// Events from the asked position on that are no longer kept.
    pub gap: Option<PageGap>,
}

/// Events that a page lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageGap {
    /// The first.
    pub from: Eid,
    /// The last.
    pub to: Eid,
    /// Why.
    pub reason: GapReason,
}

/// Why a call to the HTTP side failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The realm was not reached, or something else answered.
    Connect(ConnectError),
    /// The call is wrong; nothing was sent.
    Request(String),
    /// The realm refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// What the realm said.
        error: ReplyError,
    },
    /// The realm's answer was not understood.
    Answer(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Connect(error) => error.fmt(f),
            HttpError::Request(fault) => f.write_str(fault),
            HttpError::Refused { error, .. } => error.fmt(f),
            HttpError::Answer(fault) => write!(f, "the realm's answer was not understood: {fault}"),
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HttpError::Connect(error) => Some(error),
            HttpError::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<ConnectError> for HttpError {
    fn from(error: ConnectError) -> HttpError {
        HttpError::Connect(error)
    }
}

fn not_understood(fault: impl fmt::Display) -> HttpError {
    HttpError::Answer(fault.to_string())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HttpError> {
    serde_json::from_slice(body).map_err(not_understood)
}

#[derive(Deserialize)]
struct RawChannel {
    name: String,
    #[serde(rename = "type")]
    kind: ChannelType,
    capacity: Option<u64>,
    bytes: Option<u64>,
    ttl: Option<u64>,
    epoch: String,
    first: String,
    last: String,
    events: u64,
}

pub(super) fn channel(body: &[u8]) -> Result<Channel, HttpError> {
    let RawChannel { name, kind, capacity, bytes, ttl, epoch, first, last, events } = parse(body)?;
    Ok(Channel {
        name,
        kind,
        capacity,
        bytes,
        ttl,
        epoch: epoch.parse().map_err(not_understood)?,
        first: first.parse().map_err(not_understood)?,
        last: last.parse().map_err(not_understood)?,
        events,
        json: String::from_utf8_lossy(body).into_owned(),
    })
}

/// A page of channels, and after which name the next one begins, where there is one.
pub(super) fn channels(body: &[u8]) -> Result<(Vec<Channel>, Option<String>), HttpError> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        channels: Vec<&'a RawValue>,
        next: Option<String>,
        #[serde(default)]
        more: bool,
    }
    let list: List<'_> = parse(body)?;
    let channels = list.channels.into_iter().map(|raw| channel(raw.get().as_bytes())).collect::<Result<_, _>>()?;
    Ok((channels, list.next.filter(|_| list.more)))
}

pub(super) fn spec_json(spec: &ChannelSpec) -> Bytes {
    // A struct of numbers and one word always has a JSON form.
    Bytes::from(serde_json::to_vec(spec).unwrap_or_default())
}

pub(super) fn published(body: &[u8]) -> Result<Published, HttpError> {
    #[derive(Deserialize)]
    struct Raw {
        eid: String,
        #[serde(default)]
        duplicate: bool,
    }
    let raw: Raw = parse(body)?;
    Ok(Published { eid: raw.eid.parse().map_err(not_understood)?, duplicate: raw.duplicate })
}

#[derive(Deserialize)]
struct RawGap {
    from: String,
    to: String,
    reason: String,
}

pub(super) fn page(body: &[u8]) -> Result<Page, HttpError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        epoch: String,
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
        next: String,
        #[serde(default)]
        more: bool,
        gap: Option<RawGap>,
    }
    let raw: Raw<'_> = parse(body)?;
    let event = |json: &RawValue| decode_event_object(json.get().as_bytes()).map_err(not_understood);
    Ok(Page {
        epoch: raw.epoch.parse().map_err(not_understood)?,
        events: raw.events.into_iter().map(event).collect::<Result<_, _>>()?,
        next: raw.next.parse().map_err(not_understood)?,
        more: raw.more,
        gap: raw.gap.map(page_gap).transpose()?,
    })
}

fn page_gap(raw: RawGap) -> Result<PageGap, HttpError> {
    let unknown = || HttpError::Answer(format!("unknown reason {:?} of a gap", raw.reason));
    Ok(PageGap {
        from: raw.from.parse().map_err(not_understood)?,
        to: raw.to.parse().map_err(not_understood)?,
        reason: GapReason::from_name(&raw.reason).ok_or_else(unknown)?,
    })
}

/// The error object of section 9.4 in an answer of the realm, if it is one.
pub(crate) fn error_object(body: &[u8]) -> Option<ReplyError> {
    #[derive(Deserialize)]
    struct Raw {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        code: String,
        message: String,
        limit: Option<u64>,
    }
    let Inner { code, message, limit } = serde_json::from_slice::<Raw>(body).ok()?.error;
    Some(ReplyError { code: code.into(), message, limit })
}

pub(super) fn error(status: StatusCode, body: &[u8]) -> HttpError {
    match error_object(body) {
        Some(error) => HttpError::Refused { status: status.as_u16(), error },
        None => HttpError::Answer(format!("status {status} without an error of section 9.4")),
    }
}
