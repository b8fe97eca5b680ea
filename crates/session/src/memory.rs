//! What a client knows of networks: which transport won there, and how much silence their paths bear. A value to store
//! and to load.

use alloc::boxed::Box;
use alloc::vec::Vec;

use throughline_wire::path::Transport;

/// How long a network is known, milliseconds.
pub const EXPIRY_MS: u64 = 3_600_000;
/// Most networks that are known.
pub const NETWORKS_MAX: usize = 8;
/// How long a poll is held while nothing is known, milliseconds.
pub const HOLD_MS: u64 = 12_000;
/// Bounds of what is asked for as a heartbeat, milliseconds.
const HEARTBEAT_MS: (u64, u64) = (5_000, 25_000);
/// By so much a heartbeat is lengthened, milliseconds.
const HEARTBEAT_STEP_MS: u64 = 5_000;
/// So many silent intervals have to be survived before.
const SURVIVALS: u32 = 3;

/// What is known of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name; empty where the server names none.
    pub network: Box<str>,
    /// When this was learned, milliseconds since 1970.
    pub at: u64,
    /// The transport that won.
    pub transport: Transport,
    /// The heartbeat to ask for, milliseconds; `None`: the server's own.
    pub heartbeat: Option<u64>,
    /// How long polls may be held, milliseconds.
    pub hold_ms: u64,
}

/// All that is known. The network where this client was last comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// At most [`NETWORKS_MAX`].
    pub known: Vec<Known>,
}

impl Memory {
    /// Forgets what is too old, and what was learned in the future by a clock that was wrong.
    pub fn forget(&mut self, unix: u64) {
        self.known.retain(|known| unix.checked_sub(known.at).is_some_and(|age| age < EXPIRY_MS));
        self.known.truncate(NETWORKS_MAX);
    }

    /// The network where this client was last.
    pub fn last(&self) -> Option<&Known> {
        self.known.first()
    }

    /// A link was adopted on this network.
    pub fn adopted(&mut self, unix: u64, network: &str, transport: Transport) {
        let before = self.known.iter().find(|known| *known.network == *network);
        let (heartbeat, hold_ms) = before.map_or((None, HOLD_MS), |known| (known.heartbeat, known.hold_ms));
        self.keep(Known { network: network.into(), at: unix, transport, heartbeat, hold_ms });
    }

    /// Polls have learned how long they may be held.
    pub fn held(&mut self, unix: u64, hold_ms: u64) {
        if let Some(last) = self.last().cloned() {
            self.keep(Known { at: unix, hold_ms, ..last });
        }
    }

    /// A link with this heartbeat ended or was left, after it had survived so many silent intervals, perhaps by silence.
    pub fn ended(&mut self, unix: u64, interval: u64, survived: u32, silent: bool) {
        let learned = match (silent, survived >= SURVIVALS) {
            (true, _) => (interval / 3 * 2).max(HEARTBEAT_MS.0),
            (false, true) => interval.saturating_add(HEARTBEAT_STEP_MS).clamp(HEARTBEAT_MS.0, HEARTBEAT_MS.1),
            (false, false) => return,
        };
        if let Some(last) = self.last().cloned() {
            self.keep(Known { at: unix, heartbeat: Some(learned), ..last });
        }
    }

    fn keep(&mut self, known: Known) {
        self.known.retain(|other| other.network != known.network);
        self.known.insert(0, known);
        self.known.truncate(NETWORKS_MAX);
    }
}
