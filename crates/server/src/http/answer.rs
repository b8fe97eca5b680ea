//! Answers and their common shape: PROTOCOL.md section 9.4.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use throughline_wire::http1::Ambiguity;
use throughline_wire::message::{ErrorCode, ReplyError};

use super::body::Body;

/// On every answer of the server, so that a client can tell it from a proxy's.
const MARK: HeaderName = HeaderName::from_static("throughline");
/// Code of a request of a page that may not use the realm.
pub(crate) const BAD_ORIGIN: &str = "bad_origin";
/// Longest origin that is repeated in an answer, characters.
const ORIGIN_CHARS_MAX: usize = 200;
/// Seconds after which a refusal that passes may be tried again.
const RETRY_AFTER_S: &str = "1";

/// An answer with a body and no type yet.
pub(crate) fn whole(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(MARK, HeaderValue::from_static("1"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = whole(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What every answer goes through last: its length is told, and `HEAD` gets no body.
pub(super) fn finish(method: &Method, mut response: Response<Body>) -> Response<Body> {
    if let Some(len) = response.body().len()
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    if method == Method::HEAD {
        *response.body_mut() = Body::default();
    }
    response
}

/// An error in the shape of PROTOCOL.md section 9.4.
pub fn error(status: StatusCode, code: impl Into<Cow<'static, str>>, message: &str) -> Response<Body> {
    Fault::new(status, code, message).into_response()
}

/// The whole answer, head and body, to a connection over `limits.connections_max`.
pub fn full_response() -> Vec<u8> {
    overloaded_response(&Fault::full())
}

/// The whole answer to a connection over `limits.connections_per_address_max`.
pub(crate) fn crowded_response() -> Vec<u8> {
    let text = "your address has as many connections as limits.connections_per_address_max allows; close some of them";
    overloaded_response(&ReplyError::new(ErrorCode::Overloaded, text).into())
}

fn overloaded_response(fault: &Fault) -> Vec<u8> {
    last_response("503 Service Unavailable", &format!("Retry-After: {RETRY_AFTER_S}\r\n"), &error_json(fault.error()))
}

/// The whole answer to a connection without TLS where it is needed. It is closed after that.
pub(crate) fn plain_response() -> Vec<u8> {
    let message =
        "the realm is served over TLS only (tls.plain = false): use https:// or wss:// in place of http:// or ws://";
    let error = ReplyError { code: "tls_required".into(), message: message.into(), limit: None };
    last_response("400 Bad Request", "", &error_json(&error))
}

/// The whole answer to a request that can be read in two ways. The connection is closed after that.
pub(crate) fn refused_response(ambiguity: Ambiguity) -> Vec<u8> {
    let status = match ambiguity {
        Ambiguity::TooLong => "431 Request Header Fields Too Large",
        _ => "400 Bad Request",
    };
    let error = ReplyError { code: "bad_request".into(), message: ambiguity.to_string(), limit: None };
    last_response(status, "", &error_json(&error))
}

fn last_response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 {status}\r\nThroughline: 1\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

fn error_json(error: &ReplyError) -> Vec<u8> {
    let mut out = b"{\"error\":".to_vec();
    error.encode(&mut out);
    out.push(b'}');
    out
}

/// Goes with the answer of a [`Fault`], for those who count.
#[derive(Clone)]
struct Code(Cow<'static, str>);

/// The code of the fault that an answer tells.
pub(super) fn code(response: &Response<Body>) -> Cow<'static, str> {
    response.extensions().get().map_or(Cow::Borrowed("other"), |Code(code)| code.clone())
}

/// A request that was not fulfilled.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    error: ReplyError,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Fault {
        let error = ReplyError { code: code.into(), message: message.into(), limit: None };
        Fault { status, error, headers: Vec::new() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn bad_event(message: impl Into<String>) -> Fault {
        ReplyError::new(ErrorCode::BadEvent, message).into()
    }

    pub(crate) fn bad_origin(origin: &str) -> Fault {
        let origin: String = origin.chars().take(ORIGIN_CHARS_MAX).collect();
        let message = format!(
            "pages from the origin {origin:?} may not use this realm; to allow them, add it to origins.allowed"
        );
        Fault::new(StatusCode::FORBIDDEN, BAD_ORIGIN, message)
    }

    pub(crate) fn draining() -> Fault {
        ReplyError::new(ErrorCode::Draining, "the realm is stopping; repeat in a moment").into()
    }

    /// Of a connection over `limits.connections_max`, or a link within one.
    pub(crate) fn full() -> Fault {
        let text = "the realm has as many connections as limits.connections_max allows; come back later";
        ReplyError::new(ErrorCode::Overloaded, text).into()
    }

    pub(crate) fn limit(mut self, limit: u64) -> Fault {
        self.error.limit = Some(limit);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Fault {
        self.headers.push((name, value));
        self
    }

    /// What went wrong.
    pub(crate) const fn error(&self) -> &ReplyError {
        &self.error
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = json(self.status, error_json(&self.error));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response.headers_mut().extend(self.headers);
        response.extensions_mut().insert(Code(self.error.code));
        response
    }
}

impl From<ReplyError> for Fault {
    /// The engine's errors by their codes.
    fn from(error: ReplyError) -> Fault {
        let code = ErrorCode::ALL.into_iter().find(|code| error.is(*code));
        Fault { status: code.map_or(StatusCode::BAD_REQUEST, status), error, headers: Vec::new() }
    }
}

/// The status that says the same as a code of PROTOCOL.md section 4.3.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadChannelName | ErrorCode::BadPosition | ErrorCode::BadEvent | ErrorCode::NotPersistent => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::UnknownChannel | ErrorCode::NotSubscribed => StatusCode::NOT_FOUND,
        ErrorCode::AlreadySubscribed | ErrorCode::PublishNumber => StatusCode::CONFLICT,
        ErrorCode::ChannelDeleted => StatusCode::GONE,
        ErrorCode::EventTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::StoreFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::StoreFailed => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::TooManySubscriptions | ErrorCode::Overloaded | ErrorCode::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
