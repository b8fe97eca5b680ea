//! A session at the client, over all its links: sections 1, 4 to 7 of PROTOCOL.md.

mod adopt;
mod delay;
mod event;
mod link;
mod publishes;
mod subscriptions;

pub use adopt::{Adoption, Greeting, Report};
pub use event::{
    ClientEvent, ClientSettings, ClientState, Cursor, LinkCommand, LinkLoss, PublishError, PublishFault,
    SubscribeError, SubscriptionId,
};

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use throughline_wire::close::CloseCode;
use throughline_wire::event::{Body, SessionId, check_channel_name};
use throughline_wire::message::{
    CLIENT_NAME_BYTES_MAX, ClientMessage, CloseReason, DecodeError, ErrorCode, From, Limits, Reply, ReplyError,
    ServerMessage, VERSION,
};

use delay::Delays;
use link::Phase;
use publishes::Publishes;
use subscriptions::Subscriptions;

/// A session: what it is subscribed to, what it published and has no answer for, and the link that carries it now.
///
/// It needs one link at a time and says when. The caller opens and closes links, moves whole messages, keeps the clock,
/// and owes it the following:
///
/// - After every other call: [`poll_transmit`](Self::poll_transmit) until `None`, if the link can take more;
///   [`poll_event`](Self::poll_event) until `None`; [`poll_link`](Self::poll_link) until `None`;
///   then [`poll_timeout`](Self::poll_timeout). A session queues no more than these calls leave in it.
/// - [`tick`](Self::tick) when the time that `poll_timeout` gave has come. Early or repeated ticks are harmless.
/// - For each [`LinkCommand::Open`] one [`link_opened`](Self::link_opened), then [`heard`](Self::heard) for bytes and
///   [`input`](Self::input) for messages, then one [`link_lost`](Self::link_lost); or only the last when it could not be
///   opened. After [`LinkCommand::Close`] nothing more of that link.
/// - [`pause`](Self::pause) while it does not read from the link.
///
/// Messages go out in this order: `connect`, then requests in the order they were made, then publishes in theirs, as many
/// as the server's window allows. On the session's first link publishes wait for `welcome`: were they sent before the
/// session's id is known, and both link and answer lost, nobody could tell their repetition from new events.
#[derive(Debug)]
pub struct ClientSession {
    settings: ClientSettings,
    phase: Phase,
    delays: Delays,
    session: Option<SessionId>,
    limits: Option<Limits>,
    /// The highest id in use; ids only ever increase, over all links.
    last_number: u64,
    publishes: Publishes,
    subscriptions: Subscriptions,
    due: Due,
    reports: VecDeque<Report>,
    drain: Option<u64>,
    /// Heartbeat interval of the last link that was left, and how many silent ones it had survived.
    learned: Option<(u64, u32)>,
    /// How many links were adopted.
    adoptions: u64,
    /// How many links were left because they were doubted, since something was answered.
    doubts: u32,
    events: VecDeque<ClientEvent>,
    commands: VecDeque<LinkCommand>,
}

/// Messages of the link itself that wait to be sent; as flags, so that no number of pings fills memory.
#[derive(Debug, Default)]
struct Due {
    connect: bool,
    ping: bool,
    pong: bool,
}

impl ClientSession {
    /// A session that wants its first link at once. `seed` spreads reconnections: any number that differs from client to client.
    pub fn new(mut settings: ClientSettings, seed: u64, now: u64) -> ClientSession {
        settings.client = settings.client.as_deref().map(short_name);
        let mut session = ClientSession {
            settings,
            phase: Phase::Waiting { until: now },
            delays: Delays::new(seed),
            session: None,
            limits: None,
            last_number: 0,
            publishes: Publishes::default(),
            subscriptions: Subscriptions::default(),
            due: Due::default(),
            reports: VecDeque::new(),
            drain: None,
            learned: None,
            adoptions: 0,
            doubts: 0,
            events: VecDeque::new(),
            commands: VecDeque::new(),
        };
        session.tick(now);
        session
    }

    /// The session's id, once a `welcome` told it.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// What the last `welcome` announced.
    pub const fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// Where the session stands.
    pub const fn state(&self) -> ClientState {
        self.phase.state()
    }

    /// Publishes without an answer, sent or not. A caller that wants to leave nothing behind closes at zero.
    pub fn unanswered(&self) -> usize {
        self.publishes.len()
    }

    /// Bytes of the events of these publishes.
    pub const fn unanswered_bytes(&self) -> usize {
        self.publishes.bytes()
    }

    /// Begins a subscription. Its outcome is [`ClientEvent::Subscribed`] or [`ClientEvent::SubscribeFailed`]; it is
    /// resumed on every new link. [`From::After`] takes up a cursor that the caller kept.
    pub fn subscribe(&mut self, channel: &str, from: From) -> Result<SubscriptionId, SubscribeError> {
        if matches!(self.phase, Phase::Closed) {
            return Err(SubscribeError::Closed);
        }
        check_channel_name(channel).map_err(SubscribeError::Channel)?;
        self.subscriptions.add(channel, from, self.phase.linked())
    }

    /// Ends a subscription; nothing of it comes any more, not even what waited in [`poll_event`](Self::poll_event).
    /// False when there was none.
    pub fn unsubscribe(&mut self, id: SubscriptionId) -> bool {
        self.events.retain(|e| subscription_of(e) != Some(id));
        self.subscriptions.remove(id, self.phase.linked())
    }

    /// Up to where a subscription has been given events by [`input`](Self::input); `None` when there is none or it never stood.
    pub fn cursor(&self, id: SubscriptionId) -> Option<Cursor> {
        self.subscriptions.cursor(id)
    }

    /// Queues an event for publication and gives the number by which [`ClientEvent::Published`] or
    /// [`ClientEvent::PublishFailed`] will answer it, exactly once. The numbers count from 1; they are not those on the
    /// wire. `persistent` counts on channels of type `mixed`.
    pub fn publish(&mut self, channel: &str, body: Body, persistent: Option<bool>) -> Result<u64, PublishError> {
        if matches!(self.phase, Phase::Closed) {
            return Err(PublishError::Closed);
        }
        check_channel_name(channel).map_err(PublishError::Channel)?;
        if let Some(limits) = self.limits
            && body.data.len() as u64 > limits.event_bytes
        {
            return Err(PublishError::TooLarge { bytes: body.data.len(), limit: limits.event_bytes });
        }
        self.publishes.push(&self.settings, channel, body, persistent)
    }

    /// Ends the session now; what has no answer fails.
    pub fn close(&mut self) {
        self.finish(CloseCode::Normal.code(), "closed by the application".into());
    }

    /// The next message for the link; `None` when there is none now, or no link. To be polled again after every other call.
    pub fn poll_transmit(&mut self) -> Option<ClientMessage> {
        if !self.phase.linked() {
            return None;
        }
        let due = &mut self.due;
        if core::mem::take(&mut due.connect) {
            let (session, client) = (self.session, self.settings.client.clone());
            return Some(ClientMessage::Connect { versions: vec![VERSION], session, client, heartbeat: None });
        }
        if core::mem::take(&mut due.pong) {
            return Some(ClientMessage::Pong);
        }
        if core::mem::take(&mut due.ping) {
            return Some(ClientMessage::Ping);
        }
        if let Some(request) = self.subscriptions.next(&mut self.last_number) {
            return Some(request);
        }
        self.session?;
        if let Some(report) = self.reports.pop_front() {
            return Some(report.into());
        }
        let window = self.limits.map_or(1, |l| l.publishes_max);
        self.publishes.next(window, &mut self.last_number)
    }

    /// What happened, in order; `None` when there is nothing more. To be polled after every other call.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// What to do with the link; `None` when nothing. To be polled after every other call.
    pub fn poll_link(&mut self) -> Option<LinkCommand> {
        self.commands.pop_front()
    }

    /// When [`tick`](Self::tick) is due; `None` once closed. To be asked again after every other call.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.phase.deadline()
    }

    /// The link that was asked for is open: its transport's handshake is done.
    pub fn link_opened(&mut self, now: u64) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        self.phase = Phase::Greeting { deadline: now.saturating_add(self.settings.open_timeout_ms) };
        self.due = Due { connect: true, ..Due::default() };
        self.publishes.rewind();
        self.subscriptions.relink();
    }

    /// Any bytes came on the link.
    pub fn heard(&mut self, now: u64) {
        if self.phase.heard(now) {
            self.commands.push_back(LinkCommand::Trust);
        }
    }

    /// A message came on the link, decoded as far as it could be.
    pub fn input(&mut self, now: u64, message: Result<ServerMessage, DecodeError>) {
        if !self.phase.linked() {
            return;
        }
        self.heard(now);
        let outcome = match message {
            Ok(message) => self.take(now, message),
            Err(error) => Err(format!("{error}")),
        };
        if let Err(text) = outcome {
            self.violated(now, text);
        }
        self.rest();
    }

    fn take(&mut self, now: u64, message: ServerMessage) -> Result<(), String> {
        let welcomed = self.phase.is_open();
        let out = &mut self.events;
        match message {
            ServerMessage::Welcome { version, session, heartbeat, limits, .. } if !welcomed => {
                self.welcome(now, version, session, heartbeat, limits)
            }
            ServerMessage::Welcome { .. } => Err("a second welcome on one link".into()),
            ServerMessage::Close { code, reason } => {
                self.order_close(CloseCode::Normal, "the server closed");
                self.lost(now, LinkLoss::Closed { code, reason });
                Ok(())
            }
            _ if !welcomed => Err("the first message was no welcome".into()),
            ServerMessage::Reply { id, result } if self.publishes.is_sent(id) => self.published(id, result),
            ServerMessage::Reply { id, result } => self.subscriptions.reply(id, result, out),
            ServerMessage::Event { channel, event } => self.subscriptions.event(channel, event, out),
            ServerMessage::Gap { channel, gap } => self.subscriptions.gap(channel, gap, out),
            ServerMessage::End { channel, reason } => self.subscriptions.end(channel, reason, out),
            ServerMessage::Ping => {
                self.due.pong = true;
                Ok(())
            }
            ServerMessage::Pong => Ok(()),
            ServerMessage::Drain { after } => {
                self.drain = Some(after.min(self.settings.asked_delay_max_ms));
                Ok(())
            }
        }
    }

    fn welcome(
        &mut self,
        now: u64,
        version: u64,
        session: SessionId,
        heartbeat: u64,
        limits: Limits,
    ) -> Result<(), String> {
        if version != VERSION {
            return Err(format!("the server chose protocol version {version}, which was not offered"));
        }
        if self.session.is_some_and(|own| own != session) {
            return Err("the server answered with another session than the one presented".into());
        }
        if !self.phase.is_open() {
            self.events.push_back(ClientEvent::StateChanged(ClientState::Open));
        }
        self.phase = Phase::open(now, heartbeat);
        let resumed = self.session.replace(session).is_some();
        self.limits = Some(limits);
        self.events.push_back(ClientEvent::Welcome { session, limits, resumed });
        while let Some((id, bytes)) = self.publishes.too_large(limits.event_bytes) {
            let limit = limits.event_bytes;
            let text = PublishError::TooLarge { bytes, limit };
            let error = ReplyError::limit(ErrorCode::EventTooLarge, format!("{text}"), limit);
            self.events.push_back(ClientEvent::PublishFailed { id, fault: PublishFault::Refused(error) });
        }
        Ok(())
    }

    fn published(&mut self, number: u64, result: Result<Reply, ReplyError>) -> Result<(), String> {
        self.doubts = 0;
        if matches!(&result, Err(error) if error.is(ErrorCode::Draining)) {
            // It stays in the queue, and goes out first on the next link.
            self.publishes.hold();
            return Ok(());
        }
        if !matches!(result, Ok(Reply::Published { .. }) | Err(_)) {
            return Err(format!("the reply to publish {number} is that of another request"));
        }
        let Some(id) = self.publishes.answered(number) else { return Ok(()) };
        self.events.push_back(match result {
            Ok(Reply::Published { eid, duplicate }) => ClientEvent::Published { id, eid, duplicate },
            Ok(_) => return Ok(()),
            Err(error) => ClientEvent::PublishFailed { id, fault: PublishFault::Refused(error) },
        });
        Ok(())
    }
}

/// Which subscription an event belongs to.
const fn subscription_of(event: &ClientEvent) -> Option<SubscriptionId> {
    match event {
        ClientEvent::Subscribed { subscription, .. }
        | ClientEvent::SubscribeFailed { subscription, .. }
        | ClientEvent::Event { subscription, .. }
        | ClientEvent::Gap { subscription, .. }
        | ClientEvent::Ended { subscription, .. } => Some(*subscription),
        _ => None,
    }
}

fn short_name(name: &str) -> Box<str> {
    let mut end = name.len().min(CLIENT_NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().into()
}

fn cut(code: CloseCode, text: impl Into<String>) -> LinkCommand {
    let reason = CloseReason::new(code, text).reason;
    LinkCommand::Close { code: code.code(), reason }
}
