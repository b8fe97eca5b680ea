//! A link that is proving itself: "Proving a link" in PROTOCOL.md. The session has not adopted it yet.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use throughline_wire::close::CloseCode;
use throughline_wire::event::SessionId;
use throughline_wire::message::{DecodeError, Limits, ServerMessage, VERSION};
use throughline_wire::path::{Failure, Group, Transport};

use crate::client::{Adoption, Greeting};

/// A proven link that ends so soon was cut, milliseconds.
const CUT_MS: u64 = 10_000;
/// Events that may come before the proof; with more the session asks for them again.
const KEPT_EVENTS_MAX: usize = 1_000;
/// Bytes of such events.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What a message means for the candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is to be done.
    Waits,
    /// A `pong` is to be sent.
    Pong,
    /// The link is proven.
    Proven,
    /// A further ping was answered.
    Answered,
    /// The server gave it another session than the one that is known by now: it is to be opened again with that.
    Foreign,
    /// It cannot go on: it is to be closed with this code.
    Ended {
        /// Close code of section 7: the server's, or what it is to be told.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// A link from its opening to its adoption.
#[derive(Debug)]
pub struct Candidate {
    transport: Transport,
    greeting: Greeting,
    started: u64,
    opened: Option<u64>,
    /// A request besides the link's own was answered.
    uplinked: bool,
    welcome: Option<Welcome>,
    /// When it was proven, and the round trip.
    proven: Option<(u64, u64)>,
    kept: Vec<ServerMessage>,
    kept_events: usize,
    kept_bytes: usize,
}

#[derive(Debug)]
struct Welcome {
    session: SessionId,
    heartbeat: u64,
    limits: Limits,
    network: Option<Box<str>>,
}

impl Candidate {
    /// A link whose opening begins now and whose first flight is `greeting`.
    pub const fn new(now: u64, transport: Transport, greeting: Greeting) -> Candidate {
        Candidate {
            transport,
            greeting,
            started: now,
            opened: None,
            uplinked: false,
            welcome: None,
            proven: None,
            kept: Vec::new(),
            kept_events: 0,
            kept_bytes: 0,
        }
    }

    /// Its transport.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// When its opening began.
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// The transport's handshake is done: 101 came, or the head of the answer.
    pub fn opened(&mut self, now: u64) {
        self.opened.get_or_insert(now);
    }

    /// A request besides the link's own was answered: what it sends up arrives.
    pub const fn uplinked(&mut self) {
        self.uplinked = true;
    }

    /// The round trip of the ping that proved it, milliseconds.
    pub fn rtt(&self) -> Option<u64> {
        self.proven.map(|(_, rtt)| rtt)
    }

    /// The client's network, as the server named it.
    pub fn network(&self) -> Option<&str> {
        self.welcome.as_ref()?.network.as_deref()
    }

    /// Takes one message. `session` is the session's id as far as it is known now.
    pub fn input(
        &mut self,
        now: u64,
        session: Option<SessionId>,
        message: Result<ServerMessage, DecodeError>,
    ) -> Verdict {
        self.opened(now);
        let broken = |reason: String| Verdict::Ended { code: CloseCode::BadMessage.code(), reason };
        let message = match message {
            Ok(message) => message,
            Err(error) => return broken(format!("{error}")),
        };
        match message {
            ServerMessage::Close { code, reason } => Verdict::Ended { code, reason },
            ServerMessage::Welcome { version, .. } if version != VERSION => {
                let reason = format!("the server chose protocol version {version}, which was not offered");
                Verdict::Ended { code: CloseCode::Version.code(), reason }
            }
            ServerMessage::Welcome { session: named, heartbeat, limits, network, .. } => {
                if self.welcome.is_some() {
                    return broken("a second welcome on one link".into());
                }
                if self.greeting.session.is_some_and(|own| own != named) {
                    return broken("the server answered with another session than the one presented".into());
                }
                self.welcome = Some(Welcome { session: named, heartbeat, limits, network });
                if session.is_some_and(|own| own != named) { Verdict::Foreign } else { Verdict::Waits }
            }
            _ if self.welcome.is_none() => broken("the first message was no welcome".into()),
            ServerMessage::Ping => Verdict::Pong,
            ServerMessage::Pong => self.pong(now, session),
            message => {
                self.keep(message);
                Verdict::Waits
            }
        }
    }

    fn pong(&mut self, now: u64, session: Option<SessionId>) -> Verdict {
        let named = self.welcome.as_ref().map(|w| w.session);
        if session.is_some() && session != named {
            // Another candidate without a session was faster.
            return Verdict::Foreign;
        }
        if self.proven.is_some() {
            return Verdict::Answered;
        }
        // On a WebSocket the ping goes out when it is open, elsewhere with the request that opens the link.
        let asked = if self.transport == Transport::WebSocket { self.opened.unwrap_or(now) } else { self.started };
        self.proven = Some((now, now.saturating_sub(asked)));
        Verdict::Proven
    }

    fn keep(&mut self, message: ServerMessage) {
        if let ServerMessage::Event { event, .. } = &message {
            self.kept_events = self.kept_events.saturating_add(1);
            self.kept_bytes = self.kept_bytes.saturating_add(event.body.weight());
            if self.kept_events > KEPT_EVENTS_MAX || self.kept_bytes > KEPT_BYTES_MAX {
                self.greeting.spoil();
                self.kept.retain(|kept| !matches!(kept, ServerMessage::Event { .. }));
                return;
            }
        }
        self.kept.push(message);
    }

    /// What its end means. `late`: its time had passed; otherwise it ended by itself.
    pub fn failure(&self, now: u64, late: bool) -> Failure {
        let stream = self.transport.group() == Group::Streams;
        match (self.proven, self.opened, late) {
            (Some((at, _)), _, _) if now.saturating_sub(at) < CUT_MS => Failure::Cut,
            (Some(_), _, _) => Failure::Idle,
            (None, None, false) => Failure::Refused,
            (None, None, true) if stream && self.uplinked => Failure::Buffered,
            (None, None, true) => Failure::Silent,
            (None, Some(_), false) => Failure::Cut,
            (None, Some(_), true) if stream => Failure::Buffered,
            (None, Some(_), true) => Failure::Swallowed,
        }
    }

    /// Hands a proven link over; `None` when it is not.
    pub fn into_adoption(self) -> Option<Adoption> {
        let Welcome { session, heartbeat, limits, .. } = self.welcome?;
        let (_, rtt) = self.proven?;
        Some(Adoption { greeting: self.greeting, session, heartbeat, limits, kept: self.kept, rtt })
    }
}
