//! A session over a streamed answer and POSTs beside it: PROTOCOL.md, HTTP transports.

use std::future::{Future, pending};
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use throughline_wire::http::Lines;
use throughline_wire::message::{Carriage, ClientMessage, ServerMessage};

use super::Received;
use super::fault::Fault;
use super::requests::{LinkId, Requests};
use super::uplink::Uplink;
use crate::error::ConnectError;
use crate::http::request::describe;
use crate::options::Options;
use crate::url::RealmUrl;

type Opened = (Requests, Result<Incoming, ConnectError>);

pub(crate) struct Link {
    down: Down,
    /// What came and was not decoded.
    chunk: Bytes,
    lines: Lines,
    message_bytes_max: usize,
    uplink: Uplink,
    /// Where the first piece ends: at the end of the first message.
    first_bytes: usize,
    over: bool,
}

enum Down {
    /// Connected; the request waits for its first message.
    Connected(Requests),
    Asked(Pin<Box<dyn Future<Output = Opened> + Send>>),
    /// The connection lasts for as long as its answer is read.
    Streaming {
        incoming: Incoming,
        _connection: Requests,
    },
    Ended,
}

impl Link {
    /// Connects. The request follows with the first message.
    pub(super) async fn open(url: &RealmUrl, options: &Options) -> Result<Link, Fault> {
        let id = LinkId::draw().map_err(Fault::broken)?;
        let mut requests = Requests::new(url.clone(), id, options.open_timeout_ms);
        requests.connect().await.map_err(Fault::Failed)?;
        Ok(Link {
            down: Down::Connected(requests),
            chunk: Bytes::new(),
            lines: Lines::new(),
            message_bytes_max: options.message_bytes_max,
            uplink: Uplink::new(url.clone(), id, options),
            first_bytes: 0,
            over: false,
        })
    }

    pub(super) fn queue(&mut self, message: &ClientMessage) {
        self.uplink.queue(message);
        if self.first_bytes == 0 {
            self.first_bytes = self.uplink.queued_bytes();
        }
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.uplink.queued_bytes()
    }

    pub(super) async fn exchange(&mut self, reading: bool) -> Result<(), Fault> {
        if reading && !self.chunk.is_empty() {
            return Ok(());
        }
        if self.first_bytes == 0 {
            return pending().await;
        }
        self.ask();
        let Link { down, chunk, uplink, .. } = self;
        let outcome = tokio::select! {
            came = down.advance(reading) => came.map(|bytes| *chunk = bytes),
            sent = uplink.drive() => sent,
        };
        self.over = outcome.is_err();
        outcome
    }

    /// Sends the request that opens the link, with the first message as its body; the others go beside it.
    fn ask(&mut self) {
        let requests = match std::mem::replace(&mut self.down, Down::Ended) {
            Down::Connected(requests) => requests,
            other => return self.down = other,
        };
        let first = self.uplink.take_first(self.first_bytes);
        self.down = Down::Asked(Box::pin(ask(requests, first)));
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

    /// Tells the server, unless the link is over.
    pub(super) async fn finish(mut self, reason: String) {
        if self.over || self.first_bytes == 0 {
            return;
        }
        self.queue(&ClientMessage::Close { reason: Some(reason) });
        while self.queued_bytes() > 0 && self.exchange(false).await.is_ok() {}
    }
}

impl Down {
    /// Waits for the head, which brings no bytes, or, if `reading`, for bytes of the stream. Cancel-safe.
    async fn advance(&mut self, reading: bool) -> Result<Bytes, Fault> {
        match self {
            Down::Asked(opening) => {
                let (requests, opened) = opening.await;
                *self = Down::Streaming { incoming: opened.map_err(Fault::Failed)?, _connection: requests };
                Ok(Bytes::new())
            }
            Down::Streaming { incoming, .. } if reading => match incoming.frame().await {
                Some(Ok(frame)) => Ok(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => Err(Fault::broken(format_args!("the stream broke: {}", describe(&error)))),
                None => {
                    *self = Down::Ended;
                    Err(Fault::broken("the server, or something on the way, ended the stream without a word"))
                }
            },
            _ => pending().await,
        }
    }
}

async fn ask(mut requests: Requests, first: Bytes) -> Opened {
    let answered = requests.post("/stream", "&as=lines&n=1", first).await;
    (requests, answered.map(hyper::Response::into_body))
}
