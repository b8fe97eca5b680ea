//! The link that carries the session now: when to open one, whether it lives, what follows its end.

use alloc::format;
use alloc::string::String;

use throughline_wire::close::{CloseCode, Reconnect, reconnect_after};

use super::delay::STABLE_MS;
use super::event::{ClientEvent, ClientState, LinkCommand, LinkLoss, PublishFault};
use super::{ClientSession, Due, cut};

/// A server's heartbeat outside of these is taken for the nearer one, milliseconds.
const HEARTBEAT_MS: (u64, u64) = (100, 600_000);
/// What stands for "no code came" in events (RFC 6455 section 7.1.5).
const NO_CODE: u16 = 1006;

/// An open link's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    since: u64,
    heartbeat: u64,
    heard: u64,
    /// When the last heartbeat's ping was due, until something is heard.
    pinged: Option<u64>,
    paused: bool,
    /// How often the link was silent for about an interval and spoke again.
    survived: u32,
    doubt: Doubt,
}

/// Whether something is outstanding and nothing comes.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// How long this may last, twice, milliseconds; `None`: for ever.
    wait: Option<u64>,
    /// Since when.
    since: Option<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Calm,
    Asked,
    Told,
}

impl Doubt {
    const NONE: Doubt = Doubt { wait: None, since: None, stage: Stage::Calm };

    const fn deadline(&self) -> Option<u64> {
        match (self.wait, self.since, self.stage) {
            (Some(wait), Some(since), Stage::Calm | Stage::Asked) => Some(since.saturating_add(wait)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Between links.
    Waiting { until: u64 },
    /// The caller was told to open a link.
    Opening { deadline: u64 },
    /// The link is open, `welcome` has not come.
    Greeting { deadline: u64 },
    /// Welcomed.
    Open(Pulse),
    /// For good.
    Closed,
}

impl Phase {
    pub(super) fn open(now: u64, heartbeat: u64) -> Phase {
        let heartbeat = heartbeat.clamp(HEARTBEAT_MS.0, HEARTBEAT_MS.1);
        Phase::Open(Pulse {
            since: now,
            heartbeat,
            heard: now,
            pinged: None,
            paused: false,
            survived: 0,
            doubt: Doubt::NONE,
        })
    }

    /// True when messages can be sent.
    pub(super) const fn linked(&self) -> bool {
        matches!(self, Phase::Greeting { .. } | Phase::Open(_))
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Phase::Open(_))
    }

    pub(super) const fn pulse(&self) -> Option<&Pulse> {
        if let Phase::Open(pulse) = self { Some(pulse) } else { None }
    }

    /// From now on the link is doubted after twice so much silence.
    pub(super) const fn doubt_after(&mut self, wait: u64) {
        if let Phase::Open(pulse) = self {
            pulse.doubt.wait = Some(wait);
        }
    }

    pub(super) const fn state(&self) -> ClientState {
        match *self {
            Phase::Waiting { until } => ClientState::Waiting { until },
            Phase::Opening { .. } | Phase::Greeting { .. } => ClientState::Connecting,
            Phase::Open(_) => ClientState::Open,
            Phase::Closed => ClientState::Closed,
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        match self {
            Phase::Waiting { until: at } | Phase::Opening { deadline: at } | Phase::Greeting { deadline: at } => {
                Some(*at)
            }
            Phase::Open(pulse) => Some(pulse.deadline()),
            Phase::Closed => None,
        }
    }

    /// True when the link had been doubted.
    pub(super) fn heard(&mut self, now: u64) -> bool {
        let Phase::Open(pulse) = self else { return false };
        // The server asks after the same silence, so that its ping may be what ends it.
        if now.saturating_sub(pulse.heard) >= pulse.heartbeat / 10 * 9 {
            pulse.survived += 1;
        }
        (pulse.heard, pulse.pinged) = (now, None);
        // Whether anything is still outstanding is looked at when its time has come.
        pulse.doubt.since = pulse.doubt.since.map(|_| now);
        core::mem::replace(&mut pulse.doubt.stage, Stage::Calm) == Stage::Told
    }
}

impl Pulse {
    /// The interval of this link and how many silent ones it has survived.
    pub(super) const fn learned(&self) -> (u64, u32) {
        (self.heartbeat, self.survived)
    }

    /// True when nothing was heard for twice the wait though something was outstanding.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubt.stage == Stage::Told
    }

    fn deadline(&self) -> u64 {
        let own = self.life_deadline();
        if self.paused { own } else { self.doubt.deadline().map_or(own, |at| at.min(own)) }
    }

    const fn life_deadline(&self) -> u64 {
        let Pulse { heartbeat, heard, .. } = *self;
        match self.pinged {
            Some(at) if self.paused => at.saturating_add(heartbeat),
            Some(at) => at.saturating_add(heartbeat * 2),
            None => heard.saturating_add(heartbeat),
        }
    }
}

impl ClientSession {
    /// The caller stops reading from the link, to hold the server back. Until [`resume`](Self::resume) silence is no sign
    /// of death, and the session pings at each heartbeat so that the server hears it live.
    pub const fn pause(&mut self) {
        if let Phase::Open(pulse) = &mut self.phase {
            pulse.paused = true;
        }
    }

    /// The caller reads again. A new link is always one that is read.
    pub fn resume(&mut self, now: u64) {
        if let Phase::Open(pulse) = &mut self.phase {
            pulse.paused = false;
            pulse.heard = now;
            pulse.pinged = None;
            pulse.doubt.since = pulse.doubt.since.map(|_| now);
        }
    }

    /// A message that [`poll_transmit`](Self::poll_transmit) gave is on its way: silence counts from here.
    pub fn transmitted(&mut self, now: u64) {
        let awaits = self.awaits();
        if let Phase::Open(Pulse { doubt, .. }) = &mut self.phase
            && awaits
        {
            doubt.since.get_or_insert(now);
        }
    }

    /// When nothing is outstanding, silence says nothing.
    pub(super) fn rest(&mut self) {
        let awaits = self.awaits();
        if let Phase::Open(Pulse { doubt, .. }) = &mut self.phase
            && !awaits
        {
            doubt.since = None;
        }
    }

    /// True while something is to come.
    fn awaits(&self) -> bool {
        let pinged = self.phase.pulse().is_some_and(|p| p.pinged.is_some());
        self.drain.is_none() && (pinged || self.publishes.awaits() || self.subscriptions.awaits())
    }

    fn tick_doubt(&mut self, now: u64) {
        let awaits = self.awaits();
        let Phase::Open(Pulse { doubt, paused: false, .. }) = &mut self.phase else { return };
        if doubt.deadline().is_none_or(|at| now < at) {
            return;
        }
        match doubt.stage {
            Stage::Calm if !awaits => doubt.since = None,
            Stage::Calm => {
                (doubt.stage, doubt.since) = (Stage::Asked, Some(now));
                self.due.ping = true;
            }
            Stage::Asked => {
                doubt.stage = Stage::Told;
                self.commands.push_back(LinkCommand::Doubt);
            }
            Stage::Told => {}
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        if self.phase.deadline().is_none_or(|at| now < at) {
            return;
        }
        self.tick_doubt(now);
        match &mut self.phase {
            Phase::Closed => {}
            Phase::Waiting { .. } => {
                self.phase = Phase::Opening { deadline: now.saturating_add(self.settings.open_timeout_ms) };
                self.commands.push_back(LinkCommand::Open);
                self.events.push_back(ClientEvent::StateChanged(ClientState::Connecting));
            }
            Phase::Opening { .. } => {
                self.given_up(now, format!("no link was open within {} ms", self.settings.open_timeout_ms));
            }
            Phase::Greeting { .. } => {
                let text = format!("no welcome came within {} ms of the handshake", self.settings.open_timeout_ms);
                self.given_up(now, text);
            }
            Phase::Open(pulse) if now < pulse.life_deadline() => {}
            Phase::Open(pulse) => {
                if pulse.pinged.is_none() || pulse.paused {
                    pulse.pinged = Some(now);
                    self.due.ping = true;
                } else {
                    let text = format!("nothing was heard for {} ms", now.saturating_sub(pulse.heard));
                    self.given_up(now, text);
                }
            }
        }
    }

    fn given_up(&mut self, now: u64, text: String) {
        self.order_close(CloseCode::Heartbeat, text.as_str());
        self.next_link(now, LinkLoss::Broken(text), Reconnect::Now, 0);
    }

    /// The server broke the protocol. It may be another program by the next attempt, so the session goes on, but not at once.
    pub(super) fn violated(&mut self, now: u64, text: String) {
        self.order_close(CloseCode::BadMessage, text.as_str());
        let text = format!("the server broke the protocol: {text}");
        self.next_link(now, LinkLoss::Broken(text), Reconnect::Later, 0);
    }

    /// Tells the caller to close what it has opened; an order to open that was not taken is taken back.
    pub(super) fn order_close(&mut self, code: CloseCode, text: &str) {
        if self.commands.back() == Some(&LinkCommand::Open) {
            self.commands.pop_back();
        } else {
            self.commands.push_back(cut(code, text));
        }
    }

    /// The link has ended without the session's doing, or it could not be opened.
    pub fn link_lost(&mut self, now: u64, loss: LinkLoss) {
        if matches!(self.phase, Phase::Opening { .. } | Phase::Greeting { .. } | Phase::Open(_)) {
            self.lost(now, loss);
        }
    }

    pub(super) fn lost(&mut self, now: u64, loss: LinkLoss) {
        match &loss {
            // What breaks without a word from the server mends soon or not: begin early, grow.
            LinkLoss::Broken(_) => self.next_link(now, loss, Reconnect::Now, 0),
            LinkLoss::Refused { retry_after_ms, .. } => {
                let asked = retry_after_ms.unwrap_or(0).min(self.settings.asked_delay_max_ms);
                self.next_link(now, loss, Reconnect::Later, asked);
            }
            LinkLoss::Closed { code, .. } => {
                let when = reconnect_after(*code);
                self.next_link(now, loss, when, 0);
            }
            LinkLoss::Hopeless(_) => self.next_link(now, loss, Reconnect::Never, 0),
        }
    }

    fn next_link(&mut self, now: u64, loss: LinkLoss, when: Reconnect, asked: u64) {
        self.leave_link(now);
        let drain = self.drain.take();
        if when == Reconnect::Never {
            self.end(loss);
            return;
        }
        let wait = match drain {
            Some(after) => self.delays.random(after),
            None => self.delays.next(when),
        };
        self.phase = Phase::Waiting { until: now.saturating_add(asked).saturating_add(wait) };
        self.events.push_back(ClientEvent::LinkLost(loss));
        self.events.push_back(ClientEvent::StateChanged(self.phase.state()));
    }

    /// What was sent on the link that is left counts as not sent.
    pub(super) fn leave_link(&mut self, now: u64) {
        if let Phase::Open(Pulse { since, .. }) = self.phase
            && now.saturating_sub(since) >= STABLE_MS
        {
            self.delays.reset();
        }
        self.learned = self.phase.pulse().map(Pulse::learned).or(self.learned);
        self.due = Due::default();
        self.publishes.rewind();
    }

    fn end(&mut self, loss: LinkLoss) {
        let (code, reason) = match &loss {
            LinkLoss::Closed { code, reason } => (*code, reason.clone()),
            LinkLoss::Broken(text) | LinkLoss::Hopeless(text) => (NO_CODE, text.clone()),
            LinkLoss::Refused { reason, .. } => (NO_CODE, reason.clone()),
        };
        self.events.push_back(ClientEvent::LinkLost(loss));
        self.phase = Phase::Waiting { until: 0 };
        self.finish(code, reason);
    }

    /// Ends the session for good.
    pub(super) fn finish(&mut self, code: u16, reason: String) {
        match self.phase {
            Phase::Closed => return,
            Phase::Waiting { .. } => {}
            Phase::Opening { .. } | Phase::Greeting { .. } | Phase::Open(_) => {
                self.order_close(CloseCode::Normal, &reason);
            }
        }
        self.phase = Phase::Closed;
        self.subscriptions.clear();
        self.events.push_back(ClientEvent::StateChanged(ClientState::Closed));
        while let Some((id, sent)) = self.publishes.abandon() {
            self.events.push_back(ClientEvent::PublishFailed { id, fault: PublishFault::Closed { sent } });
        }
        self.events.push_back(ClientEvent::Closed { code, reason });
    }
}
