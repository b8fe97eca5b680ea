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
pub(crate) use hold::Hold;

use crate::options::Options;
use crate::url::RealmUrl;

/// What came on a link, decoded as far as it could be.
pub(crate) type Received = Vec<Result<ServerMessage, DecodeError>>;

/// One live use of a transport. It moves whole messages and knows nothing of what they mean.
pub(crate) enum Link {
    WebSocket(Box<websocket::Link>),
    HttpStream(Box<http_stream::Link>),
    LongPoll(Box<long_poll::Link>),
}

impl Link {
    /// Opens one to the realm. `hold` is for polls.
    pub(crate) async fn open(
        transport: Transport,
        url: &RealmUrl,
        options: &Options,
        hold: Hold,
    ) -> Result<Link, Fault> {
        match transport {
            Transport::WebSocket => websocket::Link::open(url, options).await.map(Box::new).map(Link::WebSocket),
            Transport::HttpStream => http_stream::Link::open(url, options).await.map(Box::new).map(Link::HttpStream),
            // There is no other in `TRANSPORTS`.
            _ => long_poll::Link::open(url, options, hold).await.map(Box::new).map(Link::LongPoll),
        }
    }

    /// Encodes a message for [`exchange`](Link::exchange) to send.
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

    /// Waits until bytes were sent, or, if `reading`, came. Cancel-safe.
    pub(crate) async fn exchange(&mut self, reading: bool) -> Result<(), Fault> {
        match self {
            Link::WebSocket(link) => link.exchange(reading).await,
            Link::HttpStream(link) => link.exchange(reading).await,
            Link::LongPoll(link) => link.exchange(reading).await,
        }
    }

    /// Appends what has come to `out`. To be called after each [`exchange`](Link::exchange). With an error the link is
    /// over; what was appended before counts.
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
