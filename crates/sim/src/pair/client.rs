//! The client: a session, the carriers it uses, and what its application is told.

use std::collections::BTreeMap;

use throughline_session::{
    Attempt, ClientEvent, ClientSettings, ClientState, LadderSettings, LinkLoss, LinkOrder, Links, Memory, PathEvent,
    SubscriptionId,
};
use throughline_wire::event::{Body, Data};
use throughline_wire::message::{ErrorCode, From};
use throughline_wire::path::Transport;

use super::Sabotage;
use super::carrier::{Beginning, Carrier, Told};
use super::checker::{Published, Reader, answered};
use super::net::{Down, Net, Status};
use super::queue::Due;
use super::realm::Channel;
use super::rule::Class;
use crate::checker::Violation;
use crate::random::Random;

/// Milliseconds of the Unix clock when a run begins.
const UNIX_MS: u64 = 1_800_000_000_000;

/// See the module's text.
#[derive(Debug)]
pub struct Client {
    links: Links,
    random: Random,
    /// By the number that connections know them by.
    carriers: Vec<(Attempt, Carrier)>,
    readers: BTreeMap<SubscriptionId, Reader>,
    /// By the number that the session gave, less one.
    pub published: Vec<Published>,
    /// When the session wants to be told the time.
    due: u64,
    /// When links were begun.
    pub attempts: Vec<(u64, Class)>,
    /// Times that the session went over to another transport.
    pub switches: u64,
    /// Failures that the session told of.
    pub failures: u64,
    /// Nothing that was sent to it comes to its notice until then, and no time passes for it.
    pub asleep_until: u64,
    /// This carrier is not read until then.
    paused: (Option<u32>, u64),
    last: Option<Transport>,
    told: Vec<Told>,
    full: u32,
    /// What is done wrong on purpose.
    pub sabotage: Sabotage,
}

/// What a middlebox sees of a transport.
const fn class_of(transport: Transport) -> Class {
    match transport {
        Transport::WebSocket => Class::WebSocket,
        Transport::HttpStream => Class::HttpStream,
        Transport::EventSource => Class::EventSource,
        Transport::IframeStream => Class::IframeStream,
        Transport::LongPoll => Class::LongPoll,
        Transport::JsonpPoll => Class::JsonpPoll,
    }
}

impl Client {
    /// A client that begins now, and may use these transports. Streams are replaced after `full` bytes.
    pub fn new(mut random: Random, transports: Vec<Transport>, full: u32) -> Client {
        let ladder = LadderSettings { transports, ..LadderSettings::default() };
        let links = Links::new(ClientSettings::default(), &ladder, Memory::default(), random.next(), 0, UNIX_MS);
        Client {
            links,
            random,
            carriers: Vec::new(),
            readers: BTreeMap::new(),
            published: Vec::new(),
            due: u64::MAX,
            attempts: Vec::new(),
            switches: 0,
            failures: 0,
            asleep_until: 0,
            paused: (None, 0),
            last: None,
            told: Vec::new(),
            full,
            sabotage: Sabotage::None,
        }
    }

    /// Publishes an event, longer than need be by so many bytes.
    pub fn publish(&mut self, channel: usize, name: &str, long: usize) -> Result<(), Violation> {
        let mark = self.published.len() as u64 + 1;
        let mut text = format!("{mark} ");
        text.extend(std::iter::repeat_n('x', long));
        let id = self
            .links
            .session_mut()
            .publish(name, Body::new(Data::text(text)), None)
            .map_err(|e| format!("publish: {e}"))?;
        if id != mark {
            return Err(format!("publish {mark} is number {id}"));
        }
        self.published.push(Published { channel, answer: None });
        Ok(())
    }

    /// Begins a subscription, unless there is one.
    pub fn subscribe(&mut self, channel: usize, name: &str, from: From) {
        if let Ok(id) = self.links.session_mut().subscribe(name, from) {
            self.readers.insert(id, Reader::new(channel, from));
        }
    }

    /// Ends one of the subscriptions.
    pub fn unsubscribe(&mut self) -> Result<(), Violation> {
        let place = self.random.index(self.readers.len());
        let Some(id) = self.readers.keys().nth(place).copied() else { return Ok(()) };
        self.readers.remove(&id);
        if self.links.session_mut().unsubscribe(id) {
            Ok(())
        } else {
            Err("a subscription was unknown to its session".into())
        }
    }

    /// Reads nothing until then.
    pub fn pause(&mut self, net: &mut Net, until: u64) {
        let Some(live) = self.live() else { return };
        if self.paused.1 > net.now() {
            return;
        }
        self.paused = (Some(live), until);
        self.links.pause();
        net.queue.at(until, Due::Resume);
    }

    /// The time of a pause may be over.
    pub fn resume(&mut self, net: &mut Net) {
        let now = net.now();
        if self.paused.1 <= now {
            self.paused = (None, 0);
            self.links.resume(now);
        }
    }

    /// The carrier of the session's link.
    fn live(&self) -> Option<u32> {
        let (attempt, _) = self.links.live()?;
        self.carriers.iter().rposition(|(a, _)| *a == attempt).map(|place| place as u32)
    }

    /// From when on what comes for a carrier is read.
    pub fn reads_from(&self, carrier: Option<u32>) -> u64 {
        let paused = if self.paused.0 == carrier { self.paused.1 } else { 0 };
        self.asleep_until.max(paused)
    }

    /// Until when the client is asleep or reads nothing.
    pub fn absent_until(&self) -> u64 {
        self.asleep_until.max(self.paused.1)
    }

    /// The session's deadline, maybe an old one.
    pub fn tick(&mut self, net: &mut Net) {
        self.due = u64::MAX;
        self.links.tick(net.now());
    }

    /// Something came on a connection.
    pub fn arrived(
        &mut self,
        net: &mut Net,
        carrier: u32,
        connection: u32,
        item: Down,
        channels: &[Channel],
    ) -> Result<(), Violation> {
        let mut told = core::mem::take(&mut self.told);
        if let Some((_, carrier)) = self.carriers.get_mut(carrier as usize) {
            carrier.arrived(net, connection, item, &mut told);
        }
        self.hear(net, carrier, told, channels)
    }

    /// A carrier's deadline.
    pub fn tick_carrier(&mut self, net: &mut Net, carrier: u32, channels: &[Channel]) -> Result<(), Violation> {
        let mut told = core::mem::take(&mut self.told);
        if let Some((_, carrier)) = self.carriers.get_mut(carrier as usize) {
            carrier.tick(net, &mut told);
        }
        self.hear(net, carrier, told, channels)
    }

    /// What was sent on a connection has arrived.
    pub fn writable(&mut self, net: &mut Net, carrier: u32) {
        if let Some((_, carrier)) = self.carriers.get_mut(carrier as usize) {
            carrier.writable(net);
        }
    }

    /// Events are looked at after each message, while the session's cursors are those of the event.
    fn hear(&mut self, net: &mut Net, id: u32, mut told: Vec<Told>, channels: &[Channel]) -> Result<(), Violation> {
        let now = net.now();
        for told in told.drain(..) {
            let Some((attempt, carrier)) = self.carriers.get(id as usize) else { continue };
            if carrier.is_over() && !matches!(told, Told::Lost(_)) {
                continue;
            }
            let attempt = *attempt;
            match told {
                Told::Opened => self.links.opened(now, attempt),
                Told::Heard => self.links.heard(now, attempt),
                Told::Message(message) => self.links.input(now, attempt, Ok(message)),
                Told::Uplinked => self.links.uplinked(attempt),
                Told::HoldLearned(ms) => self.links.hold_learned(now, ms),
                Told::Full => self.links.rotate(now, attempt),
                Told::Lost(status) => self.links.lost(now, attempt, loss(status), None),
            }
            self.obey(net);
            self.check_all(channels)?;
        }
        self.told = told;
        Ok(())
    }

    fn obey(&mut self, net: &mut Net) {
        while let Some(order) = self.links.poll_order(net.now()) {
            net.note(|| format!("{order:?}"));
            match order {
                LinkOrder::Open { attempt, transport, first, probe, hold_ms } => {
                    let (class, name, full) = (class_of(transport), self.random.next(), self.full);
                    let beginning = Beginning { class, name, first, probe, hold: hold_ms, full };
                    self.begin(net, attempt, beginning);
                }
                LinkOrder::Send { attempt, message } => {
                    if let Some(carrier) = self.carrier(attempt) {
                        carrier.send(net, message);
                    }
                }
                LinkOrder::Close { attempt, .. } => {
                    if let Some(carrier) = self.carrier(attempt) {
                        carrier.close(net);
                    }
                }
            }
        }
    }

    fn carrier(&mut self, attempt: Attempt) -> Option<&mut Carrier> {
        self.carriers.iter_mut().rev().find(|(a, _)| *a == attempt).map(|(_, carrier)| carrier)
    }

    fn begin(&mut self, net: &mut Net, attempt: Attempt, beginning: Beginning) {
        let id = self.carriers.len() as u32;
        self.attempts.push((net.now(), beginning.class));
        let mut carrier = Carrier::begin(net, id, beginning);
        carrier.sabotage(self.sabotage);
        self.carriers.push((attempt, carrier));
    }

    /// Everything that follows from what happened.
    pub fn settle(&mut self, net: &mut Net, channels: &[Channel]) -> Result<(), Violation> {
        self.obey(net);
        if let Some(live) = self.live() {
            let carrier = &mut self.carriers[live as usize].1;
            while carrier.has_room()
                && let Some(message) = self.links.poll_transmit(net.now())
            {
                carrier.send(net, message);
            }
        }
        self.check_all(channels)?;
        if let Some(at) = self.links.poll_timeout()
            && at < self.due
        {
            self.due = at;
            net.queue.at(at, Due::Session);
        }
        Ok(())
    }

    fn check_all(&mut self, channels: &[Channel]) -> Result<(), Violation> {
        while let Some(event) = self.links.poll_event() {
            self.check(event, channels)?;
        }
        while let Some(event) = self.links.poll_path() {
            match event {
                PathEvent::Changed(transport) => {
                    self.switches += u64::from(self.last.is_some_and(|last| last != transport));
                    self.last = Some(transport);
                }
                PathEvent::Failed(_) => self.failures += 1,
            }
        }
        Ok(())
    }

    fn check(&mut self, event: ClientEvent, channels: &[Channel]) -> Result<(), Violation> {
        match event {
            ClientEvent::Published { id, eid, .. } => {
                let Some(publish) = self.published.get_mut(id as usize - 1) else {
                    return Err(format!("{id} was not published"));
                };
                if publish.answer.replace(eid).is_some() {
                    return Err(format!("publish {id} was answered twice"));
                }
                answered(&channels[publish.channel], id, eid)
            }
            ClientEvent::Subscribed { subscription, cursor, .. } => {
                let reader = self.reader(subscription)?;
                reader.subscribed(&channels[reader.channel], cursor)
            }
            ClientEvent::Event { subscription, event, .. } => {
                let reader = self.reader(subscription)?;
                reader.event(&channels[reader.channel], &event)
            }
            ClientEvent::Gap { subscription, gap, .. } => {
                let reader = self.reader(subscription)?;
                reader.gap(&channels[reader.channel], &gap)
            }
            // An event that never was is no position.
            ClientEvent::SubscribeFailed { subscription, error, .. }
                if error.is(ErrorCode::BadPosition) && self.reader(subscription)?.never_stood_at_an_event() =>
            {
                self.readers.remove(&subscription);
                Ok(())
            }
            ClientEvent::LinkLost(LinkLoss::Broken(text)) if text.contains("broke the protocol") => Err(text),
            ClientEvent::PublishFailed { .. }
            | ClientEvent::SubscribeFailed { .. }
            | ClientEvent::Ended { .. }
            | ClientEvent::Closed { .. } => Err(format!("{event:?}")),
            ClientEvent::Welcome { .. } | ClientEvent::LinkLost(_) | ClientEvent::StateChanged(_) => Ok(()),
        }
    }

    fn reader(&mut self, id: SubscriptionId) -> Result<&mut Reader, Violation> {
        self.readers.get_mut(&id).ok_or_else(|| format!("{id:?} was ended and still gives"))
    }

    /// The transport of the link that carries the session.
    pub fn transport(&self) -> Option<Transport> {
        let (_, transport) = self.links.live()?;
        (self.links.session().state() == ClientState::Open).then_some(transport)
    }

    /// Subscribes to a channel unless there is a subscription.
    pub fn subscriptions(&self) -> usize {
        self.readers.len()
    }

    /// Publishes without an answer.
    pub fn unanswered(&self) -> usize {
        self.links.session().unanswered()
    }

    /// True when everything that was asked for has come.
    pub fn at_rest(&self, channels: &[Channel]) -> Result<(), Violation> {
        if self.links.session().state() != ClientState::Open {
            return Err(format!("the session is {:?}", self.links.session().state()));
        }
        if let Some(place) = self.published.iter().position(|p| p.answer.is_none()) {
            return Err(format!("publish {} has no answer", place + 1));
        }
        self.readers.values().try_for_each(|reader| reader.finished(&channels[reader.channel]))
    }

    /// Carriers that are not over.
    pub fn carriers(&self) -> usize {
        self.carriers.iter().filter(|(_, c)| !c.is_over()).count()
    }
}

fn loss(status: Option<Status>) -> LinkLoss {
    LinkLoss::Broken(status.map_or_else(|| "broken".to_owned(), |status| format!("{status:?}")))
}
