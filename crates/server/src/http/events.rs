//! Publish and replay: PROTOCOL.md sections 9.1 and 9.2.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use throughline_engine::store::StoreError;
use throughline_engine::{Channel, Origin, Page, Publish, Published, Read, ReadLimit};
use throughline_wire::event::{Body as EventBody, Data, Eid, SAFE_INTEGER_MAX, SessionId, TAG_BYTES_MAX};
use throughline_wire::message::{ErrorCode, From, Gap, ReplyError, encode_event_object};
use tokio::sync::oneshot;

use super::Context;
use super::answer::{Fault, json};
use super::bodies::counted;
use super::body::Body;
use super::channels::unknown;
use super::request::{Query, number, read_body};

/// Bytes of event data, and of JSON, after which a page ends.
const PAGE_BYTES_MAX: usize = 1 << 20;

pub(super) async fn publish<B>(name: String, head: &Parts, body: B, context: &Context) -> Result<Response<Body>, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let query = Query::of(head, &["tag", "ttl", "persistent"])?;
    let origin = origin(&head.headers)?;
    let persistent = flag(&query, "persistent")?;
    let (tag, ttl) = (tag(&query)?, ttl(&query)?);
    let body = read_body(body, context.config.limits.event_bytes_max, "limits.event_bytes_max", context).await?;
    let data = data(&head.headers, body.bytes.clone())?;
    let channel = context.engine.channel_or_create(&name, (context.now)())?;
    let event = EventBody { data, tag, properties: None, ttl };
    let published = store(Publish { channel, origin, body: event, persistent }, context).await?;
    let (status, duplicate) = match published.duplicate {
        true => (StatusCode::OK, ",\"duplicate\":true"),
        false => (StatusCode::CREATED, ""),
    };
    // A channel name holds nothing that JSON escapes.
    Ok(json(status, format!("{{\"channel\":\"{name}\",\"eid\":\"{}\"{duplicate}}}", published.eid)))
}

/// Publishes, and waits for the disk where the event goes there.
async fn store(publish: Publish, context: &Context) -> Result<Published, Fault> {
    let (sender, receiver) = oneshot::channel();
    let done = move |result| {
        // The client may have gone in the meantime.
        let _ = sender.send(result);
    };
    match context.engine.publish(publish, (context.now)(), done) {
        Some(decided) => decided.map_err(Fault::from),
        None => receiver.await.map_err(|_| Fault::draining())?.map_err(Fault::from),
    }
}

/// Text, unless the content type says otherwise.
fn data(headers: &HeaderMap, bytes: Bytes) -> Result<Data, Fault> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let binary = kind == "application/octet-stream"
        || ["image/", "audio/", "video/"].iter().any(|family| kind.starts_with(family));
    if binary {
        return Ok(Data::bytes(bytes));
    }
    Data::text_from_utf8(bytes).map_err(|_| {
        Fault::bad_event("the data are not UTF-8; to publish bytes send Content-Type: application/octet-stream")
    })
}

/// Who publishes, when both headers say so.
fn origin(headers: &HeaderMap) -> Result<Option<Origin>, Fault> {
    let (session, id) = (headers.get("throughline-session"), headers.get("throughline-id"));
    let (session, id) = match (session, id) {
        (None, None) => return Ok(None),
        (Some(session), Some(id)) => (session, id),
        _ => {
            return Err(Fault::bad_request(
                "Throughline-Session and Throughline-Id go together: send both, or neither",
            ));
        }
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let session: SessionId =
        text(session).parse().map_err(|e| Fault::bad_request(format!("Throughline-Session: {e}")))?;
    let number = number(&text(id)).filter(|id| (1..=SAFE_INTEGER_MAX).contains(id));
    let number = number.ok_or_else(|| Fault::bad_request("Throughline-Id: expected a number, 1 to 2^53-1"))?;
    Ok(Some(Origin { session, number }))
}

fn tag(query: &Query<'_>) -> Result<Option<Box<str>>, Fault> {
    match query.get("tag") {
        Some(tag) if tag.len() > TAG_BYTES_MAX => {
            let message = format!("tag has {} bytes, at most {TAG_BYTES_MAX} are allowed", tag.len());
            Err(Fault::bad_event(message).limit(TAG_BYTES_MAX as u64))
        }
        tag => Ok(tag.map(Box::from)),
    }
}

fn ttl(query: &Query<'_>) -> Result<Option<u64>, Fault> {
    let Some(text) = query.get("ttl") else { return Ok(None) };
    match number(text) {
        Some(ttl @ 1..=SAFE_INTEGER_MAX) => Ok(Some(ttl)),
        _ => Err(Fault::bad_event(format!("ttl is {text:?}; 1 to 2^53-1 milliseconds are allowed"))),
    }
}

fn flag(query: &Query<'_>, name: &str) -> Result<Option<bool>, Fault> {
    match query.get(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(Fault::bad_request(format!("{name} is {other:?}; expected true or false"))),
    }
}

pub(super) async fn replay(name: &str, head: &Parts, context: &Context) -> Result<Response<Body>, Fault> {
    let query = Query::of(head, &["from", "limit"])?;
    let from = from(&query)?;
    let limit = ReadLimit { events: query.limit()?, bytes: PAGE_BYTES_MAX };
    let channel = context.engine.channel(name).ok_or_else(|| unknown(name))?;
    let now = (context.now)();
    let position = channel.position(from, now)?;
    let page = match channel.read(position.cursor, limit, now) {
        Read::Page(page) => page,
        Read::Stored => {
            let (channel, after) = (Arc::clone(&channel), position.cursor);
            let read = context.blocking(move |_| channel.read_stored(after, limit, now)).await?;
            read.inspect_err(|_| context.metrics.read_failed()).map_err(store_fault)?
        }
    };
    let page = render(name, &channel, position.gap.or(page.gap), &page);
    Ok(json(StatusCode::OK, counted(&context.answers, page)?))
}

fn from(query: &Query<'_>) -> Result<From, Fault> {
    let text = query.get("from").unwrap_or("all");
    let bad = || {
        let message = format!("from is {text:?}; expected \"all\" or an EID, which is a number from 1");
        Fault::from(ReplyError::new(ErrorCode::BadPosition, message))
    };
    if text == "all" {
        return Ok(From::All);
    }
    text.parse().ok().filter(|eid| *eid != Eid::NONE).map(From::Eid).ok_or_else(bad)
}

fn store_fault(error: StoreError) -> Fault {
    let code = match error {
        StoreError::Full(_) => ErrorCode::StoreFull,
        StoreError::Failed(_) => ErrorCode::StoreFailed,
    };
    ReplyError::new(code, error.to_string()).into()
}

fn render(name: &str, channel: &Channel, gap: Option<Gap>, page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{{\"channel\":\"{name}\",\"epoch\":\"{}\",\"events\":[", channel.epoch());
    let (mut next, mut more) = (page.next, page.more);
    let mut events = page.events.iter().peekable();
    while let Some(event) = events.next() {
        encode_event_object(event, &mut out);
        if events.peek().is_none() {
            break;
        }
        if out.len() >= PAGE_BYTES_MAX {
            (next, more) = (event.eid, true);
            break;
        }
        out.push(b',');
    }
    let _ = write!(out, "],\"next\":\"{}\"", next.next());
    if more {
        out.extend_from_slice(b",\"more\":true");
    }
    if let Some(Gap { from, to, reason, .. }) = gap {
        let _ = write!(out, ",\"gap\":{{\"from\":\"{from}\",\"to\":\"{to}\",\"reason\":\"{}\"}}", reason.name());
    }
    out.push(b'}');
    out
}
