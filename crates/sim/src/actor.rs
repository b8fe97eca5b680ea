//! A client of a run: a session, its connection, and a program that publishes and subscribes.

use std::collections::BTreeMap;

use throughline_session::{
    ClientEvent, ClientSession, ClientSettings, ClientState, LinkCommand, LinkLoss, SubscriptionId,
};
use throughline_wire::event::{Body, Data, Eid};
use throughline_wire::message::{Carriage, From, ServerMessage};

use crate::checker::{Reader, Truth, Violation};
use crate::framing::{Assembler, Frame, write, write_close};
use crate::pipe::{Pipe, Shared};
use crate::random::Random;
use crate::realm::{CHANNELS, Realm};

/// Bytes that a client has waiting for its pipe before it asks its session for more.
const OUT_BYTES_MAX: usize = 500;
/// What a good path holds, and one whose reader is slow.
const WIDE_BYTES: usize = 4_000;
const NARROW_BYTES: usize = 40;

#[derive(Debug)]
enum Link {
    None,
    /// The connection will be there, or fail, at this time.
    Opening(u64),
    Open {
        shared: Shared,
        incoming: Assembler,
        out: Vec<u8>,
    },
}

#[derive(Debug)]
struct Publish {
    channel: &'static str,
    text: String,
    /// What the realm answered.
    answer: Option<Eid>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Actor {
    name: usize,
    session: ClientSession,
    random: Random,
    link: Link,
    readers: BTreeMap<SubscriptionId, Reader>,
    published: BTreeMap<u64, Publish>,
    /// Reads nothing until then.
    reads_from: u64,
}

impl Actor {
    /// A client that begins now.
    pub fn new(name: usize, mut random: Random, now: u64) -> Actor {
        let session = ClientSession::new(ClientSettings::default(), random.next(), now);
        let (readers, published) = (BTreeMap::new(), BTreeMap::new());
        Actor { name, session, random, link: Link::None, readers, published, reads_from: 0 }
    }

    /// One step of the program.
    pub fn act(&mut self, now: u64) -> Result<(), Violation> {
        let (channel, _, capacity) = CHANNELS[self.random.index(CHANNELS.len())];
        match self.random.below(10) {
            0..6 => {
                let text = format!("{}-{}", self.name, self.published.len());
                let long = "x".repeat(if self.random.one_in(8) { self.random.index(1000) } else { 0 });
                let text = text + &long;
                let body = Body::new(Data::text(text.clone()));
                let id = self.session.publish(channel, body, None).map_err(|e| format!("publish: {e}"))?;
                self.published.insert(id, Publish { channel, text, answer: None });
            }
            6..8 => {
                let from = match self.random.below(3) {
                    0 => From::New,
                    1 => From::All,
                    _ => From::Eid(Eid(1 + self.random.below(20))),
                };
                if let Ok(id) = self.session.subscribe(channel, from) {
                    self.readers.insert(id, Reader::new(channel.into(), from, capacity.is_none()));
                }
            }
            8 => {
                let known: Vec<SubscriptionId> = self.readers.keys().copied().collect();
                if let Some(id) = known.get(self.random.index(known.len())) {
                    self.readers.remove(id);
                    if !self.session.unsubscribe(*id) {
                        return Err("a subscription was unknown to its session".into());
                    }
                }
            }
            _ => {
                self.reads_from = now + self.random.below(15_000);
                self.session.pause();
            }
        }
        Ok(())
    }

    /// A fault of the network on this client's connection.
    pub fn suffer(&mut self, now: u64) {
        let Link::Open { shared, .. } = &self.link else { return };
        match self.random.below(4) {
            0 | 1 => shared.cut(&mut self.random),
            kind => {
                let until = now + self.random.below(40_000);
                let mut connection = shared.0.borrow_mut();
                let pipe = if kind == 2 { &mut connection.up } else { &mut connection.down };
                pipe.stall(until);
            }
        }
    }

    /// The network behaves from now on, and the client reads.
    pub fn calm(&mut self) {
        self.reads_from = 0;
        if let Link::Open { shared, .. } = &self.link {
            let mut connection = shared.0.borrow_mut();
            connection.up.release(WIDE_BYTES);
            connection.down.release(WIDE_BYTES);
        }
    }

    /// Everything that is due at `now`.
    pub fn turn(&mut self, now: u64, realm: &mut Realm, truth: &Truth, faults: bool) -> Result<(), Violation> {
        self.session.tick(now);
        self.obey(now);
        self.open(now, realm, faults);
        self.receive(now, truth)?;
        self.obey(now);
        self.send(now);
        self.check_all(truth)
    }

    fn obey(&mut self, now: u64) {
        while let Some(command) = self.session.poll_link() {
            match command {
                LinkCommand::Open => self.link = Link::Opening(now + self.random.below(200)),
                LinkCommand::Close { code, reason } => {
                    if let Link::Open { shared, out, .. } = &mut self.link {
                        write_close(code, &reason, out);
                        let mut connection = shared.0.borrow_mut();
                        connection.up.write(now, out);
                        connection.up.finish();
                        connection.down.finish();
                    }
                    self.link = Link::None;
                }
            }
        }
    }

    fn open(&mut self, now: u64, realm: &mut Realm, faults: bool) {
        if !matches!(self.link, Link::Opening(at) if at <= now) {
            return;
        }
        if faults && self.random.one_in(6) {
            self.link = Link::None;
            let loss = match self.random.below(2) {
                0 => LinkLoss::Broken("refused".into()),
                _ => LinkLoss::Refused { retry_after_ms: Some(1000), reason: "full".into() },
            };
            return self.session.link_lost(now, loss);
        }
        let width = if faults && self.random.one_in(3) { NARROW_BYTES } else { WIDE_BYTES };
        let mut up = Pipe::new(WIDE_BYTES, self.random.below(100));
        let mut down = Pipe::new(width, self.random.below(100));
        if faults && self.random.one_in(10) {
            if self.random.one_in(2) { up.swallow() } else { down.swallow() }
        }
        let shared = Shared::new(now, up, down);
        realm.accept(now, shared.clone());
        self.link = Link::Open { shared, incoming: Assembler::default(), out: Vec::new() };
        self.session.link_opened(now);
        self.reads_from = 0;
    }

    fn receive(&mut self, now: u64, truth: &Truth) -> Result<(), Violation> {
        if now < self.reads_from {
            return Ok(());
        }
        if self.reads_from != 0 {
            self.reads_from = 0;
            self.session.resume(now);
        }
        let Link::Open { shared, incoming, .. } = &mut self.link else { return Ok(()) };
        let bytes = shared.0.borrow_mut().down.read(now, &mut self.random);
        if !bytes.is_empty() {
            self.session.heard(now);
            incoming.push(&bytes);
        }
        while let Link::Open { shared, incoming, .. } = &mut self.link {
            let frame = incoming.take();
            if frame.is_none() && shared.0.borrow().down.at_end() {
                self.lost(now, LinkLoss::Broken("end of the connection".into()));
            }
            match frame {
                None => break,
                Some(Frame::Text(bytes)) => self.input(now, Carriage::Text(&bytes), truth)?,
                Some(Frame::Binary(bytes)) => self.input(now, Carriage::Binary(&bytes), truth)?,
                Some(Frame::Close(code, reason)) => self.lost(now, LinkLoss::Closed { code, reason }),
            }
        }
        Ok(())
    }

    /// Events are looked at after each message, while the session's cursors are those of the event.
    fn input(&mut self, now: u64, carriage: Carriage<'_>, truth: &Truth) -> Result<(), Violation> {
        let message = ServerMessage::decode(carriage);
        if let Err(error) = &message {
            return Err(format!("the server sent what is no message: {error}"));
        }
        self.session.input(now, message);
        self.obey(now);
        self.check_all(truth)
    }

    fn lost(&mut self, now: u64, loss: LinkLoss) {
        if let Link::Open { shared, .. } = &self.link {
            shared.0.borrow_mut().up.finish();
        }
        self.link = Link::None;
        self.session.link_lost(now, loss);
    }

    fn send(&mut self, now: u64) {
        let Link::Open { shared, out, .. } = &mut self.link else { return };
        while out.len() < OUT_BYTES_MAX
            && let Some(message) = self.session.poll_transmit()
        {
            let mut payload = Vec::new();
            let kind = message.encode(&mut payload);
            write(kind, &payload, out);
        }
        let n = shared.0.borrow_mut().up.write(now, out);
        out.drain(..n);
    }

    fn check_all(&mut self, truth: &Truth) -> Result<(), Violation> {
        let name = self.name;
        while let Some(event) = self.session.poll_event() {
            self.check_one(event, truth).map_err(|text| format!("client {name}: {text}"))?;
        }
        Ok(())
    }

    fn check_one(&mut self, event: ClientEvent, truth: &Truth) -> Result<(), Violation> {
        match event {
            ClientEvent::Published { id, eid, .. } => {
                let Some(publish) = self.published.get_mut(&id) else { return Err(format!("{id} was not published")) };
                if publish.answer.replace(eid).is_some() {
                    return Err(format!("publish {id} was answered twice"));
                }
                if truth.copies(publish.channel, &publish.text) == 0 {
                    return Err(format!("publish {id} was answered and is not stored"));
                }
                Ok(())
            }
            ClientEvent::Subscribed { subscription, .. } => {
                let own = self.session.cursor(subscription);
                self.reader(subscription)?.subscribed(own)
            }
            ClientEvent::Event { subscription, event, .. } => self.reader(subscription)?.event(truth, &event),
            ClientEvent::Gap { subscription, gap, .. } => {
                let own = self.session.cursor(subscription);
                self.reader(subscription)?.gap(&gap, own)
            }
            ClientEvent::LinkLost(LinkLoss::Broken(text)) if text.contains("broke the protocol") => Err(text),
            ClientEvent::PublishFailed { .. }
            | ClientEvent::SubscribeFailed { .. }
            | ClientEvent::Ended { .. }
            | ClientEvent::Closed { .. } => Err(format!("{event:?}")),
            ClientEvent::LinkLost(_) | ClientEvent::StateChanged(_) | ClientEvent::Welcome { .. } => Ok(()),
        }
    }

    fn reader(&mut self, id: SubscriptionId) -> Result<&mut Reader, Violation> {
        self.readers.get_mut(&id).ok_or_else(|| format!("{id:?} was ended and still gives"))
    }

    /// True when there is nothing left to wait for.
    pub fn at_rest(&self, realm: &Realm, truth: &Truth) -> Result<(), Violation> {
        let who = |text: String| format!("client {}: {text}", self.name);
        if self.session.state() != ClientState::Open {
            return Err(who(format!("is {:?}", self.session.state())));
        }
        if let Some((id, _)) = self.published.iter().find(|(_, p)| p.answer.is_none()) {
            return Err(who(format!("publish {id} has no answer")));
        }
        for reader in self.readers.values() {
            let Some(head) = realm.head(&reader.channel) else { return Err(who("no such channel".into())) };
            reader.finished(truth, head).map_err(who)?;
        }
        Ok(())
    }

    /// Publishes to channels on disk are stored once over the whole run.
    pub fn stored_once(&self, truth: &Truth) -> Result<(), Violation> {
        let durable = |name: &str| CHANNELS.iter().any(|(c, durable, _)| *c == name && *durable);
        for (id, publish) in self.published.iter().filter(|(_, p)| durable(p.channel)) {
            let copies = truth.copies(publish.channel, &publish.text);
            if copies != 1 {
                return Err(format!("client {}: publish {id} is stored {copies} times", self.name));
            }
        }
        Ok(())
    }
}
