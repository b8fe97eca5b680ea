//! How a session behaves.

use throughline_session::{ClientSettings, LadderSettings};
use throughline_wire::path::Transport;

use crate::net::Route;

/// The transports that this client has, best first.
pub const TRANSPORTS: [Transport; 3] = [Transport::WebSocket, Transport::HttpStream, Transport::LongPoll];

/// Options of a [`Session`](crate::Session). `Options::default()` suits most programs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The transports that may be used, of those in [`TRANSPORTS`]. Default all of them; without any of them, WebSocket alone.
    pub transports: Vec<Transport>,
    /// The forward proxy on the way, and trusted roots. Default: as the environment says, and the system's.
    pub route: Route,
    /// Name and version of the program, shown to the server's operator; at most 64 bytes, longer ones are cut.
    pub client: String,
    /// Offer `permessage-deflate` (RFC 7692). Default false: it costs a window of 32 KiB and time on every message, and pays
    /// on slow paths with large texts.
    pub compression: bool,
    /// Most publishes without an answer, sent or waiting. Default 10,000. Past it publishing waits.
    pub queue_publishes_max: usize,
    /// Most bytes of their events. Default 16 MiB. Past it publishing waits; a single event is taken whatever its size.
    pub queue_bytes_max: usize,
    /// Events that a subscription holds for a program that is slow to take them. Default 10,000. Past it the socket is not
    /// read, so that the server is held back; one read's worth of events (64 KiB) can come on top.
    pub buffer_events_max: usize,
    /// Bytes of these events. Default 16 MiB.
    pub buffer_bytes_max: usize,
    /// Time for a link to prove that it carries messages both ways, milliseconds. Default 8,000. After it the attempt is given
    /// up; others have been started beside it long before.
    pub open_timeout_ms: u64,
    /// Longest message taken from the server, bytes. Default 64 MiB. A longer one ends the link with 1009.
    pub message_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        let (session, ladder) = (ClientSettings::default(), LadderSettings::default());
        Options {
            transports: TRANSPORTS.to_vec(),
            route: Route::default(),
            client: concat!("throughline-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            compression: false,
            queue_publishes_max: session.queue_publishes_max,
            queue_bytes_max: session.queue_bytes_max,
            buffer_events_max: 10_000,
            buffer_bytes_max: 16 << 20,
            open_timeout_ms: ladder.give_up_ms,
            message_bytes_max: 64 << 20,
        }
    }
}

impl Options {
    pub(crate) fn settings(&self) -> ClientSettings {
        ClientSettings {
            client: Some(self.client.as_str().into()),
            queue_publishes_max: self.queue_publishes_max,
            queue_bytes_max: self.queue_bytes_max,
            ..ClientSettings::default()
        }
    }

    pub(crate) fn ladder(&self) -> LadderSettings {
        let transports = self.transports.iter().copied().filter(|transport| TRANSPORTS.contains(transport)).collect();
        LadderSettings { transports, give_up_ms: self.open_timeout_ms, ..LadderSettings::default() }
    }
}
