//! Which requests become WebSocket connections, and how the others are refused: PROTOCOL.md section 2.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use throughline_wire::ws::deflate;
use throughline_wire::ws::handshake::{self, Accepted, Refusal};

use crate::http::{self, Body, Context};
use crate::shard::Purpose;

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
    /// Holds the origin.
    Origin(String),
    Draining,
}

/// Checks a handshake against protocol and policy.
pub(crate) fn accept<'a>(
    context: &Context,
    purpose: Purpose,
    method: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
) -> Result<Accepted, Refused> {
    if context.is_draining() {
        return Err(Refused::Draining);
    }
    let find = |wanted: &str| {
        let found = headers.clone().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    if let Some(origin) = find("origin")
        && !http::origin_allowed(&origin, find("host").as_deref(), &context.config.origins)
    {
        return Err(Refused::Origin(origin));
    }
    let websocket = &context.config.websocket;
    let settings =
        deflate::Settings { client_context_takeover: websocket.client_context_takeover || purpose == Purpose::Echo };
    let deflate = websocket.compression.then_some(&settings);
    handshake::accept(method, headers, deflate).map_err(Refused::Handshake)
}

impl Refused {
    pub(crate) fn response(&self) -> Response<Body> {
        match self {
            Refused::Origin(origin) => http::bad_origin(origin),
            Refused::Draining => {
                let mut response = http::error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "draining",
                    "the realm is stopping; connect again in a moment",
                );
                response.headers_mut().insert(hyper::header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            Refused::Handshake(refusal) => {
                let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
                let mut response = http::error(status, refusal.code(), refusal.message());
                for (name, value) in refusal.headers() {
                    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                        response.headers_mut().insert(name, value);
                    }
                }
                response
            }
        }
    }
}
