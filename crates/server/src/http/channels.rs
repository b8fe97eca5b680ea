//! Channel administration: PROTOCOL.md section 9.3.

use std::io::Write;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde_json::Value;
use throughline_engine::{Channel, ChannelAttributes, CreateError, Creation, Engine};
use throughline_wire::event::SAFE_INTEGER_MAX;
use throughline_wire::message::{ErrorCode, ReplyError};

use super::Context;
use super::answer::{Fault, json, whole};
use super::body::Body;
use super::request::{Query, read_body};
use crate::config::nearest;

/// Largest description of a channel, bytes.
const DESCRIPTION_BYTES_MAX: u64 = 65_536;
const MEMBERS: [&str; 4] = ["type", "capacity", "bytes", "ttl"];

pub(super) async fn list(head: &Parts, context: &Context) -> Result<Response<Body>, Fault> {
    let query = Query::of(head, &["after", "limit"])?;
    let (after, limit) = (query.get("after").unwrap_or_default().to_owned(), query.limit()?);
    let body = context.blocking(move |engine: &Engine| {
        let (channels, more) = engine.channels_after(&after, limit);
        let mut out = b"{\"channels\":[".to_vec();
        for (i, channel) in channels.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_channel(&mut out, channel);
        }
        out.push(b']');
        if let Some(last) = channels.last().filter(|_| more) {
            // Writing into a Vec cannot fail; names hold nothing that JSON escapes.
            let _ = write!(out, ",\"next\":\"{}\",\"more\":true", last.name());
        }
        out.push(b'}');
        out
    });
    Ok(json(StatusCode::OK, body.await?))
}

pub(super) fn show(name: &str, context: &Context) -> Result<Response<Body>, Fault> {
    let channel = context.engine.channel(name).ok_or_else(|| unknown(name))?;
    Ok(described(StatusCode::OK, &channel))
}

pub(super) fn unknown(name: &str) -> Fault {
    let message = format!("there is no channel {name:?}; create it with PUT /throughline/v1/channels/{name}");
    ReplyError::new(ErrorCode::UnknownChannel, message).into()
}

pub(super) async fn delete(name: String, context: &Context) -> Result<Response<Body>, Fault> {
    context.blocking(move |engine: &Engine| engine.delete(&name)).await??;
    Ok(whole(StatusCode::NO_CONTENT, ""))
}

pub(super) async fn create<B>(name: String, head: &Parts, body: B, context: &Context) -> Result<Response<Body>, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    Query::of(head, &[])?;
    let body = read_body(body, DESCRIPTION_BYTES_MAX, "the limit for descriptions of channels", context).await?;
    let attributes = attributes(&body.bytes, context.config.channel_defaults.attributes())?;
    let now = (context.now)();
    let asked = name.clone();
    match context.blocking(move |engine: &Engine| engine.create(&asked, attributes, now)).await? {
        Ok(Creation::Created(channel)) => Ok(described(StatusCode::CREATED, &channel)),
        Ok(Creation::Existing(channel)) => Ok(described(StatusCode::OK, &channel)),
        Err(CreateError::Reply(error)) => Err(error.into()),
        Err(CreateError::Conflict(existing)) => Err(conflict(&name, &existing)),
    }
}

fn conflict(name: &str, existing: &ChannelAttributes) -> Fault {
    let mut text = Vec::new();
    write_attributes(&mut text, existing);
    let text = String::from_utf8_lossy(&text);
    let message = format!("channel {name:?} exists as {{{text}}}; delete it first, or take another name");
    Fault::new(StatusCode::CONFLICT, "conflict", message)
}

/// What a description asks for; members it leaves out come from `defaults`, and `null` means no limit.
fn attributes(body: &[u8], defaults: ChannelAttributes) -> Result<ChannelAttributes, Fault> {
    if body.is_empty() {
        return Ok(defaults);
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|e| Fault::bad_request(format!("the body is no JSON: {e}")))?;
    let Value::Object(members) = value else {
        return Err(Fault::bad_request("the body is no JSON object; expected {\"type\":\"persistent\"} or the like"));
    };
    let mut attributes = defaults;
    for (name, value) in &members {
        match name.as_str() {
            "type" => {
                let kind = value.as_str().ok_or_else(|| Fault::bad_request("\"type\" is no string"))?;
                attributes.kind = kind.parse().map_err(|e| Fault::bad_request(format!("{e}")))?;
            }
            "capacity" => attributes.capacity = limit(name, value)?,
            "bytes" => attributes.bytes = limit(name, value)?,
            "ttl" => attributes.ttl = limit(name, value)?,
            _ => {
                let hint = nearest(name, MEMBERS).map(|near| format!("did you mean {near:?}?"));
                let hint = hint.unwrap_or_else(|| format!("there are {}", MEMBERS.join(", ")));
                return Err(Fault::bad_request(format!("a channel has no {name:?}; {hint}")));
            }
        }
    }
    Ok(attributes)
}

fn limit(name: &str, value: &Value) -> Result<Option<u64>, Fault> {
    match value {
        Value::Null => Ok(None),
        _ => match value.as_u64() {
            Some(number @ 1..=SAFE_INTEGER_MAX) => Ok(Some(number)),
            _ => Err(Fault::bad_request(format!("{name:?} is {value}; expected 1 to 2^53-1, or null for no limit"))),
        },
    }
}

fn described(status: StatusCode, channel: &Channel) -> Response<Body> {
    let mut out = Vec::new();
    write_channel(&mut out, channel);
    json(status, out)
}

fn write_channel(out: &mut Vec<u8>, channel: &Channel) {
    let status = channel.status();
    // Writing into a Vec cannot fail; names hold nothing that JSON escapes.
    let _ = write!(out, "{{\"name\":\"{}\",", channel.name());
    write_attributes(out, &channel.attributes());
    let _ = write!(
        out,
        ",\"epoch\":\"{}\",\"first\":\"{}\",\"last\":\"{}\",\"events\":{}}}",
        channel.epoch(),
        status.first,
        status.last,
        status.events
    );
}

fn write_attributes(out: &mut Vec<u8>, attributes: &ChannelAttributes) {
    let limit = |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    let ChannelAttributes { kind, capacity, bytes, ttl } = *attributes;
    let (capacity, bytes, ttl) = (limit(capacity), limit(bytes), limit(ttl));
    let _ = write!(out, "\"type\":\"{kind}\",\"capacity\":{capacity},\"bytes\":{bytes},\"ttl\":{ttl}");
}
