//! Links that are tried before the session uses them: what they say first, and how one is taken over.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use throughline_wire::event::SessionId;
use throughline_wire::message::{ClientMessage, Limits, REPORT_DETAIL_BYTES_MAX, ServerMessage, VERSION};
use throughline_wire::path::{Failure, Transport};

use super::link::Phase;
use super::subscriptions::Flown;
use super::{ClientSession, LinkCommand};

/// Reports that wait for a link; the oldest go first.
const REPORTS_MAX: usize = 8;
/// After how many round trips without a sign of life a link is asked, and after as many again doubted.
const DOUBT_RTTS: u64 = 4;
/// Bounds of that, milliseconds.
const DOUBT_MS: (u64, u64) = (2_000, 5_000);
/// So often the wait doubles while links are left for doubts and nothing is answered on any of them.
const DOUBLINGS_MAX: u32 = 4;

/// The first flight of a link: to be sent at once, followed by a `ping` whose answer proves the link.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// `connect`, and the subscriptions when the session had no other link.
    pub messages: Vec<ClientMessage>,
    /// The session that it presents.
    pub session: Option<SessionId>,
    flown: Vec<Flown>,
    /// Count of the session's adoptions when this was made.
    adoptions: u64,
}

impl Greeting {
    /// Events that came in answer were not kept: on adoption its subscriptions are asked for again.
    pub fn spoil(&mut self) {
        self.adoptions = u64::MAX;
    }
}

/// A proven link, for [`ClientSession::adopt`].
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Its first flight.
    pub greeting: Greeting,
    /// The session that the server named; checked against the one known.
    pub session: SessionId,
    /// The interval that the server granted, milliseconds.
    pub heartbeat: u64,
    /// What the server accepts.
    pub limits: Limits,
    /// What came after `welcome` and was no answer to the link's own pings, in order.
    pub kept: Vec<ServerMessage>,
    /// The round trip of its ping, milliseconds.
    pub rtt: u64,
}

/// What the server is told of a failed attempt or of a link that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The transport that failed.
    pub transport: Transport,
    /// How.
    pub failure: Failure,
    /// How long after its beginning, milliseconds.
    pub after: u64,
    /// More, for the operator; cut to 200 bytes when it is sent.
    pub detail: Option<Box<str>>,
}

impl From<Report> for ClientMessage {
    fn from(report: Report) -> ClientMessage {
        ClientMessage::Report {
            transport: report.transport.name().into(),
            failure: report.failure.name().into(),
            after: report.after,
            detail: report.detail.map(|text| shortened(&text)),
        }
    }
}

fn shortened(text: &str) -> Box<str> {
    let mut end = text.len().min(REPORT_DETAIL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

impl ClientSession {
    /// What a link says first that the session has not adopted. `heartbeat` is the interval to ask for.
    pub fn greeting(&mut self, heartbeat: Option<u64>) -> Greeting {
        let (session, client) = (self.session, self.settings.client.clone());
        let mut messages = vec![ClientMessage::Connect { versions: vec![VERSION], session, client, heartbeat }];
        let mut flown = Vec::new();
        if !self.phase.is_open() {
            let (requests, ids) = self.subscriptions.greet(&mut self.last_number);
            messages.extend(requests);
            flown = ids;
        }
        Greeting { messages, session, flown, adoptions: self.adoptions }
    }

    /// Takes a proven link for the session's own, whether or not there is another one, which the caller then closes.
    /// From here on [`heard`](Self::heard), [`input`](Self::input) and [`poll_transmit`](Self::poll_transmit) are about
    /// this link. False, and nothing has changed, when it is another session's or the session is over.
    pub fn adopt(&mut self, now: u64, link: Adoption) -> bool {
        let Adoption { greeting, session, heartbeat, limits, kept, rtt } = link;
        let foreign = self.session.is_some_and(|own| own != session);
        if foreign || matches!(self.phase, Phase::Closed) {
            return false;
        }
        if self.is_doubted() {
            self.doubts = self.doubts.saturating_add(1);
        }
        self.leave_link(now);
        self.drain = None;
        self.commands.retain(|command| !matches!(command, LinkCommand::Doubt | LinkCommand::Trust | LinkCommand::Open));
        let fresh = greeting.adoptions == self.adoptions;
        // A flight that was spoiled is as good as none, whatever its requests named.
        let spoiled = greeting.adoptions == u64::MAX;
        self.subscriptions.adopt(greeting.flown, fresh, spoiled);
        self.adoptions += 1;
        // The version was checked when the link was proven.
        let _ = self.welcome(now, VERSION, session, heartbeat, limits);
        let wait = rtt.saturating_mul(DOUBT_RTTS).clamp(DOUBT_MS.0, DOUBT_MS.1);
        self.phase.doubt_after(wait << self.doubts.min(DOUBLINGS_MAX));
        for message in kept {
            self.input(now, Ok(message));
        }
        self.transmitted(now);
        true
    }

    /// The heartbeat interval of the present link or the last, milliseconds, and how many silent ones it survived.
    pub fn heartbeat(&self) -> Option<(u64, u32)> {
        self.phase.pulse().map(super::link::Pulse::learned).or(self.learned)
    }

    /// True when the present link is in [`LinkCommand::Doubt`].
    pub fn is_doubted(&self) -> bool {
        self.phase.pulse().is_some_and(super::link::Pulse::is_doubted)
    }

    /// True when the server has said that it is stopping, until the next link.
    pub const fn is_drained(&self) -> bool {
        self.drain.is_some()
    }

    /// Has the server told of something that failed, on this link or the next one.
    pub fn report(&mut self, report: Report) {
        if self.reports.len() == REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }
}
