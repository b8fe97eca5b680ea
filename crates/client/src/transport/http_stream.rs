//! A session over a streamed answer and POSTs beside it: PROTOCOL.md, HTTP transports.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use throughline_wire::http::Lines;
use throughline_wire::message::{Carriage, ClientMessage, ServerMessage};
use tokio::time::Instant;

use super::fault::Fault;
use super::requests::{LinkId, Requests};
use super::uplink::{Uplink, piece};
use super::{Flight, Moved, Received};
use crate::error::ConnectError;
use crate::http::request::describe;
use crate::options::Options;
use crate::url::RealmUrl;

/// Bytes that one stream receives before the next is to take over.
const RECEIVED_BYTES_MAX: u64 = 64 << 20;

/// A stream that ends sooner was cut, in whatever order.
const ROTATED_MIN: Duration = Duration::from_secs(10);

type Opened = (Requests, Result<Incoming, ConnectError>);

pub(crate) struct Link {
    down: Down,
    /// What came and was not decoded.
    chunk: Bytes,
    since: Instant,
    received_bytes: u64,
    lines: Lines,
    message_bytes_max: usize,
    uplink: Uplink,
    over: bool,
}

enum Down {
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    /// The connection lasts for as long as its answer is read.
    Open {
        incoming: Incoming,
        _connection: Box<Requests>,
    },
}

impl Link {
    /// The first flight opens the stream as its body; the probe goes up beside it.
    pub(super) fn start(url: &RealmUrl, options: &Options, flight: &Flight) -> Result<Link, Fault> {
        let id = LinkId::draw().map_err(Fault::broken)?;
        let requests = Requests::new(url.clone(), id, options.open_timeout_ms);
        let mut uplink = Uplink::new(url.clone(), id, options);
        uplink.queue(&flight.probe);
        Ok(Link {
            down: Down::Opening(Box::pin(open(requests, piece(&flight.first)))),
            chunk: Bytes::new(),
            since: Instant::now(),
            received_bytes: 0,
            lines: Lines::new(),
            message_bytes_max: options.message_bytes_max,
            uplink,
            over: false,
        })
    }

    pub(super) fn queue(&mut self, message: &ClientMessage) {
        self.uplink.queue(message);
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.uplink.queued_bytes()
    }

    pub(super) async fn exchange(&mut self, reading: bool) -> Result<Moved, Fault> {
        if reading && !self.chunk.is_empty() {
            return Ok(Moved { heard: true, ..Moved::default() });
        }
        let Link { down, uplink, .. } = self;
        let mut outcome = tokio::select! {
            came = down.advance(reading) => came.map(|chunk| self.came(chunk)),
            sent = uplink.drive() => sent.map(|()| Moved { uplinked: true, ..Moved::default() }),
        };
        if matches!(outcome, Err(Fault::Rotated)) && self.since.elapsed() < ROTATED_MIN {
            outcome = Err(Fault::broken("the stream was ended soon after it began, without a word of the server"));
        }
        self.over = outcome.is_err();
        outcome
    }

    fn came(&mut self, chunk: Option<Bytes>) -> Moved {
        let Some(chunk) = chunk else { return Moved { opened: true, ..Moved::default() } };
        let before = self.received_bytes;
        self.received_bytes = before.saturating_add(chunk.len() as u64);
        self.chunk = chunk;
        let full = before <= RECEIVED_BYTES_MAX && self.received_bytes > RECEIVED_BYTES_MAX;
        Moved { heard: true, full, ..Moved::default() }
    }

    pub(super) fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
        let chunk = std::mem::take(&mut self.chunk);
        let over = &mut self.over;
        let fed = self.lines.push(&chunk, self.message_bytes_max, |line| {
            let message = ServerMessage::decode(Carriage::Text(line));
            *over |= matches!(message, Ok(ServerMessage::Close { .. }));
            out.push(message);
        });
        fed.map_err(|error| Fault::broken(format_args!("{error} (message_bytes_max); raise that option")))
    }

    /// Tells the server, if it knows the link.
    pub(super) async fn finish(mut self, reason: String) {
        if self.over || matches!(self.down, Down::Opening(_)) {
            return;
        }
        self.queue(&ClientMessage::Close { reason: Some(reason) });
        while self.queued_bytes() > 0 && self.exchange(false).await.is_ok() {}
    }
}

impl Down {
    /// Waits for the head, which is `None`, or, if `reading`, for bytes of the stream. Cancel-safe.
    async fn advance(&mut self, reading: bool) -> Result<Option<Bytes>, Fault> {
        match self {
            Down::Opening(opening) => {
                let (connection, opened) = opening.await;
                *self = Down::Open { incoming: opened.map_err(Fault::Failed)?, _connection: Box::new(connection) };
                Ok(None)
            }
            Down::Open { incoming, .. } if reading => match incoming.frame().await {
                Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
                Some(Err(error)) => Err(Fault::broken(format_args!("the stream broke: {}", describe(&error)))),
                None => Err(Fault::Rotated),
            },
            Down::Open { .. } => pending().await,
        }
    }
}

async fn open(mut requests: Requests, first: Bytes) -> Opened {
    let answered = requests.post("/stream", "&as=lines&n=1", first).await;
    (requests, answered.map(hyper::Response::into_body))
}
