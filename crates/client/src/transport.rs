//! The ways to carry a session: one file each, one variant of [`Link`] each. `uplink` is the way up of all but WebSocket.

mod answers;
mod fault;
mod hold;
mod http_stream;
mod long_poll;
mod requests;
mod uplink;
mod websocket;

use throughline_wire::message::{ClientMessage, DecodeError, ServerMessage};
use throughline_wire::path::Transport;

pub(crate) use fault::Fault;

use crate::options::Options;
use crate::url::RealmUrl;

/// What came on a link, decoded as far as it could be.
pub(crate) type Received = Vec<Result<ServerMessage, DecodeError>>;

/// What a link sends of its own accord as soon as it can.
#[derive(Debug)]
pub(crate) struct Flight {
    /// `connect` and what follows it.
    pub(crate) first: Vec<ClientMessage>,
    /// What the server has to answer for the link to be proven. On a stream it takes the other way up.
    pub(crate) probe: ClientMessage,
    /// How long the server may hold a poll, milliseconds.
    pub(crate) hold_ms: u64,
}

/// What came of waiting for a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    /// It is open: the handshake is done, the stream's head or the first poll's answer has come.
    pub(crate) opened: bool,
    /// A request beside the link's own was answered.
    pub(crate) uplinked: bool,
    /// Bytes came: [`Link::receive`] has them.
    pub(crate) heard: bool,
    /// It has received as much as one link should.
    pub(crate) full: bool,
    /// How long polls may be held, milliseconds, when that was learned anew.
    pub(crate) hold_learned: Option<u64>,
}

/// One live use of a transport. It moves whole messages and knows nothing of what they mean.
pub(crate) enum Link {
    WebSocket(Box<websocket::Link>),
    HttpStream(Box<http_stream::Link>),
    LongPoll(Box<long_poll::Link>),
}

impl Link {
    /// Begins to open one to the realm. Nothing moves before [`exchange`](Link::exchange).
    pub(crate) fn start(
        transport: Transport,
        url: &RealmUrl,
        options: &Options,
        flight: Flight,
    ) -> Result<Link, Fault> {
        Ok(match transport {
            Transport::WebSocket => Link::WebSocket(Box::new(websocket::Link::start(url, options, flight))),
            Transport::HttpStream => Link::HttpStream(Box::new(http_stream::Link::start(url, options, &flight)?)),
            // There is no other in `TRANSPORTS`.
            _ => Link::LongPoll(Box::new(long_poll::Link::start(url, options, &flight)?)),
        })
    }

    /// Encodes a message for [`exchange`](Link::exchange) to send. It follows what the link was started with.
    pub(crate) fn queue(&mut self, message: &ClientMessage) {
        match self {
            Link::WebSocket(link) => link.queue(message),
            Link::HttpStream(link) => link.queue(message),
            Link::LongPoll(link) => link.queue(message),
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        match self {
            Link::WebSocket(link) => link.queued_bytes(),
            Link::HttpStream(link) => link.queued_bytes(),
            Link::LongPoll(link) => link.queued_bytes(),
        }
    }

    /// Waits until it opened, bytes were sent, or, if `reading`, came. Cancel-safe.
    pub(crate) async fn exchange(&mut self, reading: bool) -> Result<Moved, Fault> {
        match self {
            Link::WebSocket(link) => link.exchange(reading).await,
            Link::HttpStream(link) => link.exchange(reading).await,
            Link::LongPoll(link) => link.exchange(reading).await,
        }
    }

    /// Appends what has come to `out`. To be called after an [`exchange`](Link::exchange) that heard something. With an
    /// error the link is over; what was appended before counts.
    pub(crate) fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
        match self {
            Link::WebSocket(link) => link.receive(out),
            Link::HttpStream(link) => link.receive(out),
            Link::LongPoll(link) => link.receive(out),
        }
    }

    /// Closes the link with this code, and waits until the other side knows.
    pub(crate) async fn finish(self, code: u16, reason: String) {
        match self {
            Link::WebSocket(link) => link.finish(code, &reason).await,
            Link::HttpStream(link) => link.finish(reason).await,
            Link::LongPoll(link) => link.finish(reason).await,
        }
    }
}
