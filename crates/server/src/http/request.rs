//! Reading what a request brings: its query and its body.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use throughline_wire::message::{ErrorCode, ReplyError};

use super::Context;
use super::answer::Fault;
use super::bodies::Held;
use crate::config::nearest;

/// Events or channels in a page when the request does not say.
const PAGE_ENTRIES: usize = 100;
/// Most of them in a page.
const PAGE_ENTRIES_MAX: usize = 1000;

/// The parameters of a query, each of which may be given once.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    values: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads the query; a parameter that is none of `known` is an error.
    pub(super) fn of(head: &'a Parts, known: &[&'static str]) -> Result<Query<'a>, Fault> {
        let query = Query::lenient(head)?;
        for (name, _) in &query.values {
            if !known.contains(&name.as_ref()) {
                let hint = nearest(name, known.iter().copied()).map(|near| format!("did you mean {near:?}?"));
                let hint = hint.unwrap_or_else(|| format!("there are {}", known.join(", ")));
                return Err(Fault::bad_request(format!("unknown query parameter {name:?}; {hint}")));
            }
        }
        Ok(query)
    }

    /// Reads the query, whatever parameters it has.
    pub(crate) fn lenient(head: &'a Parts) -> Result<Query<'a>, Fault> {
        let mut values: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for pair in head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if values.iter().any(|(other, _)| *other == name) {
                return Err(Fault::bad_request(format!("query parameter {name:?} was given twice")));
            }
            values.push((name, value));
        }
        Ok(Query { values })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// How many entries a page is to have at most.
    pub(super) fn limit(&self) -> Result<usize, Fault> {
        let Some(text) = self.get("limit") else { return Ok(PAGE_ENTRIES) };
        let value = number(text).and_then(|value| usize::try_from(value).ok());
        value.filter(|value| (1..=PAGE_ENTRIES_MAX).contains(value)).ok_or_else(|| {
            let text = format!("limit is {text:?}; expected 1 to {PAGE_ENTRIES_MAX}");
            Fault::bad_request(text).limit(PAGE_ENTRIES_MAX as u64)
        })
    }
}

/// Decimal digits and nothing else.
pub(super) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Percent-encoding, and `+` for a space.
fn decode(text: &str) -> Result<Cow<'_, str>, Fault> {
    let bad = |_| Fault::bad_request(format!("the query holds {text:?}, which is not UTF-8"));
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(bad)?;
        return Ok(Cow::Owned(decoded.into_owned()));
    }
    percent_decode_str(text).decode_utf8().map_err(bad)
}

/// A body, counted among those that are held until it is dropped.
pub(crate) struct HeldBody<'a> {
    pub(crate) bytes: Bytes,
    _held: Held<'a>,
}

/// Reads a body of at most `max` bytes, in the time that `timeouts.body_ms` gives. `name` is the limit's.
pub(crate) async fn read_body<'a, B>(body: B, max: u64, name: &str, context: &'a Context) -> Result<HeldBody<'a>, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let limit = context.config.timeouts.body_ms;
    let reading = read_all(body, max, name, context);
    match tokio::time::timeout(Duration::from_millis(limit), reading).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!("the body did not arrive within timeouts.body_ms = {limit} milliseconds");
            Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "bad_request", message).limit(limit))
        }
    }
}

async fn read_all<'a, B>(body: B, max: u64, name: &str, context: &'a Context) -> Result<HeldBody<'a>, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let mut held = context.bodies.begin();
    let mut body = pin!(body);
    if body.size_hint().lower() > max {
        return Err(too_large(max, name));
    }
    let mut bytes = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
            fault = held.given_up() => return Err(fault),
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else { return Err(Fault::bad_request("the body was cut off")) };
        let Ok(data) = frame.into_data() else { continue };
        if held.add(data.len())? > max {
            return Err(too_large(max, name));
        }
        // Copied: what arrived shares its memory with the head, and with whatever else came in the same read.
        bytes.extend_from_slice(&data);
    }
    held.finish()?;
    Ok(HeldBody { bytes: Bytes::from(bytes.into_boxed_slice()), _held: held })
}

fn too_large(max: u64, name: &str) -> Fault {
    let message = format!("the body is larger than {name} = {max} bytes");
    ReplyError::limit(ErrorCode::EventTooLarge, message, max).into()
}
