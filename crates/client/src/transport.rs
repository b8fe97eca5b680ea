//! The ways to carry a session: one file each, one variant of [`Link`] each.

mod websocket;

use throughline_session::LinkLoss;
use throughline_wire::message::{ClientMessage, DecodeError, ServerMessage};

use crate::error::ConnectError;
use crate::options::Options;
use crate::url::RealmUrl;

/// What came on a link, decoded as far as it could be.
pub(crate) type Received = Vec<Result<ServerMessage, DecodeError>>;

/// One live use of a transport. It moves whole messages and knows nothing of what they mean.
pub(crate) enum Link {
    WebSocket(Box<websocket::Link>),
}

impl Link {
    /// Opens one to the realm.
    pub(crate) async fn open(url: &RealmUrl, options: &Options) -> Result<Link, ConnectError> {
        websocket::Link::open(url, options).await.map(|link| Link::WebSocket(Box::new(link)))
    }

    /// Encodes a message for [`exchange`](Link::exchange) to send.
    pub(crate) fn queue(&mut self, message: &ClientMessage) {
        match self {
            Link::WebSocket(link) => link.queue(message),
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        match self {
            Link::WebSocket(link) => link.queued_bytes(),
        }
    }

    /// Waits until bytes were sent, or, if `reading`, came. Cancel-safe.
    pub(crate) async fn exchange(&mut self, reading: bool) -> Result<(), LinkLoss> {
        match self {
            Link::WebSocket(link) => link.exchange(reading).await,
        }
    }

    /// Appends what has come to `out`. To be called after each [`exchange`](Link::exchange). With an error the link is
    /// over; what was appended before counts.
    pub(crate) fn receive(&mut self, out: &mut Received) -> Result<(), LinkLoss> {
        match self {
            Link::WebSocket(link) => link.receive(out),
        }
    }

    /// Closes the link with this code, and waits for the other side to do the same.
    pub(crate) async fn finish(self, code: u16, reason: String) {
        match self {
            Link::WebSocket(link) => link.finish(code, &reason).await,
        }
    }
}
