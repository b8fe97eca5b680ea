//! The client: a session, the carriers it uses, and what its application is told.

use std::collections::BTreeMap;

use throughline_session::{
    ClientEvent, ClientSession, ClientSettings, ClientState, LinkCommand, LinkLoss, SubscriptionId,
};
use throughline_wire::event::{Body, Data};
use throughline_wire::message::{ErrorCode, From};

use super::Sabotage;
use super::carrier::{Carrier, Told};
use super::checker::{Published, Reader, answered};
use super::net::{Down, Net};
use super::queue::Due;
use super::realm::Channel;
use super::rule::Class;
use crate::checker::Violation;
use crate::random::Random;

/// See the module's text.
#[derive(Debug)]
pub struct Client {
    session: ClientSession,
    random: Random,
    carriers: Vec<Carrier>,
    /// The carrier of the link that the session has.
    live: Option<u32>,
    readers: BTreeMap<SubscriptionId, Reader>,
    /// By the number that the session gave, less one.
    pub published: Vec<Published>,
    /// When the session wants to be told the time.
    due: u64,
    /// When a link was begun.
    pub attempts: Vec<(u64, Class)>,
    /// Times that the session went over to another transport.
    pub switches: u64,
    last: Option<Class>,
    told: Vec<Told>,
    /// What is done wrong on purpose.
    pub sabotage: Sabotage,
}

impl Client {
    /// A client that begins now.
    pub fn new(mut random: Random, now: u64) -> Client {
        let session = ClientSession::new(ClientSettings::default(), random.next(), now);
        Client {
            session,
            random,
            carriers: Vec::new(),
            live: None,
            readers: BTreeMap::new(),
            published: Vec::new(),
            due: u64::MAX,
            attempts: Vec::new(),
            switches: 0,
            last: None,
            told: Vec::new(),
            sabotage: Sabotage::None,
        }
    }

    /// Publishes an event, longer than need be by so many bytes.
    pub fn publish(&mut self, channel: usize, name: &str, long: usize) -> Result<(), Violation> {
        let mark = self.published.len() as u64 + 1;
        let mut text = format!("{mark} ");
        text.extend(std::iter::repeat_n('x', long));
        let id = self.session.publish(name, Body::new(Data::text(text)), None).map_err(|e| format!("publish: {e}"))?;
        if id != mark {
            return Err(format!("publish {mark} is number {id}"));
        }
        self.published.push(Published { channel, answer: None });
        Ok(())
    }

    /// Begins a subscription, unless there is one.
    pub fn subscribe(&mut self, channel: usize, name: &str, from: From) {
        if let Ok(id) = self.session.subscribe(name, from) {
            self.readers.insert(id, Reader::new(channel, from));
        }
    }

    /// Ends one of the subscriptions.
    pub fn unsubscribe(&mut self) -> Result<(), Violation> {
        let place = self.random.index(self.readers.len());
        let Some(id) = self.readers.keys().nth(place).copied() else { return Ok(()) };
        self.readers.remove(&id);
        if self.session.unsubscribe(id) { Ok(()) } else { Err("a subscription was unknown to its session".into()) }
    }

    /// The session's deadline, maybe an old one.
    pub fn tick(&mut self, net: &mut Net) {
        self.due = u64::MAX;
        self.session.tick(net.now());
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
        if let Some(carrier) = self.carriers.get_mut(carrier as usize) {
            carrier.arrived(net, connection, item, &mut told);
        }
        self.hear(net, carrier, told, channels)
    }

    /// A carrier's deadline.
    pub fn tick_carrier(&mut self, net: &mut Net, carrier: u32, channels: &[Channel]) -> Result<(), Violation> {
        let mut told = core::mem::take(&mut self.told);
        if let Some(carrier) = self.carriers.get_mut(carrier as usize) {
            carrier.tick(net, &mut told);
        }
        self.hear(net, carrier, told, channels)
    }

    /// What was sent on a connection has arrived.
    pub fn writable(&mut self, net: &mut Net, carrier: u32) {
        if let Some(carrier) = self.carriers.get_mut(carrier as usize) {
            carrier.writable(net);
        }
    }

    /// Events are looked at after each message, while the session's cursors are those of the event.
    fn hear(
        &mut self,
        net: &mut Net,
        carrier: u32,
        mut told: Vec<Told>,
        channels: &[Channel],
    ) -> Result<(), Violation> {
        let now = net.now();
        for told in told.drain(..) {
            if self.live != Some(carrier) {
                continue;
            }
            match told {
                Told::Opened => self.session.link_opened(now),
                Told::Heard => self.session.heard(now),
                Told::Message(message) => self.session.input(now, Ok(message)),
                Told::Lost(status) => {
                    self.live = None;
                    let text = status.map_or_else(|| "broken".to_owned(), |s| format!("{s:?}"));
                    self.session.link_lost(now, LinkLoss::Broken(text));
                }
            }
            self.obey(net);
            self.check_all(channels)?;
        }
        self.told = told;
        Ok(())
    }

    fn obey(&mut self, net: &mut Net) {
        while let Some(command) = self.session.poll_link() {
            match command {
                LinkCommand::Doubt | LinkCommand::Trust => {}
                LinkCommand::Open => self.begin(net),
                LinkCommand::Close { .. } => {
                    if let Some(live) = self.live.take() {
                        self.carriers[live as usize].close(net);
                    }
                }
            }
        }
    }

    fn begin(&mut self, net: &mut Net) {
        let class = Class::ALL[self.random.index(6)];
        let id = self.carriers.len() as u32;
        let now = net.now();
        self.attempts.push((now, class));
        let mut first = Vec::new();
        if class != Class::WebSocket {
            self.session.link_opened(now);
            first.extend(self.session.poll_transmit());
        }
        let mut carrier = Carrier::begin(net, id, class, self.random.next(), first, 12_000);
        carrier.sabotage(self.sabotage);
        self.carriers.push(carrier);
        self.live = Some(id);
    }

    /// Everything that follows from what happened.
    pub fn settle(&mut self, net: &mut Net, channels: &[Channel]) -> Result<(), Violation> {
        self.obey(net);
        while let Some(live) = self.live
            && self.carriers[live as usize].has_room()
            && let Some(message) = self.session.poll_transmit()
        {
            self.carriers[live as usize].send(net, message);
        }
        self.check_all(channels)?;
        if let Some(at) = self.session.poll_timeout()
            && at < self.due
        {
            self.due = at;
            net.queue.at(at, Due::Session);
        }
        Ok(())
    }

    fn check_all(&mut self, channels: &[Channel]) -> Result<(), Violation> {
        while let Some(event) = self.session.poll_event() {
            self.check(event, channels)?;
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
            ClientEvent::Subscribed { subscription, .. } => {
                let own = self.session.cursor(subscription);
                let reader = self.reader(subscription)?;
                reader.subscribed(&channels[reader.channel], own)
            }
            ClientEvent::Event { subscription, event, .. } => {
                let reader = self.reader(subscription)?;
                reader.event(&channels[reader.channel], &event)
            }
            ClientEvent::Gap { subscription, gap, .. } => {
                let own = self.session.cursor(subscription);
                let reader = self.reader(subscription)?;
                reader.gap(&channels[reader.channel], &gap, own)
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
            ClientEvent::Welcome { .. } => {
                let class = self.live.map(|live| self.carriers[live as usize].class);
                if self.last.is_some() && self.last != class {
                    self.switches += 1;
                }
                self.last = class;
                Ok(())
            }
            ClientEvent::LinkLost(_) | ClientEvent::StateChanged(_) => Ok(()),
        }
    }

    fn reader(&mut self, id: SubscriptionId) -> Result<&mut Reader, Violation> {
        self.readers.get_mut(&id).ok_or_else(|| format!("{id:?} was ended and still gives"))
    }

    /// The transport of the link that carries the session.
    pub fn class(&self) -> Option<Class> {
        let live = self.live?;
        (self.session.state() == ClientState::Open).then(|| self.carriers[live as usize].class)
    }

    /// Subscribes to a channel unless there is a subscription.
    pub fn subscriptions(&self) -> usize {
        self.readers.len()
    }

    /// Publishes without an answer.
    pub fn unanswered(&self) -> usize {
        self.session.unanswered()
    }

    /// True when everything that was asked for has come.
    pub fn at_rest(&self, channels: &[Channel]) -> Result<(), Violation> {
        if self.session.state() != ClientState::Open {
            return Err(format!("the session is {:?}", self.session.state()));
        }
        if let Some(place) = self.published.iter().position(|p| p.answer.is_none()) {
            return Err(format!("publish {} has no answer", place + 1));
        }
        self.readers.values().try_for_each(|reader| reader.finished(&channels[reader.channel]))
    }

    /// Carriers that are not over.
    pub fn carriers(&self) -> usize {
        self.carriers.iter().filter(|c| !c.is_over()).count()
    }
}
