//! A client of a run: a session, its connection, and a program that publishes and subscribes.

use std::collections::BTreeMap;

use throughline_engine::ChannelKind;
use throughline_session::{
    ClientEvent, ClientSession, ClientSettings, ClientState, LinkCommand, LinkLoss, SubscriptionId,
};
use throughline_wire::event::{Body, Data, Eid};
use throughline_wire::message::{Carriage, ErrorCode, From, ServerMessage};
use throughline_wire::ws::deflate::Agreed;

use crate::checker::{DURABLE, Reader, Truth, Violation};
use crate::framing::{Frame, Framing};
use crate::pipe::{Pipe, Shared};
use crate::random::Random;
use crate::realm::{CHANNELS, Kind, Realm};

/// Bytes that a client has waiting for its pipe before it asks its session for more.
const OUT_BYTES_MAX: usize = 500;
/// What a good path holds, and one whose reader is slow.
pub const WIDE_BYTES: usize = 4_000;
const NARROW_BYTES: usize = 40;

#[derive(Debug)]
enum Link {
    None,
    /// The connection will be there, or fail, at this time.
    Opening(u64),
    Open {
        shared: Shared,
        framing: Box<Framing>,
        out: Vec<u8>,
        /// The network did something to it that may silence it, or is very slow.
        hurt: bool,
    },
}

#[derive(Debug)]
struct Publish {
    kind: Kind,
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
        let kind = CHANNELS[self.random.index(CHANNELS.len())];
        match self.random.below(10) {
            0..6 => {
                let long = if self.random.one_in(8) { self.random.index(1000) } else { 0 };
                self.publish(kind, long)?;
            }
            6..8 => {
                let from = match self.random.below(3) {
                    0 => From::New,
                    1 => From::All,
                    _ => From::Eid(Eid(1 + self.random.below(20))),
                };
                if let Ok(id) = self.session.subscribe(kind.name, from) {
                    self.readers.insert(id, Reader::new(kind, from));
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
            _ if self.session.state() == ClientState::Open => {
                self.reads_from = now + self.random.below(15_000);
                self.session.pause();
            }
            _ => {}
        }
        Ok(())
    }

    /// Publishes an event to a channel, longer than need be by so many bytes.
    pub fn publish(&mut self, kind: Kind, long: usize) -> Result<(), Violation> {
        let persistent = match kind.kind {
            ChannelKind::Mixed => Some(self.random.one_in(2)),
            _ => None,
        };
        let durable = kind.kind == ChannelKind::Persistent || persistent == Some(true);
        let mark = if durable { DURABLE } else { 'm' };
        let text = format!("{mark}{}-{}{}", self.name, self.published.len(), "x".repeat(long));
        let body = Body::new(Data::text(text.clone()));
        let id = self.session.publish(kind.name, body, persistent).map_err(|e| format!("publish: {e}"))?;
        self.published.insert(id, Publish { kind, text, answer: None });
        Ok(())
    }

    /// A fault of the network on this client's connection.
    pub fn suffer(&mut self, now: u64) {
        let Link::Open { shared, hurt, .. } = &mut self.link else { return };
        *hurt = true;
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
        self.obey(now)?;
        self.open(now, realm, faults);
        self.receive(now, truth)?;
        self.obey(now)?;
        self.send(now);
        self.check_all(truth)
    }

    fn obey(&mut self, now: u64) -> Result<(), Violation> {
        while let Some(command) = self.session.poll_link() {
            match command {
                LinkCommand::Doubt | LinkCommand::Trust => {}
                LinkCommand::Open => self.link = Link::Opening(now + self.random.below(200)),
                LinkCommand::Close { code, reason } => {
                    if let Link::Open { shared, out, framing, hurt } = &mut self.link {
                        if !*hurt {
                            return Err(format!("client {}: gave up a sound link: {code} {reason}", self.name));
                        }
                        framing.write_close(code, &reason, out);
                        let mut connection = shared.0.borrow_mut();
                        connection.up.write(now, out);
                        connection.up.finish();
                        connection.down.finish();
                    }
                    self.link = Link::None;
                }
            }
        }
        Ok(())
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
        let hurt = faults && self.random.one_in(10);
        if hurt {
            if self.random.one_in(2) { up.swallow() } else { down.swallow() }
        }
        let shared = Shared::new(now, up, down);
        let agreed = Agreed { server_max_window_bits: 15, client_max_window_bits: 15, client_context_takeover: false };
        let deflate = self.random.one_in(3).then_some(agreed);
        realm.accept(now, shared.clone(), deflate);
        let framing = Box::new(Framing::new(deflate, self.random.fork()));
        self.link = Link::Open { shared, framing, out: Vec::new(), hurt: hurt || width == NARROW_BYTES };
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
        let Link::Open { shared, framing, .. } = &mut self.link else { return Ok(()) };
        let shared = shared.clone();
        let mut bytes = shared.0.borrow_mut().down.read(now, &mut self.random);
        if !bytes.is_empty() {
            self.session.heard(now);
        }
        for frame in framing.read(&mut bytes)? {
            match frame {
                Frame::Text(bytes) => self.input(now, Carriage::Text(&bytes), truth)?,
                Frame::Binary(bytes) => self.input(now, Carriage::Binary(&bytes), truth)?,
                Frame::Close(code, reason) => self.lost(now, LinkLoss::Closed { code, reason }),
                Frame::Control => {}
            }
            if !matches!(self.link, Link::Open { .. }) {
                return Ok(());
            }
        }
        if shared.0.borrow().down.at_end() {
            self.lost(now, LinkLoss::Broken("end of the connection".into()));
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
        self.obey(now)?;
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
        let Link::Open { shared, out, framing, .. } = &mut self.link else { return };
        while out.len() < OUT_BYTES_MAX
            && let Some(message) = self.session.poll_transmit()
        {
            let mut payload = Vec::new();
            let kind = message.encode(&mut payload);
            framing.write(kind, &payload, out);
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
                if publish.kind.unlimited() && truth.copies(publish.kind.name, &publish.text) == 0 {
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

    /// Events on disk are stored once over the whole run.
    pub fn stored_once(&self, truth: &Truth) -> Result<(), Violation> {
        for (id, publish) in self.published.iter().filter(|(_, p)| p.text.starts_with(DURABLE)) {
            let copies = truth.copies(publish.kind.name, &publish.text);
            if copies > 1 || (publish.kind.unlimited() && copies == 0) {
                return Err(format!("client {}: publish {id} is stored {copies} times", self.name));
            }
        }
        Ok(())
    }
}
