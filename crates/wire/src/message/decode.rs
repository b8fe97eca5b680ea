//! Bytes to values. Whatever comes in, the outcome is a value or an error that names the fault.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    CLIENT_NAME_BYTES_MAX, Carriage, ClientMessage, ErrorCode, From, Gap, GapReason, HEADER_BYTES_MAX, Limits,
    REPORT_DETAIL_BYTES_MAX, REPORT_WORD_BYTES_MAX, Reply, ReplyError, ServerMessage,
};
use crate::event::{Body, Data, Eid, Event, SAFE_INTEGER_MAX, TAG_BYTES_MAX, check_channel_name};
use crate::properties::Properties;

/// Why a message was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The peer breaks the protocol: the link has to be closed with code 4200 and this text.
    Malformed(String),
    /// One request is at fault: it is answered, the link goes on.
    Request {
        /// Id of the request.
        id: u64,
        /// The answer.
        error: ReplyError,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed(text) => f.write_str(text),
            DecodeError::Request { id, error } => write!(f, "request {id}: {error}"),
        }
    }
}

impl core::error::Error for DecodeError {}

fn malformed(text: impl Into<String>) -> DecodeError {
    DecodeError::Malformed(text.into())
}

/// Splits a message into its JSON object and the data that a binary one carries.
fn split(carriage: Carriage<'_>) -> Result<(&[u8], Option<&[u8]>), DecodeError> {
    let bytes = match carriage {
        Carriage::Text(bytes) => return Ok((bytes, None)),
        Carriage::Binary(bytes) => bytes,
    };
    let (prefix, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| {
        malformed(format!("binary message of {} bytes, too short for the 4-byte header length", bytes.len()))
    })?;
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(malformed(format!("binary message's header has {length} bytes, at most {HEADER_BYTES_MAX}")));
    }
    let (header, data) = rest
        .split_at_checked(length)
        .ok_or_else(|| malformed(format!("binary message ends within its header of {length} bytes")))?;
    Ok((header, Some(data)))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    // The parser itself does not look at strings that it skips.
    let json = core::str::from_utf8(json).map_err(|e| malformed(format!("message is not UTF-8: {e}")))?;
    serde_json::from_str(json).map_err(|e| malformed(format!("message is no valid JSON object of the protocol: {e}")))
}

fn required<T>(value: Option<T>, kind: &str, member: &str) -> Result<T, DecodeError> {
    value.ok_or_else(|| malformed(format!("{kind} lacks member {member:?}")))
}

fn parsed<T: FromStr<Err: fmt::Display>>(value: Option<&str>, kind: &str, member: &str) -> Result<T, DecodeError> {
    let text = required(value, kind, member)?;
    text.parse().map_err(|e| malformed(format!("{kind}: member {member:?}: {e}")))
}

/// A member whose JSON type depends on the message.
fn typed<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    kind: &str,
    member: &str,
) -> Result<Option<T>, DecodeError> {
    let value = raw.map(|raw| serde_json::from_str(raw.get())).transpose();
    value.map_err(|e| malformed(format!("{kind}: member {member:?}: {e}")))
}

/// Members that make up an event's body, in either direction.
struct RawBody<'a> {
    data: Option<String>,
    base64: Option<String>,
    payload: Option<&'a [u8]>,
    tag: Option<String>,
    properties: Option<&'a RawValue>,
    ttl: Option<u64>,
}

impl RawBody<'_> {
    fn check(self) -> Result<Body, String> {
        let data = match (self.data, self.base64, self.payload) {
            (Some(text), None, None) => Data::text(text),
            (None, Some(coded), None) => {
                let bytes = STANDARD.decode(coded).map_err(|e| format!("member \"base64\": {e}"))?;
                Data::bytes(bytes)
            }
            (None, None, Some(bytes)) => Data::bytes(Bytes::copy_from_slice(bytes)),
            (None, None, None) => return Err("neither \"data\" nor \"base64\" was given".to_owned()),
            _ => return Err("the data were given more than once".to_owned()),
        };
        if let Some(tag) = &self.tag
            && tag.len() > TAG_BYTES_MAX
        {
            return Err(format!("tag has {} bytes, at most {TAG_BYTES_MAX} are allowed", tag.len()));
        }
        if let Some(ttl) = self.ttl
            && (ttl == 0 || ttl > SAFE_INTEGER_MAX)
        {
            return Err(format!("ttl is {ttl}; 1 to 2^53-1 milliseconds are allowed"));
        }
        let properties = self.properties.map(|raw| Properties::from_json(raw.get())).transpose();
        Ok(Body {
            data,
            tag: self.tag.map(String::into_boxed_str),
            properties: properties.map_err(|e| e.to_string())?,
            ttl: self.ttl,
        })
    }
}

#[derive(Deserialize)]
struct RawClient<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    versions: Option<Vec<u64>>,
    session: Option<Box<str>>,
    client: Option<Box<str>>,
    id: Option<u64>,
    channel: Option<Box<str>>,
    from: Option<Box<str>>,
    /// A cursor's EID, or a report's milliseconds.
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    epoch: Option<Box<str>>,
    data: Option<String>,
    base64: Option<String>,
    tag: Option<String>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    ttl: Option<u64>,
    persistent: Option<bool>,
    reason: Option<String>,
    heartbeat: Option<u64>,
    transport: Option<Box<str>>,
    failure: Option<Box<str>>,
    detail: Option<Box<str>>,
}

impl ClientMessage {
    /// Decodes one whole message.
    pub fn decode(carriage: Carriage<'_>) -> Result<ClientMessage, DecodeError> {
        let (json, payload) = split(carriage)?;
        let raw: RawClient<'_> = parse(json).map_err(|fault| misfit(json).unwrap_or(fault))?;
        if payload.is_some() && raw.kind != "publish" {
            return Err(malformed(format!("{:?} came as a binary message; only publish may", raw.kind)));
        }
        match &*raw.kind {
            "connect" => connect(raw),
            "subscribe" => {
                let (id, channel) = request(&raw)?;
                let after: Option<Cow<'_, str>> = typed(raw.after, "subscribe", "after")?;
                let from = position(&raw, after.as_deref()).map_err(|text| refuse(id, ErrorCode::BadPosition, text))?;
                Ok(ClientMessage::Subscribe { id, channel, from })
            }
            "unsubscribe" => {
                let (id, channel) = request(&raw)?;
                Ok(ClientMessage::Unsubscribe { id, channel })
            }
            "publish" => publish(raw, payload),
            "ping" => Ok(ClientMessage::Ping),
            "pong" => Ok(ClientMessage::Pong),
            "report" => report(raw),
            "close" => Ok(ClientMessage::Close { reason: raw.reason }),
            kind => Err(malformed(format!("unknown message type {kind:?}"))),
        }
    }
}

/// A publish that can be answered, since its id can be read, and has another member of a wrong JSON type.
fn misfit(json: &[u8]) -> Option<DecodeError> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(json).ok()?;
    let text = |raw: &RawValue| serde_json::from_str::<Option<String>>(raw.get()).err();
    if members.get("type")?.get() != "\"publish\"" {
        return None;
    }
    let id = serde_json::from_str(members.get("id")?.get()).ok().filter(|id| (1..=SAFE_INTEGER_MAX).contains(id))?;
    let fault = members.iter().find_map(|(name, raw)| {
        let fault = match &**name {
            "channel" | "data" | "base64" | "tag" => text(raw),
            "ttl" => serde_json::from_str::<Option<u64>>(raw.get()).err(),
            "persistent" => serde_json::from_str::<Option<bool>>(raw.get()).err(),
            _ => None,
        };
        fault.map(|fault| format!("member {name:?}: {fault}"))
    });
    Some(refuse(id, ErrorCode::BadEvent, fault?))
}

fn refuse(id: u64, code: ErrorCode, message: impl Into<String>) -> DecodeError {
    DecodeError::Request { id, error: ReplyError::new(code, message) }
}

fn connect(raw: RawClient<'_>) -> Result<ClientMessage, DecodeError> {
    let versions = required(raw.versions, "connect", "versions")?;
    let session = match &raw.session {
        Some(text) => Some(parsed(Some(text), "connect", "session")?),
        None => None,
    };
    short(raw.client.as_deref(), "connect", "client", CLIENT_NAME_BYTES_MAX)?;
    Ok(ClientMessage::Connect { versions, session, client: raw.client, heartbeat: raw.heartbeat })
}

fn report(raw: RawClient<'_>) -> Result<ClientMessage, DecodeError> {
    let transport = required(raw.transport, "report", "transport")?;
    let failure = required(raw.failure, "report", "failure")?;
    let after = required(typed(raw.after, "report", "after")?, "report", "after")?;
    short(Some(&transport), "report", "transport", REPORT_WORD_BYTES_MAX)?;
    short(Some(&failure), "report", "failure", REPORT_WORD_BYTES_MAX)?;
    short(raw.detail.as_deref(), "report", "detail", REPORT_DETAIL_BYTES_MAX)?;
    Ok(ClientMessage::Report { transport, failure, after, detail: raw.detail })
}

/// A member that is at most so many bytes long, if it is there.
fn short(value: Option<&str>, kind: &str, member: &str, bytes_max: usize) -> Result<(), DecodeError> {
    match value {
        Some(text) if text.len() > bytes_max => {
            Err(malformed(format!("{kind}: member {member:?} is longer than {bytes_max} bytes")))
        }
        _ => Ok(()),
    }
}

/// The id and the checked channel name that every request has.
fn request(raw: &RawClient<'_>) -> Result<(u64, Box<str>), DecodeError> {
    let id = required(raw.id, &raw.kind, "id")?;
    if id == 0 || id > SAFE_INTEGER_MAX {
        return Err(malformed(format!("{}: id is {id}; 1 to 2^53-1 are allowed", raw.kind)));
    }
    let channel = required(raw.channel.clone(), &raw.kind, "channel")?;
    check_channel_name(&channel).map_err(|e| refuse(id, ErrorCode::BadChannelName, e.to_string()))?;
    Ok((id, channel))
}

fn position(raw: &RawClient<'_>, after: Option<&str>) -> Result<From, String> {
    match (raw.from.as_deref(), after, raw.epoch.as_deref()) {
        (Some("new"), None, None) => Ok(From::New),
        (Some("all"), None, None) => Ok(From::All),
        (Some(eid), None, None) => {
            eid.parse().map(From::Eid).map_err(|e| format!("from {eid:?}: expected \"new\", \"all\" or an EID ({e})"))
        }
        (None, Some(after), Some(epoch)) => {
            let after = after.parse().map_err(|e| format!("after {after:?}: {e}"))?;
            let epoch = epoch.parse().map_err(|e| format!("epoch {epoch:?}: {e}"))?;
            Ok(From::After { after, epoch })
        }
        _ => Err("give either \"from\", or \"after\" together with \"epoch\"".to_owned()),
    }
}

fn publish(raw: RawClient<'_>, payload: Option<&[u8]>) -> Result<ClientMessage, DecodeError> {
    let (id, channel) = request(&raw)?;
    let RawClient { data, base64, tag, properties, ttl, persistent, .. } = raw;
    let body = RawBody { data, base64, payload, tag, properties, ttl }
        .check()
        .map_err(|text| refuse(id, ErrorCode::BadEvent, text))?;
    Ok(ClientMessage::Publish { id, channel, body, persistent })
}

#[derive(Deserialize)]
struct RawServer<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    version: Option<u64>,
    session: Option<Box<str>>,
    heartbeat: Option<u64>,
    limits: Option<RawLimits>,
    id: Option<u64>,
    error: Option<RawError>,
    number: Option<u32>,
    epoch: Option<Box<str>>,
    eid: Option<Box<str>>,
    #[serde(default)]
    duplicate: bool,
    channel: Option<u32>,
    time: Option<u64>,
    data: Option<String>,
    base64: Option<String>,
    tag: Option<String>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    ttl: Option<u64>,
    from: Option<Box<str>>,
    to: Option<Box<str>>,
    reason: Option<Box<str>>,
    after: Option<u64>,
    code: Option<u16>,
    network: Option<Box<str>>,
}

#[derive(Deserialize)]
struct RawLimits {
    event_bytes: u64,
    publishes_max: u64,
    subscriptions_max: u64,
}

#[derive(Deserialize)]
struct RawError {
    code: String,
    message: String,
    limit: Option<u64>,
}

impl ServerMessage {
    /// Decodes one whole message.
    pub fn decode(carriage: Carriage<'_>) -> Result<ServerMessage, DecodeError> {
        let (json, payload) = split(carriage)?;
        let raw: RawServer<'_> = parse(json)?;
        if payload.is_some() && raw.kind != "event" {
            return Err(malformed(format!("{:?} came as a binary message; only event may", raw.kind)));
        }
        match &*raw.kind {
            "welcome" => welcome(raw),
            "reply" => reply(raw),
            "event" => event(raw, payload),
            "gap" => gap(&raw),
            "end" => {
                let channel = required(raw.channel, "end", "channel")?;
                Ok(ServerMessage::End { channel, reason: required(raw.reason, "end", "reason")? })
            }
            "ping" => Ok(ServerMessage::Ping),
            "pong" => Ok(ServerMessage::Pong),
            "drain" => Ok(ServerMessage::Drain { after: required(raw.after, "drain", "after")? }),
            "close" => {
                let code = required(raw.code, "close", "code")?;
                Ok(ServerMessage::Close { code, reason: raw.reason.unwrap_or_default().into() })
            }
            kind => Err(malformed(format!("unknown message type {kind:?}"))),
        }
    }
}

fn welcome(raw: RawServer<'_>) -> Result<ServerMessage, DecodeError> {
    let limits = required(raw.limits.as_ref(), "welcome", "limits")?;
    Ok(ServerMessage::Welcome {
        version: required(raw.version, "welcome", "version")?,
        session: parsed(raw.session.as_deref(), "welcome", "session")?,
        heartbeat: required(raw.heartbeat, "welcome", "heartbeat")?,
        limits: Limits {
            event_bytes: limits.event_bytes,
            publishes_max: limits.publishes_max,
            subscriptions_max: limits.subscriptions_max,
        },
        network: raw.network,
    })
}

fn reply(raw: RawServer<'_>) -> Result<ServerMessage, DecodeError> {
    let id = required(raw.id, "reply", "id")?;
    let result = if let Some(e) = raw.error {
        Err(ReplyError { code: Cow::Owned(e.code), message: e.message, limit: e.limit })
    } else if let Some(number) = raw.number {
        let epoch = parsed(raw.epoch.as_deref(), "reply", "epoch")?;
        Ok(Reply::Subscribed { number, epoch, eid: parsed(raw.eid.as_deref(), "reply", "eid")? })
    } else if raw.eid.is_some() {
        Ok(Reply::Published { eid: parsed(raw.eid.as_deref(), "reply", "eid")?, duplicate: raw.duplicate })
    } else {
        Ok(Reply::Unsubscribed)
    };
    Ok(ServerMessage::Reply { id, result })
}

fn event(raw: RawServer<'_>, payload: Option<&[u8]>) -> Result<ServerMessage, DecodeError> {
    let channel = required(raw.channel, "event", "channel")?;
    let eid: Eid = parsed(raw.eid.as_deref(), "event", "eid")?;
    let time = required(raw.time, "event", "time")?;
    let RawServer { data, base64, tag, properties, ttl, .. } = raw;
    let body = RawBody { data, base64, payload, tag, properties, ttl }
        .check()
        .map_err(|text| malformed(format!("event {eid}: {text}")))?;
    Ok(ServerMessage::Event { channel, event: Event { eid, time, body } })
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    eid: Cow<'a, str>,
    time: u64,
    data: Option<String>,
    base64: Option<String>,
    tag: Option<String>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    ttl: Option<u64>,
}

/// Decodes an event as the HTTP replay lists it (section 9.2).
pub fn decode_event_object(json: &[u8]) -> Result<Event, DecodeError> {
    let RawEvent { eid, time, data, base64, tag, properties, ttl } = parse(json)?;
    let eid: Eid = parsed(Some(&eid), "event", "eid")?;
    let body = RawBody { data, base64, payload: None, tag, properties, ttl }
        .check()
        .map_err(|text| malformed(format!("event {eid}: {text}")))?;
    Ok(Event { eid, time, body })
}

fn gap(raw: &RawServer<'_>) -> Result<ServerMessage, DecodeError> {
    let reason = required(raw.reason.as_deref(), "gap", "reason")?;
    let reason = GapReason::from_name(reason).ok_or_else(|| malformed(format!("gap: unknown reason {reason:?}")))?;
    let gap = Gap {
        from: parsed(raw.from.as_deref(), "gap", "from")?,
        to: parsed(raw.to.as_deref(), "gap", "to")?,
        epoch: parsed(raw.epoch.as_deref(), "gap", "epoch")?,
        reason,
    };
    Ok(ServerMessage::Gap { channel: required(raw.channel, "gap", "channel")?, gap })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::encode_event_object;

    #[test]
    fn an_event_of_a_replay_reads_back() {
        let properties = Properties::from_json(r#"{"n":{"long":"9"}}"#).unwrap();
        for data in [Data::text("a\"b"), Data::bytes(&[0u8, 255][..])] {
            let body = Body { data, tag: Some("t".into()), properties: Some(properties.clone()), ttl: Some(5) };
            let event = Event { eid: Eid(7), time: 1, body };
            let mut json = Vec::new();
            encode_event_object(&event, &mut json);
            assert_eq!(decode_event_object(&json), Ok(event));
        }
        for bad in ["{}", r#"{"eid":"1","time":1}"#, r#"{"eid":"x","time":1,"data":""}"#, r#"{"eid":"1","data":""}"#] {
            assert!(decode_event_object(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
