//! The realm's HTTP side: channels, and publish and replay without a session (PROTOCOL.md section 9).

pub(crate) mod request;
mod values;

pub(crate) use values::error_object;

use http_body_util::Full;
use hyper::{Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use throughline_wire::event::{Body, Data, Eid, SessionId};

pub use values::{Channel, ChannelSpec, ChannelType, HttpError, Page, PageGap};

use crate::session::Published;
use crate::url::RealmUrl;
use request::Answered;

/// Time for a TCP connection to open, milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Time for a whole answer, milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 60_000;

/// Channels asked for with one request, which is the most that a realm gives.
const CHANNELS_AT_ONCE: u32 = 1000;

/// What a channel name may hold as it stands within a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b':').remove(b'/');
/// What a query value may hold as it stands.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');

/// A realm's HTTP side. Each call opens a connection of its own, and waits at most 10 s for it and 60 s for the answer.
#[derive(Clone, Debug)]
pub struct Realm {
    url: RealmUrl,
}

/// What makes a publish by HTTP harmless to repeat (PROTOCOL.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishNumber {
    /// 128 random bits, the same for all publishes of one publisher.
    pub session: SessionId,
    /// Increasing, 1 to 2^53-1.
    pub id: u64,
}

/// A value as a query can hold it.
pub(crate) fn query(value: &str) -> String {
    utf8_percent_encode(value, QUERY).to_string()
}

impl Realm {
    /// The realm at `url`. Nothing is sent.
    pub const fn new(url: RealmUrl) -> Realm {
        Realm { url }
    }

    /// All channels by name, page by page. One that comes or goes meanwhile may be there or not.
    pub async fn channels(&self) -> Result<Vec<Channel>, HttpError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut path = "/channels".to_owned();
            let mut query = Query(&mut path, '?');
            if let Some(after) = &after {
                query.add("after", after);
            }
            query.add("limit", &CHANNELS_AT_ONCE.to_string());
            let answer = self.send(Method::GET, &path, &[], None).await?;
            let (channels, next) = values::channels(&answer.expect(&[StatusCode::OK])?)?;
            all.extend(channels);
            let Some(next) = next else { return Ok(all) };
            if after.as_ref().is_some_and(|after| *after >= next) {
                return Err(HttpError::Answer(format!("the page after {next:?} does not come after the one before")));
            }
            after = Some(next);
        }
    }

    /// One channel.
    pub async fn channel(&self, name: &str) -> Result<Channel, HttpError> {
        let answer = self.send(Method::GET, &channel_path(name)?, &[], None).await?;
        values::channel(&answer.expect(&[StatusCode::OK])?)
    }

    /// Creates a channel; true when it is new, false when it existed with the same attributes.
    pub async fn create_channel(&self, name: &str, spec: &ChannelSpec) -> Result<bool, HttpError> {
        let body = Some(("application/json", values::spec_json(spec)));
        let answer = self.send(Method::PUT, &channel_path(name)?, &[], body).await?;
        let new = answer.status == StatusCode::CREATED;
        answer.expect(&[StatusCode::CREATED, StatusCode::OK])?;
        Ok(new)
    }

    /// Deletes a channel with all its events.
    pub async fn delete_channel(&self, name: &str) -> Result<(), HttpError> {
        let answer = self.send(Method::DELETE, &channel_path(name)?, &[], None).await?;
        answer.expect(&[StatusCode::NO_CONTENT, StatusCode::OK]).map(drop)
    }

    /// Publishes one event. Properties do not travel this way: use a [`Session`](crate::Session) for them.
    ///
    /// Without a `number` a publish whose answer was lost must not be repeated blindly.
    pub async fn publish(
        &self,
        channel: &str,
        body: &Body,
        persistent: bool,
        number: Option<PublishNumber>,
    ) -> Result<Published, HttpError> {
        if body.properties.is_some() {
            return Err(HttpError::Request("properties cannot be published by plain HTTP; use a session".to_owned()));
        }
        let mut path = format!("{}/events", channel_path(channel)?);
        let mut query = Query(&mut path, '?');
        if let Some(tag) = &body.tag {
            query.add("tag", tag);
        }
        if let Some(ttl) = body.ttl {
            query.add("ttl", &ttl.to_string());
        }
        if persistent {
            query.add("persistent", "true");
        }
        let headers = match number {
            Some(n) => vec![("throughline-session", n.session.to_string()), ("throughline-id", n.id.to_string())],
            None => Vec::new(),
        };
        let kind = if body.data.is_text() { "text/plain; charset=utf-8" } else { "application/octet-stream" };
        let content = Some((kind, body.data.as_bytes().clone()));
        let answer = self.send(Method::POST, &path, &headers, content).await?;
        values::published(&answer.expect(&[StatusCode::CREATED, StatusCode::OK])?)
    }

    /// A page of at most `limit` (1 to 1000) kept events, from `from` on, or from the oldest.
    pub async fn replay(&self, channel: &str, from: Option<Eid>, limit: u32) -> Result<Page, HttpError> {
        let mut path = format!("{}/events", channel_path(channel)?);
        let mut query = Query(&mut path, '?');
        match from {
            Some(eid) => query.add("from", &eid.to_string()),
            None => query.add("from", "all"),
        }
        query.add("limit", &limit.to_string());
        let answer = self.send(Method::GET, &path, &[], None).await?;
        values::page(&answer.expect(&[StatusCode::OK])?)
    }

    async fn send(
        &self,
        method: Method,
        resource: &str,
        headers: &[(&'static str, String)],
        body: Option<(&'static str, bytes::Bytes)>,
    ) -> Result<Answered, HttpError> {
        let mut builder = hyper::Request::builder()
            .method(method)
            .uri(self.url.path(resource))
            .header(header::HOST, self.url.authority())
            .header(header::CONNECTION, "close");
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        let mut content = bytes::Bytes::new();
        if let Some((kind, bytes)) = body {
            builder = builder.header(header::CONTENT_TYPE, kind);
            content = bytes;
        }
        let request = builder.body(Full::new(content)).map_err(|e| HttpError::Request(e.to_string()))?;
        request::send(&self.url, request, CONNECT_TIMEOUT_MS, ANSWER_TIMEOUT_MS).await
    }
}

/// Text data when `bytes` are UTF-8, binary data when not.
pub fn data_from(bytes: impl Into<bytes::Bytes>) -> Data {
    Data::text_from_utf8(bytes.into()).unwrap_or_else(Data::bytes)
}

fn channel_path(name: &str) -> Result<String, HttpError> {
    throughline_wire::event::check_channel_name(name).map_err(|e| HttpError::Request(e.to_string()))?;
    Ok(format!("/channels/{}", utf8_percent_encode(name, PATH)))
}

struct Query<'a>(&'a mut String, char);

impl Query<'_> {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push(self.1);
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, QUERY));
        self.1 = '&';
    }
}
