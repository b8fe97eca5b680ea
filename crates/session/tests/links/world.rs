//! A client's links over paths that break, in virtual time, with the smallest realm that keeps the protocol.

use std::collections::{BTreeMap, VecDeque};

use throughline_session::{
    Attempt, ClientEvent, ClientSettings, Input, LadderSettings, LinkLoss, LinkOrder, Links, Memory, ServerSession,
    ServerSettings, SubscriptionId, Tick,
};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{ClientMessage, From, Reply, ServerMessage};
use throughline_wire::path::{Group, Transport};

/// What a path does to a link. Times are milliseconds after the link was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Refuse,
    BlackHole,
    /// Open, no message, and cut.
    CutMute(u64),
    /// Messages pass until it is cut.
    Cut(u64),
    /// Open, and no message passes.
    Swallow,
}

/// One way, milliseconds.
const LATENCY: u64 = 20;
const STEP: u64 = 10;
const EPOCH: Epoch = Epoch(1);

struct Carrier {
    transport: Transport,
    server: ServerSession,
    begun: u64,
    opened: bool,
    first: Vec<ClientMessage>,
    up: VecDeque<(u64, ClientMessage)>,
    down: VecDeque<(u64, ServerMessage)>,
    /// What the subscription on this link was given; none without one.
    cursor: Option<u64>,
    /// It swallowed something: nothing passes any more.
    mute: bool,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) links: Links,
    pub(crate) faults: [Fault; 6],
    carriers: BTreeMap<Attempt, Carrier>,
    settings: ServerSettings,
    fresh: u128,
    /// Texts of events that the client published, and by which session and number.
    stored: Vec<String>,
    numbers: BTreeMap<(SessionId, u64), u64>,
    /// Events that the realm gives to the client: 1, 2, 3 ...
    head: u64,
    given: u64,
    published: u64,
    answered: u64,
    subscription: Option<SubscriptionId>,
    pub(crate) first_event: Option<u64>,
    /// When links were opened.
    pub(crate) opened: Vec<(u64, Transport)>,
    /// 20 events a second in both directions, or none.
    pub(crate) busy: bool,
}

impl World {
    pub(crate) fn new(transports: &[Transport], seed: u64) -> World {
        let ladder = LadderSettings { transports: transports.to_vec(), ..LadderSettings::default() };
        let links = Links::new(ClientSettings::default(), &ladder, Memory::default(), seed, 0, 1_700_000_000_000);
        let mut world = World {
            now: 0,
            links,
            faults: [Fault::None; 6],
            carriers: BTreeMap::new(),
            settings: ServerSettings::default(),
            fresh: 0,
            stored: Vec::new(),
            numbers: BTreeMap::new(),
            head: 1,
            given: 0,
            published: 0,
            answered: 0,
            subscription: None,
            first_event: None,
            opened: Vec::new(),
            busy: true,
        };
        world.subscription = world.links.session_mut().subscribe("down", From::All).ok();
        world
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while self.now < until {
            self.now += STEP;
            if self.busy && self.now.is_multiple_of(50) {
                self.head += 1;
                self.published += 1;
                let body = Body::new(Data::text(self.published.to_string()));
                self.links.session_mut().publish("up", body, None).expect("the queue is large");
            }
            self.turn();
        }
    }

    /// Stops publishing and lets everything come to its end.
    pub(crate) fn finish(&mut self) {
        self.busy = false;
        self.run_until(self.now + 5_000);
        assert_eq!(self.answered, self.published, "every publish is answered");
        let texts: Vec<String> = (1..=self.published).map(|n| n.to_string()).collect();
        assert_eq!(self.stored, texts, "every publish is stored once, in order");
        assert_eq!(self.given, self.head, "every event was given");
    }

    /// Most links that were opened in any minute of the time from `since` on.
    pub(crate) fn attempts_a_minute(&self, since: u64) -> usize {
        let times: Vec<u64> = self.opened.iter().map(|(at, _)| *at).filter(|at| *at >= since).collect();
        times.iter().map(|at| times.iter().filter(|t| (*at..*at + 60_000).contains(t)).count()).max().unwrap_or(0)
    }

    fn fault(&self, transport: Transport) -> Fault {
        self.faults[usize::from(transport.rank())]
    }

    fn turn(&mut self) {
        self.ticks();
        let attempts: Vec<Attempt> = self.carriers.keys().copied().collect();
        for attempt in attempts {
            self.carry(attempt);
            self.settle();
        }
        self.ticks();
    }

    fn ticks(&mut self) {
        for _ in 0..20 {
            self.settle();
            if self.links.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            self.links.tick(self.now);
        }
        panic!("ticks that are due go on for ever");
    }

    fn settle(&mut self) {
        while let Some(order) = self.links.poll_order(self.now) {
            self.obey(order);
        }
        while let Some((attempt, _)) = self.links.live()
            && let Some(message) = self.links.poll_transmit(self.now)
        {
            let carrier = self.carriers.get_mut(&attempt).expect("the session's link exists");
            carrier.up.push_back((self.now + LATENCY, message));
        }
        while let Some(event) = self.links.poll_event() {
            self.check(&event);
        }
        while self.links.poll_path().is_some() {}
        assert!(self.carriers.len() <= 8, "links do not pile up");
    }

    fn obey(&mut self, order: LinkOrder) {
        match order {
            LinkOrder::Open { attempt, transport, mut first, probe, .. } => {
                assert!(
                    first.iter().all(|m| !matches!(m, ClientMessage::Publish { .. })),
                    "a publish in a first flight"
                );
                self.opened.push((self.now, transport));
                first.push(probe);
                let carrier = Carrier {
                    transport,
                    server: ServerSession::new(self.now),
                    begun: self.now,
                    opened: false,
                    first,
                    up: VecDeque::new(),
                    down: VecDeque::new(),
                    cursor: None,
                    mute: false,
                };
                assert!(self.carriers.insert(attempt, carrier).is_none(), "an attempt was used twice");
            }
            LinkOrder::Send { attempt, message } => {
                assert!(matches!(message, ClientMessage::Ping | ClientMessage::Pong), "{message:?}");
                let carrier = self.carriers.get_mut(&attempt).expect("an order for a link that exists");
                carrier.up.push_back((self.now + LATENCY, message));
            }
            LinkOrder::Close { attempt, .. } => {
                self.carriers.remove(&attempt).expect("what is closed exists");
            }
        }
    }

    fn lose(&mut self, attempt: Attempt) {
        self.carriers.remove(&attempt);
        self.links.lost(self.now, attempt, LinkLoss::Broken("cut".into()), None);
    }

    fn carry(&mut self, attempt: Attempt) {
        let Some(carrier) = self.carriers.get(&attempt) else { return };
        let fault = self.fault(carrier.transport);
        let age = self.now - carrier.begun;
        if !carrier.opened {
            if age < 2 * LATENCY || fault == Fault::BlackHole {
                return;
            }
            if fault == Fault::Refuse {
                return self.lose(attempt);
            }
            self.open(attempt, fault);
        }
        match fault {
            Fault::CutMute(ms) | Fault::Cut(ms) if age >= 2 * LATENCY + ms => return self.lose(attempt),
            Fault::Swallow | Fault::CutMute(_) | Fault::BlackHole => self.mute(attempt),
            _ => {}
        }
        self.up(attempt);
        self.down(attempt);
    }

    fn mute(&mut self, attempt: Attempt) {
        if let Some(carrier) = self.carriers.get_mut(&attempt) {
            carrier.mute = true;
        }
    }

    fn open(&mut self, attempt: Attempt, fault: Fault) {
        let Some(carrier) = self.carriers.get_mut(&attempt) else { return };
        carrier.opened = true;
        // Elsewhere the first flight came with the request that opened the link.
        let at = if carrier.transport.group() == Group::WebSocket { self.now + LATENCY } else { self.now };
        let first = std::mem::take(&mut carrier.first);
        carrier.up.extend(first.into_iter().map(|message| (at, message)));
        if fault != Fault::Swallow || carrier.transport.group() == Group::WebSocket {
            self.links.opened(self.now, attempt);
        }
    }

    fn up(&mut self, attempt: Attempt) {
        while let Some(carrier) = self.carriers.get_mut(&attempt)
            && carrier.up.front().is_some_and(|(at, _)| *at <= self.now)
        {
            let Some((_, message)) = carrier.up.pop_front() else { return };
            if !carrier.mute {
                self.serve(attempt, message);
            }
        }
    }

    fn serve(&mut self, attempt: Attempt, message: ClientMessage) {
        let Some(carrier) = self.carriers.get_mut(&attempt) else { return };
        carrier.server.heard(self.now);
        let fresh = &mut self.fresh;
        let input = carrier.server.input(&self.settings, Ok(message), || {
            *fresh += 1;
            *fresh
        });
        let answer = match input {
            Input::Nothing | Input::Report { .. } => return,
            Input::Send(message) => message,
            Input::Unsubscribe { id, .. } => {
                carrier.cursor = None;
                ServerMessage::Reply { id, result: Ok(Reply::Unsubscribed) }
            }
            Input::Subscribe { id, from, .. } => {
                let eid = match from {
                    From::After { after, .. } => after,
                    From::New => Eid(self.head),
                    From::All | From::Eid(_) => Eid::NONE,
                };
                carrier.cursor = Some(eid.0);
                ServerMessage::Reply { id, result: Ok(Reply::Subscribed { number: 3, epoch: EPOCH, eid }) }
            }
            Input::Publish { session, id, body, .. } => {
                let text = body.data.as_text().expect("all are text").to_owned();
                let next = self.stored.len() as u64 + 1;
                let eid = *self.numbers.entry((session, id)).or_insert(next);
                let duplicate = eid != next;
                if !duplicate {
                    self.stored.push(text);
                }
                ServerMessage::Reply { id, result: Ok(Reply::Published { eid: Eid(eid), duplicate }) }
            }
            Input::Close(reason) => panic!("the server closed: {reason:?}"),
        };
        carrier.down.push_back((self.now + LATENCY, answer));
    }

    fn down(&mut self, attempt: Attempt) {
        let Some(carrier) = self.carriers.get_mut(&attempt) else { return };
        let at = self.now + LATENCY;
        while let Some(cursor) = carrier.cursor.filter(|cursor| *cursor < self.head) {
            carrier.cursor = Some(cursor + 1);
            let event = Event { eid: Eid(cursor + 1), time: 1, body: Body::new(Data::text("x")) };
            carrier.down.push_back((at, ServerMessage::Event { channel: 3, event }));
        }
        match carrier.server.tick(self.now, &self.settings) {
            Tick::Nothing => {}
            Tick::Ping => carrier.down.push_back((at, ServerMessage::Ping)),
            Tick::Close(_) => return self.lose(attempt),
        }
        while let Some(carrier) = self.carriers.get_mut(&attempt)
            && carrier.down.front().is_some_and(|(at, _)| *at <= self.now)
        {
            let Some((_, message)) = carrier.down.pop_front() else { return };
            if !carrier.mute {
                self.links.heard(self.now, attempt);
                self.links.input(self.now, attempt, Ok(message));
                self.settle();
            }
        }
    }

    fn check(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::Event { event, .. } => {
                assert_eq!(event.eid.0, self.given + 1, "events come in order, without gaps, once");
                self.given += 1;
                self.first_event.get_or_insert(self.now);
            }
            ClientEvent::Published { id, .. } => {
                assert_eq!(*id, self.answered + 1, "publishes are answered in order, once");
                self.answered += 1;
            }
            ClientEvent::Subscribed { .. }
            | ClientEvent::Welcome { .. }
            | ClientEvent::StateChanged(_)
            | ClientEvent::LinkLost(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
