//! Requests that become streams.

use std::rc::Rc;

use bytes::Bytes;
use hyper::Version;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use throughline_wire::http::{Form, write_chunk};

use super::call::{Call, link_text};
use super::{Reserved, conflict, cors, shape};
use crate::config::Origins;
use crate::http::answer::Fault;
use crate::runtime::Local;
use crate::shard::{HttpLink, Network};
use throughline_wire::path::Transport;

/// A stream that is about to begin.
pub(crate) struct StreamStart {
    pub(crate) http: HttpLink,
    /// Of the answer, whose status is 200.
    pub(crate) headers: HeaderMap,
    /// The first piece of the uplink.
    pub(crate) piece: Option<Bytes>,
    pub(crate) reserved: Reserved,
}

pub(super) fn open(
    local: &Rc<Local>,
    head: &Parts,
    call: &Call,
    piece: Option<(u64, Bytes)>,
    network: Option<Network>,
) -> Result<StreamStart, Fault> {
    let context = &local.http;
    let piece = Call::first(piece)?;
    if context.is_draining() {
        return Err(Fault::draining());
    }
    // Elsewhere the link takes the place of its connection.
    if head.version == Version::HTTP_2 && context.is_full() {
        return Err(Fault::full());
    }
    let reserved = context.links.reserve(call.link).ok_or_else(|| {
        conflict("this link is open; a link that broke is not opened again: draw another id for the next one")
    })?;
    let headers = response_headers(head, call.form, &context.config.origins);
    let mut start = Vec::new();
    call.form.write_start(&link_text(call.link), &call.origin, &mut start);
    let transport = match call.form {
        Form::Lines => Transport::HttpStream,
        Form::EventStream => Transport::EventSource,
        Form::Script => Transport::IframeStream,
    };
    context.metrics.http_requests.inc();
    let chunked = head.version == Version::HTTP_11;
    let http = HttpLink { transport, form: call.form, chunked, start, network };
    Ok(StreamStart { http, headers, piece, reserved })
}

impl StreamStart {
    /// Puts the answer's head before what the link begins with, for a connection that the stream has to itself.
    pub(crate) fn with_head(mut self) -> StreamStart {
        let HttpLink { chunked, start, .. } = &mut self.http;
        *start = opening(&self.headers, *chunked, start);
        self
    }
}

/// What a stream that has a connection to itself begins with: the answer's head, and the start of its body.
pub(crate) fn opening(headers: &HeaderMap, chunked: bool, body: &[u8]) -> Vec<u8> {
    let mut out = response_head(headers, chunked);
    if chunked {
        write_chunk(&[body], &mut out);
    } else {
        out.extend_from_slice(body);
    }
    out
}

/// The headers of a stream, but for those that say how its body ends.
pub(crate) fn response_headers(request: &Parts, form: Form, origins: &Origins) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("throughline"), HeaderValue::from_static("1"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    shape(&mut headers);
    cors::allow(&request.headers, origins, &mut headers);
    headers
}

fn response_head(headers: &HeaderMap, chunked: bool) -> Vec<u8> {
    let mut head: Vec<u8> = if chunked { "HTTP/1.1" } else { "HTTP/1.0" }.into();
    head.extend_from_slice(b" 200 OK\r\n");
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"connection: close\r\n");
    if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
