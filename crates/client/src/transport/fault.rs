//! Why a link is over.

use std::fmt;

use throughline_session::LinkLoss;
use throughline_wire::path::{Failure, Transport};

use crate::error::ConnectError;

/// Why a link is over, or why it did not come about.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An attempt or a request failed: no connection, no answer, or a refusal.
    Failed(ConnectError),
    /// The server closed the link with a code.
    Closed { code: u16, reason: String },
    /// It ended without the server's word, as this says.
    Ended(String),
    /// A stream ended as HTTP prescribes, and without the server's word.
    Rotated,
}

impl Fault {
    /// A link that broke, in words.
    pub(super) fn broken(text: impl fmt::Display) -> Fault {
        Fault::Ended(text.to_string())
    }

    /// What kind of failure it is, where that does not follow from when it came.
    pub(crate) fn failure(&self, transport: Transport) -> Option<Failure> {
        let error = match self {
            Fault::Rotated => return Some(Failure::Rotated),
            Fault::Closed { .. } | Fault::Ended(_) => return None,
            Fault::Failed(error) => error,
        };
        match error {
            ConnectError::NotARealm { answer, .. } if matches!(answer.status, 401 | 407) => {
                Some(Failure::Authentication)
            }
            ConnectError::Refused { code, .. } if code == "bad_origin" => Some(Failure::Origin),
            // Nothing is simpler than a poll.
            ConnectError::Resolve { .. } | ConnectError::Connect { .. } if transport == Transport::LongPoll => {
                Some(Failure::Unreachable)
            }
            // This client's own patience may end just before that of the ladder.
            ConnectError::TimedOut { .. } => Some(Failure::Silent),
            _ => None,
        }
    }

    /// What it means to the session. Where the realm has `welcomed` it before, something else that answers now stands in
    /// for it, as proxies do while what is behind them starts again.
    pub(crate) fn loss(self, welcomed: bool) -> LinkLoss {
        let error = match self {
            Fault::Closed { code, reason } => return LinkLoss::Closed { code, reason },
            Fault::Ended(text) => return LinkLoss::Broken(text),
            Fault::Rotated => {
                let text = "the server, or something on the way, ended the stream without a word";
                return LinkLoss::Broken(text.to_owned());
            }
            Fault::Failed(error) => error,
        };
        let text = error.to_string();
        match error {
            ConnectError::NotARealm { .. } if welcomed => LinkLoss::Broken(text),
            // A proxy that starts again may show another certificate until it has read its own. Nothing is sent until one is good.
            ConnectError::Tls { .. } if welcomed => LinkLoss::Broken(text),
            // An administrator may let the user in again, and what waits to be sent is kept until then.
            ConnectError::Proxy { .. } if welcomed => LinkLoss::Broken(text),
            // Something on the way takes the upgrade out: what has carried the session so far goes without.
            ConnectError::Refused { status: 426, .. } if welcomed => LinkLoss::Broken(text),
            ConnectError::Refused { retry_after_ms, .. } if error.is_temporary() => {
                LinkLoss::Refused { retry_after_ms, reason: text }
            }
            _ if error.is_temporary() => LinkLoss::Broken(text),
            _ => LinkLoss::Hopeless(text),
        }
    }
}

/// A request on a link that was there already. The realm's word that it knows no such link means that the link is over,
/// not that the realm is none; and silence is no longer that of a handshake.
impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Fault {
        match &error {
            ConnectError::Refused { status: 404 | 409, .. } | ConnectError::TimedOut { .. } => Fault::broken(error),
            _ => Fault::Failed(error),
        }
    }
}
