//! Which requests become WebSocket connections, and how the others are refused: PROTOCOL.md section 2.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use throughline_wire::hixie;
use throughline_wire::ws::Version;
use throughline_wire::ws::deflate::{self, Agreed};
use throughline_wire::ws::handshake::{self, Refusal};

use crate::http::answer::Fault;
use crate::http::{self, Attempt, Body, Context};
use crate::probe;
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

/// A handshake that is good.
#[derive(Debug)]
pub(crate) enum Accepted {
    Numbered(Box<handshake::Accepted>),
    Draft(Box<AcceptedDraft>),
}

/// A handshake of a version without a number.
#[derive(Debug)]
pub(crate) struct AcceptedDraft {
    pub(crate) answer: hixie::Accepted,
    /// What is known of it, should it fail after all.
    pub(crate) attempt: Option<Attempt>,
    /// Who has been on the way.
    pub(crate) path: String,
}

impl Accepted {
    pub(crate) fn version(&self) -> Version {
        match self {
            Accepted::Numbered(accepted) => accepted.version,
            Accepted::Draft(draft) => draft.answer.draft.version(),
        }
    }

    pub(crate) fn deflate(&self) -> Option<Agreed> {
        match self {
            Accepted::Numbered(accepted) => accepted.deflate,
            Accepted::Draft(_) => None,
        }
    }
}

/// Why an upgrade was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    Handshake(Refusal),
    Draft(hixie::Refusal),
    /// Something on the way removed the headers of an upgrade; holds what is known of it.
    UpgradeRemoved(String),
    Draining,
    /// For a reason that other requests are refused for as well.
    Fault(Box<Fault>),
}

/// A handshake as it came.
pub(crate) struct Handshake<'a> {
    pub(crate) purpose: Purpose,
    /// It came by the extended CONNECT method of HTTP/2.
    pub(crate) connect: bool,
    /// Something on the way made an old version of HTTP of it.
    pub(crate) http_1_0: bool,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// The path below which the client finds the realm.
    pub(crate) prefix: &'a str,
    /// The connection speaks TLS.
    pub(crate) secure: bool,
    /// Whom it comes from.
    pub(crate) address: Option<IpAddr>,
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
}

impl Handshake<'_> {
    pub(crate) fn find(&self, wanted: &str) -> Option<Cow<'_, str>> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| String::from_utf8_lossy(value))
    }

    /// The page's origin. Clients of versions 7 and 8 tell it in a header of their own; some fill `Origin` with what is
    /// none. No page can set either.
    fn origin(&self) -> Option<Cow<'_, str>> {
        let old = matches!(self.find("sec-websocket-version").as_deref(), Some("7" | "8"));
        old.then(|| self.find("sec-websocket-origin")).flatten().or_else(|| self.find("origin"))
    }

    /// Whether the client believes to speak over TLS. Where something in front ended it, a page's origin with the very host
    /// and port that the client connected to tells.
    fn is_secure(&self) -> bool {
        let page = self.origin();
        let page = page.as_deref().and_then(|origin| origin.strip_prefix("https://"));
        self.secure || page.is_some_and(|host| self.find("host").is_some_and(|own| own.eq_ignore_ascii_case(host)))
    }

    /// Who has been on the way, as far as that can be told.
    fn way(&self) -> String {
        let header = |name: &str| self.find(name).map(|value| format!("{name}: {}", limited(&value)));
        let version = self.http_1_0.then(|| "the request came as HTTP/1.0".to_owned());
        let known = [header("Via"), header("X-Forwarded-For"), header("Forwarded"), version];
        let known: Vec<String> = known.into_iter().flatten().collect();
        if known.is_empty() { "it does not tell its name".to_owned() } else { known.join("; ") }
    }
}

/// The start of what somebody else wrote.
fn limited(text: &str) -> String {
    text.chars().take(HEADER_CHARS_MAX).collect()
}

/// Checks a handshake against protocol and policy. When the client gave it a name, what was seen is kept for it.
pub(crate) fn accept(context: &Context, handshake: &Handshake<'_>) -> Result<Accepted, Refused> {
    let mut result = check(context, handshake).and_then(|accepted| {
        check_probe(context, handshake)?;
        Ok(accepted)
    });
    let attempt = Attempt::of(handshake.query, handshake.http_1_0, handshake.headers.iter().copied());
    if let Ok(accepted) = &mut result {
        context.metrics.websocket_accepted(accepted.version());
        if handshake.purpose == Purpose::Echo {
            context.metrics.probed(probe::Kind::WebSocket);
        }
        if let Accepted::Draft(draft) = accepted {
            draft.attempt.clone_from(&attempt);
        }
    }
    if let Some(attempt) = attempt {
        context.attempts.note(match &result {
            Ok(_) => attempt,
            Err(refused) => attempt.refused(&refused.code(), &refused.message()),
        });
    }
    result
}

fn check(context: &Context, handshake: &Handshake<'_>) -> Result<Accepted, Refused> {
    if context.is_draining() {
        return Err(Refused::Draining);
    }
    // Elsewhere the link takes the place of its connection.
    if handshake.connect && context.is_full() {
        return Err(Refused::Fault(Box::new(Fault::full())));
    }
    if let Some(origin) = handshake.origin()
        && handshake.find("sec-fetch-site").as_deref() != Some(http::cors::SAME_ORIGIN)
        && !http::origin_allowed(&origin, handshake.find("host").as_deref(), &context.config.origins)
    {
        return Err(Refused::Fault(Box::new(Fault::bad_origin(&origin))));
    }
    let headers = handshake.headers.iter().copied();
    if handshake.http_1_0 && handshake::wants_websocket(headers.clone()) {
        return Err(Refused::UpgradeRemoved(handshake.way()));
    }
    match hixie::detect(headers).filter(|_| !handshake.connect) {
        Some(draft) => check_draft(context, handshake, draft),
        None => check_numbered(context, handshake),
    }
}

/// An echo is bounded as every link is; what says hello counts as the other probes do.
fn check_probe(context: &Context, handshake: &Handshake<'_>) -> Result<(), Refused> {
    let refused = |fault| Refused::Fault(Box::new(fault));
    if handshake.purpose == Purpose::Echo {
        probe::check_enabled(context).map_err(refused)?;
        if probe::greeting(handshake.query).map_err(refused)? {
            probe::check_rate(context, handshake.address).map_err(refused)?;
        }
    }
    Ok(())
}

fn check_draft(context: &Context, handshake: &Handshake<'_>, draft: hixie::Draft) -> Result<Accepted, Refused> {
    let Handshake { method, headers, .. } = handshake;
    if !context.config.websocket.versions.contains(draft.version()) {
        return Err(Refused::Handshake(Refusal::Version));
    }
    let Handshake { prefix, path, query, .. } = handshake;
    let target = query.map_or_else(|| format!("{prefix}{path}"), |query| format!("{prefix}{path}?{query}"));
    match hixie::accept(draft, method, &target, headers.iter().copied(), handshake.is_secure()) {
        Ok(answer) => Ok(Accepted::Draft(Box::new(AcceptedDraft { answer, attempt: None, path: handshake.way() }))),
        Err(hixie::Refusal::UpgradeRemoved) => Err(Refused::UpgradeRemoved(handshake.way())),
        Err(hixie::Refusal::Method) => Err(Refused::Handshake(Refusal::Method)),
        Err(refusal) => Err(Refused::Draft(refusal)),
    }
}

fn check_numbered(context: &Context, handshake: &Handshake<'_>) -> Result<Accepted, Refused> {
    let websocket = &context.config.websocket;
    let echo = handshake.purpose == Purpose::Echo;
    let settings = deflate::Settings { client_context_takeover: websocket.client_context_takeover || echo };
    let deflate = websocket.compression.then_some(&settings);
    let headers = handshake.headers.iter().copied();
    let accepted = match handshake.connect {
        true => handshake::accept_connect(headers, websocket.versions, deflate),
        false => handshake::accept(handshake.method, headers, websocket.versions, deflate),
    };
    match accepted {
        Ok(accepted) => Ok(Accepted::Numbered(Box::new(accepted))),
        Err(Refusal::UpgradeRemoved) => Err(Refused::UpgradeRemoved(handshake.way())),
        Err(refusal) => Err(Refused::Handshake(refusal)),
    }
}

impl Refused {
    pub(crate) fn code(&self) -> Cow<'static, str> {
        let code = match self {
            Refused::Fault(fault) => return fault.error().code.clone(),
            Refused::Draining => "draining",
            Refused::UpgradeRemoved(_) => Refusal::UpgradeRemoved.code(),
            Refused::Handshake(refusal) => refusal.code(),
            Refused::Draft(_) => "bad_request",
        };
        code.into()
    }

    fn message(&self) -> String {
        match self {
            Refused::Fault(fault) => fault.error().message.clone(),
            Refused::Draining => "the realm is stopping; connect again in a moment".to_owned(),
            Refused::UpgradeRemoved(path) => format!("{} ({path})", Refusal::UpgradeRemoved.message()),
            Refused::Handshake(refusal) => refusal.message().to_owned(),
            Refused::Draft(refusal) => refusal.message().to_owned(),
        }
    }

    /// The answer, which the operator is told of too.
    pub(crate) fn response(&self, context: &Context) -> Response<Body> {
        let refusal = match self {
            Refused::Fault(fault) => return context.noted(fault.as_ref().clone()).into_response(),
            Refused::Draining => {
                let mut response = http::error(StatusCode::SERVICE_UNAVAILABLE, self.code(), &self.message());
                response.headers_mut().insert(hyper::header::RETRY_AFTER, HeaderValue::from_static("1"));
                return response;
            }
            Refused::Draft(_) => return http::error(StatusCode::BAD_REQUEST, self.code(), &self.message()),
            Refused::UpgradeRemoved(_) => Refusal::UpgradeRemoved,
            Refused::Handshake(refusal) => *refusal,
        };
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = http::error(status, self.code(), &self.message());
        for (name, value) in refusal.headers(context.config.websocket.versions) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
