//! A session over WebSocket: PROTOCOL.md section 2.

use throughline_wire::message::{Carriage, ClientMessage, MessageKind, ServerMessage};

use super::Received;
use super::fault::Fault;
use crate::options::Options;
use crate::url::RealmUrl;
use crate::websocket::{Connection, ConnectionOptions, Fault as Broken, Frame};

/// The path below `{prefix}/throughline/v1`.
const RESOURCE: &str = "/websocket";

pub(crate) struct Link {
    connection: Connection,
    encoded: Vec<u8>,
}

impl Link {
    pub(super) async fn open(url: &RealmUrl, options: &Options) -> Result<Link, Fault> {
        let options = ConnectionOptions {
            subprotocol: true,
            deflate: options.compression,
            open_timeout_ms: options.open_timeout_ms,
            message_bytes_max: options.message_bytes_max,
            ..ConnectionOptions::default()
        };
        let connection = Connection::open(url, &url.path(RESOURCE), &options).await.map_err(Fault::Failed)?;
        Ok(Link { connection, encoded: Vec::new() })
    }

    pub(super) fn queue(&mut self, message: &ClientMessage) {
        self.encoded.clear();
        let text = message.encode(&mut self.encoded) == MessageKind::Text;
        self.connection.queue(if text { Frame::Text(&self.encoded) } else { Frame::Binary(&self.encoded) });
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.connection.queued_bytes()
    }

    pub(super) async fn exchange(&mut self, reading: bool) -> Result<(), Fault> {
        self.connection.exchange(reading).await.map_err(ended)
    }

    pub(super) fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
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
        outcome.map_err(ended)
    }

    pub(super) async fn finish(mut self, code: u16, reason: &str) {
        self.connection.finish(code, reason).await;
    }
}

/// A close frame without a code (RFC 6455 section 7.1.5).
const NO_STATUS: u16 = 1005;

fn ended(broken: Broken) -> Fault {
    Fault::broken(broken)
}
