//! The HTTP transports: requests that open links, feed them and ask for what they have to say. PROTOCOL.md section 10.
//!
//! A link is the same as on WebSocket once it is open. A stream takes over the connection that asked for it; a
//! link on polls has a [`PollSlot`] in place of a connection. What clients say reaches the link's shard by mail.

mod call;
mod directory;
mod poll;
mod share;
mod slot;
mod stream;
mod uplink;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use throughline_wire::http::{Form, write_jsonp};

use crate::http::answer::{Fault, whole};
use crate::http::request::{HeldBody, read_body};
use crate::http::{self, Body, Context, cors};
use crate::runtime::Local;
use crate::shard::Network;
use call::Call;

pub(crate) use call::{Kind, page_origin};
pub(crate) use directory::{Directory, Place, Reserved};
pub(crate) use slot::PollSlot;
pub(crate) use stream::{StreamStart, opening, response_headers};

/// How long a request waits for a link that is not there yet: the request that opens it may come later.
const LINK_WAIT: Duration = Duration::from_secs(2);
/// How long the answer to a piece is held back at most while its link takes no input.
const PIECE_HOLD: Duration = Duration::from_secs(12);

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What became of a request.
pub(crate) enum Outcome {
    Answer(Response<Body>),
    /// The connection becomes a link.
    Stream(StreamStart),
}

/// Answers a request to one of the paths of [`Kind`].
pub(crate) async fn serve<B>(local: &Rc<Local>, kind: Kind, peer: Option<IpAddr>, request: Request<B>) -> Outcome
where
    B: hyper::body::Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    let callback = kind.callback(&head);
    let fault = match respond(local, kind, peer, &head, body).await {
        Ok(Reply::Stream(start)) => return Outcome::Stream(start),
        Ok(Reply::Text(text)) => {
            return Outcome::Answer(http::complete(
                &head,
                &local.http,
                answer(StatusCode::OK, text, callback.as_deref()),
            ));
        }
        Err(fault) => local.http.noted(fault),
    };
    let response = match callback {
        // A script that fails to load tells its page nothing.
        Some(callback) => answer(StatusCode::OK, error_line(&fault), Some(&callback)),
        None => unbuffered(fault.into_response()),
    };
    Outcome::Answer(http::complete(&head, &local.http, response))
}

/// What a request that was fulfilled comes to.
enum Reply {
    Text(Vec<u8>),
    Stream(StreamStart),
}

async fn respond<B>(local: &Rc<Local>, kind: Kind, peer: Option<IpAddr>, head: &Parts, body: B) -> Result<Reply, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let call = Call::of(kind, head, &local.http.config)?;
    cors::check_link(&head.method, &head.headers, call.is_embedded(), &local.http.config.origins)?;
    let body = read_piece(body, &local.http).await?;
    let piece = call.piece(&body.bytes)?;
    // From here on it is the link's, which has limits of its own.
    drop(body);
    let network = Network::of(peer);
    match kind {
        Kind::Stream => stream::open(local, head, &call, piece, network).map(Reply::Stream),
        Kind::Poll => poll::answer(local, &call, piece, network).await.map(Reply::Text),
        Kind::Uplink => uplink::answer(&local.http, &call, piece).await.map(Reply::Text),
    }
}

async fn read_piece<B>(body: B, context: &Context) -> Result<HeldBody<'_>, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let max = context.config.message_bytes_max();
    read_body(body, max, "twice limits.event_bytes_max and 65,536, the longest message,", context).await
}

fn answer(status: StatusCode, text: Vec<u8>, callback: Option<&str>) -> Response<Body> {
    let (kind, body) = match callback {
        None => (Form::Lines.content_type(), text),
        Some(callback) => {
            let mut script = Vec::with_capacity(text.len() + text.len() / 8 + 80);
            write_jsonp(callback, &text, &mut script);
            ("application/javascript; charset=utf-8", script)
        }
    };
    let mut response = whole(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    unbuffered(response)
}

fn error_line(fault: &Fault) -> Vec<u8> {
    let mut line = b"{\"type\":\"error\",\"error\":".to_vec();
    fault.error().encode(&mut line);
    line.extend_from_slice(b"}\n");
    line
}

/// Asks everything on the way to pass an answer on as it comes, and to keep none of it.
fn shape(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// The same for a whole answer.
pub(crate) fn unbuffered(mut response: Response<Body>) -> Response<Body> {
    shape(response.headers_mut());
    response
}

fn unknown_link() -> Fault {
    let text = "there is no such link; open another one and resume the session there";
    Fault::new(StatusCode::NOT_FOUND, "unknown_link", text)
}

fn conflict(text: impl Into<String>) -> Fault {
    Fault::new(StatusCode::CONFLICT, "conflict", text)
}
