//! Which requests become WebSocket connections, and how the others are refused: PROTOCOL.md section 2.

use std::borrow::Cow;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use throughline_wire::ws::deflate;
use throughline_wire::ws::handshake::{self, Accepted, Refusal};

use crate::http::{self, Attempt, Body, Context};
use crate::shard::Purpose;

/// Longest part of a header that is repeated in an answer, characters.
const HEADER_CHARS_MAX: usize = 200;

/// What a WebSocket path is for.
pub(crate) fn purpose(path: &str) -> Option<Purpose> {
    match path {
        "/throughline/v1/websocket" => Some(Purpose::Session),
        "/throughline/v1/probe/websocket" => Some(Purpose::Echo),
        _ => None,
    }
}

/// Why an upgrade was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    Handshake(Refusal),
    /// Something on the way removed the headers of an upgrade; holds what is known of it.
    UpgradeRemoved(String),
    /// Holds the origin.
    Origin(String),
    Draining,
}

/// A handshake as it came.
pub(crate) struct Handshake<'a> {
    pub(crate) purpose: Purpose,
    /// Something on the way made an old version of HTTP of it.
    pub(crate) http_1_0: bool,
    pub(crate) method: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
}

impl Handshake<'_> {
    pub(crate) fn find(&self, wanted: &str) -> Option<Cow<'_, str>> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| String::from_utf8_lossy(value))
    }

    /// Who has been on the way, as far as that can be told.
    fn path(&self) -> String {
        let header = |name: &str| self.find(name).map(|value| format!("{name}: {}", limited(&value)));
        let version = self.http_1_0.then(|| "the request came as HTTP/1.0".to_owned());
        let known: Vec<String> = [header("Via"), header("X-Forwarded-For"), version].into_iter().flatten().collect();
        if known.is_empty() { "it does not tell its name".to_owned() } else { known.join("; ") }
    }
}

/// The start of what somebody else wrote.
fn limited(text: &str) -> String {
    text.chars().take(HEADER_CHARS_MAX).collect()
}

/// Checks a handshake against protocol and policy. When the client gave it a name, what was seen is kept for it.
pub(crate) fn accept(context: &Context, handshake: &Handshake<'_>) -> Result<Accepted, Refused> {
    let result = check(context, handshake);
    let attempt = Attempt::of(handshake.query, handshake.http_1_0, handshake.headers.iter().copied());
    if let Some(attempt) = attempt {
        context.attempts.note(match &result {
            Ok(_) => attempt,
            Err(refused) => attempt.refused(refused.code(), &refused.message()),
        });
    }
    result
}

fn check(context: &Context, handshake: &Handshake<'_>) -> Result<Accepted, Refused> {
    if context.is_draining() {
        return Err(Refused::Draining);
    }
    if let Some(origin) = handshake.find("origin")
        && !http::origin_allowed(&origin, handshake.find("host").as_deref(), &context.config.origins)
    {
        return Err(Refused::Origin(origin.into_owned()));
    }
    let websocket = &context.config.websocket;
    let echo = handshake.purpose == Purpose::Echo;
    let settings = deflate::Settings { client_context_takeover: websocket.client_context_takeover || echo };
    let deflate = websocket.compression.then_some(&settings);
    let headers = handshake.headers.iter().copied();
    let accepted = match handshake.http_1_0 && handshake::wants_websocket(headers.clone()) {
        true => Err(Refusal::UpgradeRemoved),
        false => handshake::accept(handshake.method, headers, deflate),
    };
    accepted.map_err(|refusal| match refusal {
        Refusal::UpgradeRemoved => Refused::UpgradeRemoved(handshake.path()),
        other => Refused::Handshake(other),
    })
}

impl Refused {
    fn code(&self) -> &'static str {
        match self {
            Refused::Origin(_) => "bad_origin",
            Refused::Draining => "draining",
            Refused::UpgradeRemoved(_) => Refusal::UpgradeRemoved.code(),
            Refused::Handshake(refusal) => refusal.code(),
        }
    }

    fn message(&self) -> String {
        match self {
            Refused::Origin(origin) => format!("the origin {:?} is not in origins.allowed", limited(origin)),
            Refused::Draining => "the realm is stopping; connect again in a moment".to_owned(),
            Refused::UpgradeRemoved(path) => format!("{} ({path})", Refusal::UpgradeRemoved.message()),
            Refused::Handshake(refusal) => refusal.message().to_owned(),
        }
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let refusal = match self {
            Refused::Origin(origin) => return http::bad_origin(origin),
            Refused::Draining => {
                let mut response = http::error(StatusCode::SERVICE_UNAVAILABLE, self.code(), &self.message());
                response.headers_mut().insert(hyper::header::RETRY_AFTER, HeaderValue::from_static("1"));
                return response;
            }
            Refused::UpgradeRemoved(_) => Refusal::UpgradeRemoved,
            Refused::Handshake(refusal) => *refusal,
        };
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = http::error(status, self.code(), &self.message());
        for (name, value) in refusal.headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
