//! A client's session with its links: those that are being tried, and the one that carries it.

mod outcome;
mod values;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;

use throughline_wire::close::CloseCode;
use throughline_wire::message::{ClientMessage, DecodeError, ServerMessage};
use throughline_wire::path::{Failure, Group, Transport};

use crate::candidate::{Candidate, Verdict};
use crate::client::{ClientEvent, ClientSession, ClientSettings, ClientState, LinkCommand, LinkLoss, Report};
use crate::ladder::{Ladder, LadderSettings, Step};
use crate::memory::{HOLD_MS, Memory};
use outcome::{Outcome, worded};
pub use values::{Attempt, LinkOrder, PathEvent, PathSummary};

/// A link that ends so soon after its adoption was cut, milliseconds.
const CUT_MS: u64 = 10_000;
/// Failures that a summary holds.
const FAILURES_MAX: usize = 10;

#[derive(Debug)]
struct Flight {
    /// The ladder's number.
    number: u64,
    candidate: Candidate,
}

#[derive(Debug)]
struct Live {
    attempt: Attempt,
    transport: Transport,
    started: u64,
    adopted: u64,
    heartbeat: u64,
}

/// A session, its ladder and its candidates.
///
/// Obligations of the caller: after every call, [`poll_order`](Links::poll_order) until `None`;
/// [`poll_transmit`](Links::poll_transmit) until `None`, as long as [the session's link](Links::live) can take more;
/// [`poll_event`](Links::poll_event) and [`poll_path`](Links::poll_path) until `None`; then
/// [`poll_timeout`](Links::poll_timeout), and [`tick`](Links::tick) when that has come. Early or repeated ticks are harmless.
/// For each [`LinkOrder::Open`] it calls [`opened`](Links::opened), [`heard`](Links::heard) for bytes,
/// [`input`](Links::input) for messages and, when the link ends without an order, [`lost`](Links::lost). Calls about a link
/// that is forgotten are ignored.
#[derive(Debug)]
pub struct Links {
    session: ClientSession,
    ladder: Ladder,
    memory: Memory,
    /// Milliseconds since 1970 when the caller's clock showed zero.
    unix: u64,
    flights: BTreeMap<Attempt, Flight>,
    live: Option<Live>,
    last_attempt: u64,
    orders: VecDeque<LinkOrder>,
    events: VecDeque<PathEvent>,
    outcome: Outcome,
    /// The ladder was told that the server is stopping.
    drained: bool,
    rtt: Option<u64>,
    network: Option<Box<str>>,
    failures: VecDeque<Report>,
}

impl Links {
    /// A session that wants its first link at once. `seed` spreads what clients do: any number that differs from client
    /// to client. `unix` is the time since 1970, for the memory.
    pub fn new(
        settings: ClientSettings,
        ladder: &LadderSettings,
        mut memory: Memory,
        seed: u64,
        now: u64,
        unix: u64,
    ) -> Links {
        memory.forget(unix);
        // The ladder gives candidates up; the session itself waits for as long as the ladder tries.
        let settings = ClientSettings { open_timeout_ms: u64::MAX, ..settings };
        let worked = memory.last().map(|known| known.transport);
        Links {
            session: ClientSession::new(settings, seed, now),
            ladder: Ladder::new(ladder, worked, seed.rotate_left(32)),
            memory,
            unix: unix.saturating_sub(now),
            flights: BTreeMap::new(),
            live: None,
            last_attempt: 0,
            orders: VecDeque::new(),
            events: VecDeque::new(),
            outcome: Outcome::default(),
            drained: false,
            rtt: None,
            network: None,
            failures: VecDeque::new(),
        }
    }

    /// The session.
    pub const fn session(&self) -> &ClientSession {
        &self.session
    }

    /// The session, to subscribe, publish and close. Its links, messages and time are not to be touched.
    pub const fn session_mut(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// The link that carries the session.
    pub fn live(&self) -> Option<(Attempt, Transport)> {
        self.live.as_ref().map(|live| (live.attempt, live.transport))
    }

    /// What is known of networks, to be stored.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What is known of the path.
    pub fn path(&self) -> PathSummary {
        PathSummary {
            transport: self.live.as_ref().map(|live| live.transport),
            rtt: self.rtt,
            network: self.network.clone(),
            heartbeat: self.live.as_ref().map(|live| live.heartbeat),
            failures: self.failures.iter().cloned().collect(),
        }
    }

    /// The handshake of a link is done: 101 came, or the head of its first answer.
    pub fn opened(&mut self, now: u64, attempt: Attempt) {
        if let Some(flight) = self.flights.get_mut(&attempt) {
            flight.candidate.opened(now);
        }
    }

    /// A request that carried messages up was answered.
    pub fn uplinked(&mut self, attempt: Attempt) {
        if let Some(flight) = self.flights.get_mut(&attempt) {
            flight.candidate.uplinked();
        }
    }

    /// Any bytes came on a link.
    pub fn heard(&mut self, now: u64, attempt: Attempt) {
        if self.is_live(attempt) {
            self.session.heard(now);
            self.work(now);
        }
    }

    /// A message came on a link, decoded as far as it could be.
    pub fn input(&mut self, now: u64, attempt: Attempt, message: Result<ServerMessage, DecodeError>) {
        if self.is_live(attempt) {
            self.session.input(now, message);
        } else if let Some(flight) = self.flights.get_mut(&attempt) {
            let verdict = flight.candidate.input(now, self.session.session(), message);
            self.judged(now, attempt, verdict);
        }
        self.work(now);
    }

    /// A link ended, or could not be opened. `failure` where its transport knows better than can be told from here: that
    /// it was [`Failure::Authentication`], [`Failure::Origin`], [`Failure::Rotated`], [`Failure::Buffered`],
    /// [`Failure::Unreachable`].
    pub fn lost(&mut self, now: u64, attempt: Attempt, loss: LinkLoss, failure: Option<Failure>) {
        if let Some(live) = self.live.take_if(|live| live.attempt == attempt) {
            let meant = matches!(&loss, LinkLoss::Closed { .. });
            let told = if meant { None } else { Some(worded(&loss)) };
            self.session.link_lost(now, loss);
            let young = now.saturating_sub(live.adopted) < CUT_MS;
            let kind = if young { Failure::Cut } else { Failure::Idle };
            let failure = if meant { failure } else { Some(failure.unwrap_or(kind)) };
            self.ended(now, &live, failure, false, told);
        } else if let Some(flight) = self.flights.remove(&attempt) {
            let failure = failure.unwrap_or_else(|| flight.candidate.failure(now, false));
            self.failed(now, &flight, failure, loss);
        }
        self.work(now);
    }

    /// The session's link has brought as many bytes as one should: it is replaced by another one of its kind.
    pub fn rotate(&mut self, now: u64, attempt: Attempt) {
        if self.is_live(attempt) {
            self.ladder.rotate(now);
            self.work(now);
        }
    }

    /// A transport has learned how long polls may be held, milliseconds.
    pub fn hold_learned(&mut self, now: u64, hold_ms: u64) {
        self.memory.held(self.unix.saturating_add(now), hold_ms);
    }

    /// The caller stops reading from the session's link; see [`ClientSession::pause`].
    pub const fn pause(&mut self) {
        self.session.pause();
    }

    /// The caller reads again.
    pub fn resume(&mut self, now: u64) {
        self.session.resume(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        self.session.tick(now);
        self.ladder.tick(now);
        self.work(now);
    }

    /// What to do about links, in order; `None` when there is nothing more.
    pub fn poll_order(&mut self, now: u64) -> Option<LinkOrder> {
        self.work(now);
        self.orders.pop_front()
    }

    /// The next message for [the session's link](Links::live); `None` when there is none now, or no link.
    pub fn poll_transmit(&mut self, now: u64) -> Option<ClientMessage> {
        self.live.as_ref()?;
        let message = self.session.poll_transmit()?;
        self.session.transmitted(now);
        Some(message)
    }

    /// What happened to the session, in order; `None` when there is nothing more.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.session.poll_event()
    }

    /// What happened to the path, in order; `None` when there is nothing more.
    pub fn poll_path(&mut self) -> Option<PathEvent> {
        self.events.pop_front()
    }

    /// When [`tick`](Links::tick) is due; `None` once the session is over.
    pub fn poll_timeout(&self) -> Option<u64> {
        let session = self.session.poll_timeout()?;
        Some(self.ladder.deadline().map_or(session, |at| at.min(session)))
    }

    fn is_live(&self, attempt: Attempt) -> bool {
        self.live.as_ref().is_some_and(|live| live.attempt == attempt)
    }

    /// Carries wishes from the session to the ladder and back until both are content.
    fn work(&mut self, now: u64) {
        loop {
            if self.session.is_drained() && !core::mem::replace(&mut self.drained, true) {
                self.ladder.drain();
            }
            if let Some(command) = self.session.poll_link() {
                self.obey(now, command);
            } else if let Some(step) = self.ladder.poll() {
                self.climb(now, step);
            } else if self.session.state() == ClientState::Closed && !self.flights.is_empty() {
                self.ladder.stop();
            } else {
                return;
            }
        }
    }

    fn obey(&mut self, now: u64, command: LinkCommand) {
        match command {
            LinkCommand::Open => {
                self.outcome = Outcome::default();
                self.drained = false;
                self.ladder.begin(now);
            }
            LinkCommand::Doubt => self.ladder.suspect(now),
            LinkCommand::Trust => self.ladder.calm(),
            LinkCommand::Close { code, reason } => {
                let Some(live) = self.live.take() else { return };
                let silent = code == CloseCode::Heartbeat.code();
                let told = silent.then(|| reason.clone());
                self.orders.push_back(LinkOrder::Close { attempt: live.attempt, code, reason });
                self.ended(now, &live, silent.then_some(Failure::Idle), silent, told);
            }
        }
    }

    fn climb(&mut self, now: u64, step: Step) {
        match step {
            Step::Start { attempt, transport } => self.open(now, attempt, transport),
            Step::GiveUp { attempt } => {
                let Some(flight) = self.take_flight(attempt, CloseCode::Heartbeat, "not proven in time") else {
                    return;
                };
                let failure = flight.candidate.failure(now, true);
                let after = now.saturating_sub(flight.candidate.started());
                self.outcome.add(LinkLoss::Broken(format!(
                    "{} was not proven within {after} ms",
                    flight.candidate.transport()
                )));
                self.note(now, flight.candidate.transport(), flight.candidate.started(), failure, None);
            }
            Step::Abandon { attempt } => {
                self.take_flight(attempt, CloseCode::Normal, "not needed");
            }
            Step::Ping { attempt: number } => {
                if let Some(attempt) = self.find(number) {
                    self.orders.push_back(LinkOrder::Send { attempt, message: ClientMessage::Ping });
                }
            }
            Step::Adopt { attempt } => self.adopt(now, attempt),
            Step::Over => {
                let loss = self.outcome.take();
                self.session.link_lost(now, loss);
            }
        }
    }

    fn find(&self, number: u64) -> Option<Attempt> {
        self.flights.iter().find(|(_, flight)| flight.number == number).map(|(attempt, _)| *attempt)
    }

    fn take_flight(&mut self, number: u64, code: CloseCode, reason: &str) -> Option<Flight> {
        let attempt = self.find(number)?;
        self.orders.push_back(LinkOrder::Close { attempt, code: code.code(), reason: reason.into() });
        self.flights.remove(&attempt)
    }

    fn open(&mut self, now: u64, number: u64, transport: Transport) {
        let known = self.memory.last();
        let polls = transport.group() == Group::Polls;
        let wish = known.and_then(|known| known.heartbeat).filter(|_| !polls);
        let hold_ms = known.map_or(HOLD_MS, |known| known.hold_ms);
        let mut greeting = self.session.greeting(wish);
        let first = core::mem::take(&mut greeting.messages);
        self.last_attempt += 1;
        let attempt = Attempt(self.last_attempt);
        self.flights.insert(attempt, Flight { number, candidate: Candidate::new(now, transport, greeting) });
        self.orders.push_back(LinkOrder::Open { attempt, transport, first, probe: ClientMessage::Ping, hold_ms });
    }

    fn judged(&mut self, now: u64, attempt: Attempt, verdict: Verdict) {
        let Some(flight) = self.flights.get(&attempt) else { return };
        let (number, transport) = (flight.number, flight.candidate.transport());
        match verdict {
            Verdict::Waits => {}
            Verdict::Pong => self.orders.push_back(LinkOrder::Send { attempt, message: ClientMessage::Pong }),
            Verdict::Proven => {
                self.rtt = flight.candidate.rtt();
                self.ladder.measured(self.rtt.unwrap_or(0));
                self.ladder.proven(now, number);
            }
            Verdict::Answered => self.ladder.answered(now, number),
            Verdict::Foreign => {
                self.take_flight(number, CloseCode::Normal, "the session has another id by now");
                self.open(now, number, transport);
            }
            Verdict::Ended { code, reason } => {
                let Some(flight) = self.flights.remove(&attempt) else { return };
                self.orders.push_back(LinkOrder::Close { attempt, code: answer(code), reason: reason.clone() });
                let failure = flight.candidate.failure(now, false);
                let own = code == CloseCode::BadMessage.code();
                let loss = if own { LinkLoss::Broken(reason) } else { LinkLoss::Closed { code, reason } };
                self.failed(now, &flight, failure, loss);
            }
        }
    }

    fn adopt(&mut self, now: u64, number: u64) {
        let Some(attempt) = self.find(number) else { return };
        let Some(Flight { candidate, .. }) = self.flights.remove(&attempt) else { return };
        let (transport, started) = (candidate.transport(), candidate.started());
        let network: Option<Box<str>> = candidate.network().map(Into::into);
        let (silent, learned) = (self.session.is_doubted(), self.session.heartbeat());
        let Some(adoption) = candidate.into_adoption() else { return };
        let heartbeat = adoption.heartbeat;
        if !self.session.adopt(now, adoption) {
            self.ladder.died(now, None, false);
            let reason = "not needed".into();
            return self.orders.push_back(LinkOrder::Close { attempt, code: CloseCode::Normal.code(), reason });
        }
        if let Some(old) = self.live.replace(Live { attempt, transport, started, adopted: now, heartbeat }) {
            let reason = "another link has taken over".into();
            self.orders.push_back(LinkOrder::Close { attempt: old.attempt, code: CloseCode::Normal.code(), reason });
            self.learn(now, old.transport, learned, silent);
            if silent {
                self.note(now, old.transport, old.started, Failure::Idle, Some("left for another link".into()));
            }
        }
        self.drained = false;
        self.memory.adopted(self.unix.saturating_add(now), network.as_deref().unwrap_or_default(), transport);
        self.network = network;
        self.events.push_back(PathEvent::Changed(transport));
    }

    /// A candidate has ended by itself.
    fn failed(&mut self, now: u64, flight: &Flight, failure: Failure, loss: LinkLoss) {
        let candidate = &flight.candidate;
        self.note(now, candidate.transport(), candidate.started(), failure, Some(worded(&loss)));
        self.outcome.add(loss);
        self.ladder.failed(now, flight.number);
    }

    /// The session's link has ended, and the session knows.
    fn ended(&mut self, now: u64, live: &Live, failure: Option<Failure>, silent: bool, told: Option<String>) {
        self.learn(now, live.transport, self.session.heartbeat(), silent);
        self.ladder.died(now, failure, silent);
        if let Some(failure) = failure {
            self.note(now, live.transport, live.started, failure, told);
        }
    }

    fn learn(&mut self, now: u64, transport: Transport, learned: Option<(u64, u32)>, silent: bool) {
        if let Some((interval, survived)) = learned
            && transport.group() != Group::Polls
        {
            self.memory.ended(self.unix.saturating_add(now), interval, survived, silent);
        }
    }

    fn note(&mut self, now: u64, transport: Transport, started: u64, failure: Failure, detail: Option<String>) {
        let after = now.saturating_sub(started);
        let report = Report { transport, failure, after, detail: detail.map(String::into_boxed_str) };
        if self.failures.len() == FAILURES_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back(report.clone());
        self.session.report(report.clone());
        self.events.push_back(PathEvent::Failed(report));
    }
}

/// The code with which a link is closed that the server has closed with `code`, or that is closed with it.
const fn answer(code: u16) -> u16 {
    match code {
        4200 | 4201 => code,
        _ => 1000,
    }
}
