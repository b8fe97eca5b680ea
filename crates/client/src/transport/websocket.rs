//! A session over WebSocket: PROTOCOL.md section 2.

use std::future::Future;
use std::pin::Pin;

use throughline_wire::message::{Carriage, ClientMessage, MessageKind, ServerMessage};

use super::fault::Fault;
use super::{Flight, Moved, Received};
use crate::error::ConnectError;
use crate::options::Options;
use crate::url::RealmUrl;
use crate::websocket::{Connection, ConnectionOptions, Frame};

/// The path below `{prefix}/throughline/v1`.
const RESOURCE: &str = "/websocket";

type Opening = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

pub(crate) enum Link {
    /// With what is to be sent once it is open.
    Opening(Opening, Vec<ClientMessage>),
    Open(Box<Open>),
}

pub(crate) struct Open {
    connection: Connection,
    encoded: Vec<u8>,
}

impl Link {
    pub(super) fn start(url: &RealmUrl, options: &Options, flight: Flight) -> Link {
        let options = ConnectionOptions {
            subprotocol: true,
            deflate: options.compression,
            open_timeout_ms: options.open_timeout_ms,
            message_bytes_max: options.message_bytes_max,
            ..ConnectionOptions::default()
        };
        let url = url.clone();
        let Flight { mut first, probe, .. } = flight;
        first.push(probe);
        Link::Opening(Box::pin(async move { Connection::open(&url, &url.path(RESOURCE), &options).await }), first)
    }

    pub(super) fn queue(&mut self, message: &ClientMessage) {
        match self {
            Link::Opening(_, waiting) => waiting.push(message.clone()),
            Link::Open(open) => open.queue(message),
        }
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        match self {
            Link::Opening(..) => 0,
            Link::Open(open) => open.connection.queued_bytes(),
        }
    }

    pub(super) async fn exchange(&mut self, reading: bool) -> Result<Moved, Fault> {
        match self {
            Link::Opening(opening, waiting) => {
                let connection = opening.await.map_err(Fault::Failed)?;
                let mut open = Open { connection, encoded: Vec::new() };
                waiting.iter().for_each(|message| open.queue(message));
                *self = Link::Open(Box::new(open));
                Ok(Moved { opened: true, ..Moved::default() })
            }
            Link::Open(open) => open.exchange(reading).await,
        }
    }

    pub(super) fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
        match self {
            Link::Opening(..) => Ok(()),
            Link::Open(open) => open.receive(out),
        }
    }

    pub(super) async fn finish(self, code: u16, reason: &str) {
        if let Link::Open(mut open) = self {
            open.connection.finish(code, reason).await;
        }
    }
}

impl Open {
    fn queue(&mut self, message: &ClientMessage) {
        self.encoded.clear();
        let text = message.encode(&mut self.encoded) == MessageKind::Text;
        self.connection.queue(if text { Frame::Text(&self.encoded) } else { Frame::Binary(&self.encoded) });
    }

    async fn exchange(&mut self, reading: bool) -> Result<Moved, Fault> {
        self.connection.exchange(reading).await.map_err(Fault::broken)?;
        Ok(Moved { heard: self.connection.has_input(), ..Moved::default() })
    }

    fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
        let mut closed = None;
        let outcome = self.connection.receive(|frame| match frame {
            Frame::Text(bytes) => out.push(ServerMessage::decode(Carriage::Text(bytes))),
            Frame::Binary(bytes) => out.push(ServerMessage::decode(Carriage::Binary(bytes))),
            Frame::Close(code, reason) => closed = Some((code, reason.to_owned())),
            Frame::Ping(_) | Frame::Pong(_) => {}
        });
        if let Some((code, reason)) = closed {
            return Err(Fault::Closed { code: code.unwrap_or(NO_STATUS), reason });
        }
        outcome.map_err(Fault::broken)
    }
}

/// A close frame without a code (RFC 6455 section 7.1.5).
const NO_STATUS: u16 = 1005;
