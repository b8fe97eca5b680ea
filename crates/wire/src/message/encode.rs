//! Values to bytes. Written by hand into one buffer, since events are encoded at the hottest place of the server.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ClientMessage, From, Gap, Reply, ReplyError, ServerMessage};
use crate::event::{Body, Data, Event};

/// Which kind of WebSocket message carries the encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
}

/// Appends `s` as a JSON string with its quotes.
pub fn write_json_string(out: &mut Vec<u8>, s: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = s.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b => {
                let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(b >> 4), digit(*b)]);
            }
        }
        rest = tail;
    }
    out.push(b'"');
}

/// How many bytes at the front are the same in a JSON string. Whole chunks are looked at first, without a branch for each
/// byte, since most texts hold nothing to escape.
fn plain_length(text: &[u8]) -> usize {
    const CHUNK: usize = 32;
    let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
    let plain = |chunk: &&[u8]| !chunk.iter().fold(false, |found, b| found | special(b));
    let whole = text.chunks_exact(CHUNK).take_while(plain).count() * CHUNK;
    let rest = text.iter().skip(whole);
    whole + rest.take_while(|b| !special(b)).count()
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}

/// Writes one JSON object, member by member.
struct Object<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>, kind: &str) -> Object<'a> {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Object { out }
    }

    /// An object whose type is known from where it stands.
    fn untyped(out: &'a mut Vec<u8>, key: &str, value: impl fmt::Display) -> Object<'a> {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":\"");
        // Writing into a Vec cannot fail; so below.
        let _ = write!(Appender(out), "{value}");
        out.push(b'"');
        Object { out }
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A number, a boolean or JSON that is already text.
    fn raw(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        let out = self.key(key);
        let _ = write!(Appender(out), "{value}");
        self
    }

    /// A value whose text needs no escapes: ids.
    fn quoted(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        let out = self.key(key);
        out.push(b'"');
        let _ = write!(Appender(out), "{value}");
        out.push(b'"');
        self
    }

    fn string(&mut self, key: &str, value: &str) -> &mut Self {
        write_json_string(self.key(key), value);
        self
    }

    fn base64(&mut self, key: &str, bytes: &[u8]) -> &mut Self {
        let out = self.key(key);
        out.push(b'"');
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        if let Some(space) = out.get_mut(start..) {
            // The slice was sized for exactly this.
            let _ = STANDARD.encode_slice(bytes, space);
        }
        out.push(b'"');
        self
    }

    fn body(&mut self, body: &Body) -> &mut Self {
        if let Some(tag) = &body.tag {
            self.string("tag", tag);
        }
        if let Some(properties) = &body.properties {
            self.raw("properties", properties.as_json());
        }
        if let Some(ttl) = body.ttl {
            self.raw("ttl", ttl);
        }
        self
    }

    /// The data where bytes have to travel as base64.
    fn data(&mut self, data: &Data) -> &mut Self {
        match data.as_text() {
            Some(text) => self.string("data", text),
            None => self.base64("base64", data.as_bytes()),
        }
    }

    fn end(&mut self) {
        self.out.push(b'}');
    }
}

/// Runs `header` and puts its length in front of what it wrote, then appends the data.
fn binary(out: &mut Vec<u8>, data: &Data, header: impl FnOnce(&mut Vec<u8>)) -> MessageKind {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    header(out);
    let length = (out.len() - at - 4) as u32;
    if let Some(prefix) = out.get_mut(at..at + 4) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(data.as_bytes());
    MessageKind::Binary
}

/// Appends an `event` message; the bytes are the same for every subscriber.
pub fn encode_event(channel: u32, event: &Event, out: &mut Vec<u8>) -> MessageKind {
    if event.body.data.is_text() {
        encode_event_text(channel, event, out);
        MessageKind::Text
    } else {
        binary(out, &event.body.data, |out| event_header(channel, event, out).end())
    }
}

/// Appends an `event` message in the text form, bytes as `base64`: for carriers without binary messages.
pub fn encode_event_text(channel: u32, event: &Event, out: &mut Vec<u8>) {
    event_header(channel, event, out).data(&event.body.data).end();
}

/// All of an `event` but its data and its end.
fn event_header<'a>(channel: u32, event: &Event, out: &'a mut Vec<u8>) -> Object<'a> {
    let mut object = Object::new(out, "event");
    object.raw("channel", channel).quoted("eid", event.eid).raw("time", event.time).body(&event.body);
    object
}

/// Appends an event as the HTTP replay lists it: without type and channel, bytes as base64 (section 9.2).
pub fn encode_event_object(event: &Event, out: &mut Vec<u8>) {
    let mut object = Object::untyped(out, "eid", event.eid);
    object.raw("time", event.time).body(&event.body).data(&event.body.data).end();
}

impl ClientMessage {
    /// Appends the message in the text form, bytes as `base64`: for carriers without binary messages.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        match self {
            ClientMessage::Publish { id, channel, body, persistent } => {
                publish_header(*id, channel, body, *persistent, out).data(&body.data).end();
            }
            // All others are text however they are encoded.
            _ => {
                self.encode(out);
            }
        }
    }

    /// Appends the message; the kind says what has to carry it.
    pub fn encode(&self, out: &mut Vec<u8>) -> MessageKind {
        match self {
            ClientMessage::Connect { versions, session, client, heartbeat } => {
                let mut object = Object::new(out, "connect");
                let list = object.key("versions");
                list.push(b'[');
                for (i, version) in versions.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    let _ = write!(Appender(list), "{comma}{version}");
                }
                list.push(b']');
                if let Some(session) = session {
                    object.quoted("session", session);
                }
                if let Some(client) = client {
                    object.string("client", client);
                }
                if let Some(heartbeat) = heartbeat {
                    object.raw("heartbeat", heartbeat);
                }
                object.end();
            }
            ClientMessage::Subscribe { id, channel, from } => {
                let mut object = Object::new(out, "subscribe");
                object.raw("id", id).string("channel", channel);
                match from {
                    From::New => object.quoted("from", "new"),
                    From::All => object.quoted("from", "all"),
                    From::Eid(eid) => object.quoted("from", eid),
                    From::After { after, epoch } => object.quoted("after", after).quoted("epoch", epoch),
                }
                .end();
            }
            ClientMessage::Unsubscribe { id, channel } => {
                Object::new(out, "unsubscribe").raw("id", id).string("channel", channel).end();
            }
            ClientMessage::Publish { id, channel, body, persistent } => {
                return encode_publish(*id, channel, body, *persistent, out);
            }
            ClientMessage::Ping => Object::new(out, "ping").end(),
            ClientMessage::Pong => Object::new(out, "pong").end(),
            ClientMessage::Report { transport, failure, after, detail } => {
                let mut object = Object::new(out, "report");
                object.string("transport", transport).string("failure", failure).raw("after", after);
                if let Some(detail) = detail {
                    object.string("detail", detail);
                }
                object.end();
            }
            ClientMessage::Close { reason } => {
                let mut object = Object::new(out, "close");
                if let Some(reason) = reason {
                    object.string("reason", reason);
                }
                object.end();
            }
        }
        MessageKind::Text
    }
}

fn encode_publish(id: u64, channel: &str, body: &Body, persistent: Option<bool>, out: &mut Vec<u8>) -> MessageKind {
    if body.data.is_text() {
        publish_header(id, channel, body, persistent, out).data(&body.data).end();
        MessageKind::Text
    } else {
        binary(out, &body.data, |out| publish_header(id, channel, body, persistent, out).end())
    }
}

/// All of a `publish` but its data and its end.
fn publish_header<'a>(
    id: u64,
    channel: &str,
    body: &Body,
    persistent: Option<bool>,
    out: &'a mut Vec<u8>,
) -> Object<'a> {
    let mut object = Object::new(out, "publish");
    object.raw("id", id).string("channel", channel).body(body);
    if let Some(persistent) = persistent {
        object.raw("persistent", persistent);
    }
    object
}

impl ServerMessage {
    /// Appends the message in the text form, bytes as `base64`: for carriers without binary messages.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        match self {
            ServerMessage::Event { channel, event } => encode_event_text(*channel, event, out),
            // All others are text however they are encoded.
            _ => {
                self.encode(out);
            }
        }
    }

    /// Appends the message; the kind says what has to carry it.
    pub fn encode(&self, out: &mut Vec<u8>) -> MessageKind {
        match self {
            ServerMessage::Welcome { version, session, heartbeat, limits, network } => {
                let mut object = Object::new(out, "welcome");
                object.raw("version", version).quoted("session", session).raw("heartbeat", heartbeat);
                let list = object.key("limits");
                let _ = write!(
                    Appender(list),
                    "{{\"event_bytes\":{},\"publishes_max\":{},\"subscriptions_max\":{}}}",
                    limits.event_bytes,
                    limits.publishes_max,
                    limits.subscriptions_max
                );
                if let Some(network) = network {
                    object.string("network", network);
                }
                object.end();
            }
            ServerMessage::Reply { id, result } => encode_reply(*id, result, out),
            ServerMessage::Event { channel, event } => return encode_event(*channel, event, out),
            ServerMessage::Gap { channel, gap } => encode_gap(*channel, gap, out),
            ServerMessage::End { channel, reason } => {
                Object::new(out, "end").raw("channel", channel).string("reason", reason).end();
            }
            ServerMessage::Ping => Object::new(out, "ping").end(),
            ServerMessage::Pong => Object::new(out, "pong").end(),
            ServerMessage::Drain { after } => Object::new(out, "drain").raw("after", after).end(),
            ServerMessage::Close { code, reason } => {
                Object::new(out, "close").raw("code", code).string("reason", reason).end();
            }
        }
        MessageKind::Text
    }
}

fn encode_reply(id: u64, result: &Result<Reply, ReplyError>, out: &mut Vec<u8>) {
    let mut object = Object::new(out, "reply");
    object.raw("id", id);
    match result {
        Ok(Reply::Subscribed { number, epoch, eid }) => {
            object.raw("number", number).quoted("epoch", epoch).quoted("eid", eid);
        }
        Ok(Reply::Unsubscribed) => {}
        Ok(Reply::Published { eid, duplicate }) => {
            object.quoted("eid", eid);
            if *duplicate {
                object.raw("duplicate", true);
            }
        }
        Err(error) => {
            error.encode(object.key("error"));
        }
    }
    object.end();
}

fn encode_gap(channel: u32, gap: &Gap, out: &mut Vec<u8>) {
    let mut object = Object::new(out, "gap");
    object.raw("channel", channel).quoted("from", gap.from).quoted("to", gap.to);
    object.quoted("epoch", gap.epoch).quoted("reason", gap.reason.name()).end();
}

impl ReplyError {
    /// Appends the error object, as `reply` messages and HTTP answers hold it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // The code may be one that another server made up.
        out.extend_from_slice(b"{\"code\":");
        write_json_string(out, &self.code);
        let mut object = Object { out };
        object.string("message", &self.message);
        if let Some(limit) = self.limit {
            object.raw("limit", limit);
        }
        object.end();
    }
}
