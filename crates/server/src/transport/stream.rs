//! Requests that become streams.

use std::rc::Rc;

use bytes::Bytes;
use hyper::Version;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use throughline_wire::http::{Form, write_chunk};

use super::call::{Call, link_text};
use super::{Reserved, conflict, cors, shape};
use crate::http::answer::Fault;
use crate::runtime::Local;
use crate::shard::{HttpLink, Network};
use throughline_wire::path::Transport;

/// A stream that is about to begin.
pub(crate) struct StreamStart {
    pub(crate) http: HttpLink,
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
    let reserved = context.links.reserve(call.link).ok_or_else(|| {
        conflict("this link is open; a link that broke is not opened again: draw another id for the next one")
    })?;
    let chunked = head.version >= Version::HTTP_11;
    let mut start = response_head(head, call.form, chunked, &context.config.origins);
    let mut body = Vec::new();
    call.form.write_start(&link_text(call.link), &call.origin, &mut body);
    if chunked {
        write_chunk(&[&body], &mut start);
    } else {
        start.extend_from_slice(&body);
    }
    let transport = match call.form {
        Form::Lines => Transport::HttpStream,
        Form::EventStream => Transport::EventSource,
        Form::Script => Transport::IframeStream,
    };
    context.metrics.http_requests.inc();
    let http = HttpLink { transport, form: call.form, chunked, start, network };
    Ok(StreamStart { http, piece, reserved })
}

fn response_head(request: &Parts, form: Form, chunked: bool, origins: &crate::config::Origins) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("throughline"), HeaderValue::from_static("1"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    shape(&mut headers);
    cors::allow(&request.headers, origins, &mut headers);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut head: Vec<u8> = if chunked { "HTTP/1.1" } else { "HTTP/1.0" }.into();
    head.extend_from_slice(b" 200 OK\r\n");
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
