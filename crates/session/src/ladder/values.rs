//! What a ladder is given, and what it asks for.

use alloc::vec;
use alloc::vec::Vec;

use throughline_wire::path::Transport;

/// What a ladder has to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderSettings {
    /// Transports to use; without any, WebSocket alone. The order of preference is that of [`Transport::ALL`].
    pub transports: Vec<Transport>,
    /// A candidate that is not proven after so long is given up, milliseconds; default 8,000.
    pub give_up_ms: u64,
    /// Whether the time between upgrades varies at random; default true.
    pub jitter: bool,
}

impl Default for LadderSettings {
    fn default() -> LadderSettings {
        LadderSettings { transports: vec![Transport::WebSocket], give_up_ms: 8_000, jitter: true }
    }
}

/// What to do about a candidate. The ladder numbers them from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To open a link of this transport.
    Start {
        /// Its number.
        attempt: u64,
        /// Its transport.
        transport: Transport,
    },
    /// To close it: the time for its proof has passed. A failure.
    GiveUp {
        /// Its number.
        attempt: u64,
    },
    /// To close it: it is not needed any more. No failure.
    Abandon {
        /// Its number.
        attempt: u64,
    },
    /// Its probation has passed: to send one more `ping`, whose answer is [`Ladder::answered`](super::Ladder::answered).
    Ping {
        /// Its number.
        attempt: u64,
    },
    /// To make it the session's link, and to close the one before.
    Adopt {
        /// Its number.
        attempt: u64,
    },
    /// Nothing got through: the session waits before it asks again by [`Ladder::begin`](super::Ladder::begin).
    Over,
}
