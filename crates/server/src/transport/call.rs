//! What a request asks for: its path and its query.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::Method;
use hyper::StatusCode;
use hyper::header::{ALLOW, HOST, HeaderValue};
use hyper::http::request::Parts;
use throughline_wire::http::{CALLBACK_BYTES_MAX, Form, is_callback};

use crate::config::{Config, Origin};
use crate::http::answer::Fault;
use crate::http::request::Query;

/// The paths of the HTTP transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream,
    Poll,
    Uplink,
}

impl Kind {
    /// What a path is for.
    pub(crate) fn of(path: &str) -> Option<Kind> {
        match path {
            "/throughline/v1/stream" => Some(Kind::Stream),
            "/throughline/v1/poll" => Some(Kind::Poll),
            "/throughline/v1/uplink" => Some(Kind::Uplink),
            _ => None,
        }
    }

    /// The function that the answer has to call, if the request names a good one.
    pub(super) fn callback(self, head: &Parts) -> Option<String> {
        let query = Query::lenient(head).ok()?;
        let callback = query.get("callback").filter(|name| self != Kind::Stream && is_callback(name))?;
        Some(callback.to_owned())
    }
}

/// A request, checked.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) link: u128,
    pub(super) scripted: bool,
    /// Of a stream.
    pub(super) form: Form,
    /// The page around a stream of scripts.
    pub(super) origin: String,
    /// The piece's number.
    pub(super) number: Option<u64>,
    /// The piece, when it is in the query.
    inline: Option<String>,
    /// The last answer that the client has.
    pub(super) ack: u64,
    /// How long the poll may wait, milliseconds.
    pub(super) hold_ms: u64,
}

impl Call {
    pub(super) fn of(kind: Kind, head: &Parts, config: &Config) -> Result<Call, Fault> {
        if head.method != Method::GET && head.method != Method::POST {
            let text = format!("{} is not possible here; GET, POST are", head.method);
            let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
            return Err(fault.header(ALLOW, HeaderValue::from_static("GET, POST")));
        }
        let query = Query::lenient(head)?;
        let form = match (kind, query.get("as")) {
            (Kind::Stream, Some(name)) => Form::named(name)
                .ok_or_else(|| Fault::bad_request(format!("as={name:?}: expected lines, event-stream or script")))?,
            (Kind::Stream, None) => return Err(missing("as", "lines, event-stream or script")),
            _ => Form::Lines,
        };
        if let Some(callback) = query.get("callback").filter(|name| !is_callback(name)) {
            return Err(Fault::bad_request(format!(
                "callback={callback:?}: expected at most {CALLBACK_BYTES_MAX} of A-Z a-z 0-9 _ $ . that begin like a name"
            )));
        }
        let ack = match kind {
            Kind::Poll => {
                number(&query, "ack")?.ok_or_else(|| missing("ack", "the last answer's number, 0 at first"))?
            }
            Kind::Stream | Kind::Uplink => 0,
        };
        let hold_max = config.long_poll.hold_max_ms;
        Ok(Call {
            link: link(&query)?,
            scripted: query.get("callback").is_some(),
            origin: if form == Form::Script { page_origin(&query, head, config)? } else { String::new() },
            form,
            number: number(&query, "n")?,
            inline: query.get("m").map(str::to_owned),
            ack,
            hold_ms: number(&query, "hold")?.map_or(hold_max, |hold| hold.min(hold_max)),
        })
    }

    /// True for what a page of any site could load as a script, a frame or an image, and use by that: to read an answer,
    /// or to say something in its user's name.
    pub(super) fn is_embedded(&self) -> bool {
        self.scripted || self.form == Form::Script || self.inline.is_some()
    }

    /// The piece that the request brings and its number, from the query or the body.
    pub(super) fn piece(&self, body: &Bytes) -> Result<Option<(u64, Bytes)>, Fault> {
        let bytes = match &self.inline {
            Some(_) if !body.is_empty() => {
                return Err(Fault::bad_request(
                    "a piece is either in the body or in the query parameter m, not in both",
                ));
            }
            Some(inline) => Bytes::copy_from_slice(inline.as_bytes()),
            None => body.clone(),
        };
        match self.number {
            Some(0) => Err(Fault::bad_request("pieces are numbered from 1")),
            Some(number) => Ok(Some((number, bytes))),
            None if bytes.is_empty() => Ok(None),
            None => Err(missing("n", "the number of the piece")),
        }
    }

    /// The same for a request that opens a link: what it brings can only be the first piece.
    pub(super) fn first(piece: Option<(u64, Bytes)>) -> Result<Option<Bytes>, Fault> {
        match piece {
            Some((1, bytes)) => Ok(Some(bytes)),
            Some((number, _)) => {
                Err(Fault::bad_request(format!("n={number}: a request that opens a link brings piece 1 or none")))
            }
            None => Ok(None),
        }
    }
}

/// The text of a link's id.
pub(super) fn link_text(link: u128) -> String {
    format!("{link:032x}")
}

fn missing(name: &str, what: &str) -> Fault {
    Fault::bad_request(format!("the query lacks {name}: {what}"))
}

fn link(query: &Query<'_>) -> Result<u128, Fault> {
    let expected = "32 lower-case hexadecimal digits that the client draws at random";
    let text = query.get("link").ok_or_else(|| missing("link", expected))?;
    let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let link = u128::from_str_radix(text, 16).ok().filter(|_| digits);
    link.ok_or_else(|| Fault::bad_request(format!("link={text:?}: expected {expected}")))
}

fn number(query: &Query<'_>, name: &str) -> Result<Option<u64>, Fault> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(Some(number)),
        _ => Err(Fault::bad_request(format!("{name}={text:?}: expected a number"))),
    }
}

/// The origin of the page that a stream of scripts talks to.
pub(crate) fn page_origin(query: &Query<'_>, head: &Parts, config: &Config) -> Result<String, Fault> {
    let origin = query.get("origin").ok_or_else(|| missing("origin", "the origin of the page around the frame"))?;
    let host = head.headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    if origin.parse::<Origin>().is_err() {
        return Err(Fault::bad_request(format!("origin={origin:?}: expected scheme://host or scheme://host:port")));
    }
    let host: Option<&str> = host.as_ref().map(Cow::as_ref);
    if !config.origins.allow(origin, host) {
        return Err(Fault::bad_origin(origin));
    }
    Ok(origin.to_owned())
}
