//! The values that cross the boundary of a session's links.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use throughline_wire::message::ClientMessage;
use throughline_wire::path::Transport;

use crate::client::Report;

/// One use of a transport. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// What the caller has to do about links.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkOrder {
    /// To open one.
    Open {
        /// Its name.
        attempt: Attempt,
        /// How.
        transport: Transport,
        /// What it says first: with the opening request where that can carry it.
        first: Vec<ClientMessage>,
        /// What it says then: on a stream by a request of its own, otherwise right behind.
        probe: ClientMessage,
        /// How long its polls are to be held at first, milliseconds.
        hold_ms: u64,
    },
    /// To send a message on a link that does not carry the session.
    Send {
        /// Which.
        attempt: Attempt,
        /// What.
        message: ClientMessage,
    },
    /// To close it, or to stop opening it, and to forget it.
    Close {
        /// Which.
        attempt: Attempt,
        /// Close code of section 7.
        code: u16,
        /// Why, at most 123 bytes.
        reason: String,
    },
}

/// What became of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEvent {
    /// Another link carries the session.
    Changed(Transport),
    /// An attempt failed, or the session's link was lost.
    Failed(Report),
}

/// What is known of the path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSummary {
    /// What carries the session; `None` while nothing does.
    pub transport: Option<Transport>,
    /// The last round trip that was measured, milliseconds.
    pub rtt: Option<u64>,
    /// The client's network, as the server named it last.
    pub network: Option<Box<str>>,
    /// Heartbeat interval of the link, milliseconds.
    pub heartbeat: Option<u64>,
    /// The last failures, at most ten, the newest last.
    pub failures: Vec<Report>,
}
