//! Both ends against each other under random schedules, with the smallest server that keeps the protocol.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use throughline_session::{
    ClientEvent, ClientSession, ClientSettings, ClientState, Input, LinkCommand, LinkLoss, ServerSession,
    ServerSettings, SubscriptionId, Tick,
};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{ClientMessage, From, Gap, GapReason, Reply, ServerMessage};

const CHANNEL: &str = "c";

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Subscribe(From),
    Unsubscribe,
    /// Moves up to so many messages to the server.
    Up(usize),
    /// Moves up to so many messages to the client.
    Down(usize),
    Cut,
    Time(u64),
    /// The channel forgets its oldest events.
    Trim(u64),
    /// The server starts anew, with another history.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let from = prop_oneof![Just(From::New), Just(From::All), (1..20u64).prop_map(|e| From::Eid(Eid(e)))];
    prop_oneof![
        6 => Just(Step::Publish),
        2 => from.prop_map(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        8 => (1..4usize).prop_map(Step::Up),
        8 => (1..4usize).prop_map(Step::Down),
        2 => Just(Step::Cut),
        4 => (0..12_000u64).prop_map(Step::Time),
        1 => (1..4u64).prop_map(Step::Trim),
        1 => Just(Step::Restart),
    ]
}

/// One channel and what it remembers; events carry the number that `publish` gave.
struct Channel {
    epoch: Epoch,
    events: VecDeque<Event>,
    last: u64,
    stored: BTreeMap<(SessionId, u64), Eid>,
}

struct Link {
    server: ServerSession,
    up: VecDeque<ClientMessage>,
    down: VecDeque<ServerMessage>,
    cursor: Option<Eid>,
}

/// What the client was given of one history.
#[derive(Default)]
struct Given {
    cursor: Option<(Epoch, u64)>,
}

struct World {
    settings: ServerSettings,
    now: u64,
    client: ClientSession,
    link: Option<Link>,
    channel: Channel,
    subscription: Option<SubscriptionId>,
    given: Given,
    /// By history: every event there ever was.
    histories: BTreeMap<u64, Vec<u64>>,
    published: Vec<u64>,
    answered: BTreeMap<u64, (Epoch, Eid)>,
    stored: BTreeMap<String, usize>,
    last_fresh_id: u64,
    /// The server's source of session ids.
    fresh: u128,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            settings: ServerSettings::default(),
            now: 0,
            client: ClientSession::new(ClientSettings::default(), seed, 0),
            link: None,
            channel: Channel { epoch: Epoch(1), events: VecDeque::new(), last: 0, stored: BTreeMap::new() },
            subscription: None,
            given: Given::default(),
            histories: BTreeMap::new(),
            published: Vec::new(),
            answered: BTreeMap::new(),
            stored: BTreeMap::new(),
            last_fresh_id: 0,
            fresh: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish => {
                let text = (self.published.len() + 1).to_string();
                let id = self.client.publish(CHANNEL, Body::new(Data::text(text)), None).expect("the queue is large");
                self.published.push(id);
            }
            Step::Subscribe(from) => {
                if let Ok(id) = self.client.subscribe(CHANNEL, from) {
                    self.subscription = Some(id);
                    self.given = Given::default();
                }
            }
            Step::Unsubscribe => {
                if let Some(id) = self.subscription.take() {
                    assert!(self.client.unsubscribe(id));
                }
            }
            Step::Up(n) => (0..n).for_each(|_| self.up()),
            Step::Down(n) => (0..n).for_each(|_| self.down()),
            Step::Cut => self.cut(),
            Step::Time(ms) => self.time(ms),
            Step::Trim(n) => (0..n).for_each(|_| drop(self.channel.events.pop_front())),
            Step::Restart => {
                self.cut();
                self.channel.epoch.0 += 1;
                self.channel.events.clear();
                self.channel.last = 0;
            }
        }
        self.settle();
    }

    fn cut(&mut self) {
        if self.link.take().is_some() {
            self.client.link_lost(self.now, LinkLoss::Broken("cut".into()));
        }
    }

    fn time(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.client.tick(self.now);
            self.settle();
        }
        self.now = until;
        let Some(link) = &mut self.link else { return };
        match link.server.tick(self.now, &self.settings) {
            Tick::Nothing => {}
            Tick::Ping => link.down.push_back(ServerMessage::Ping),
            Tick::Close(_) => self.cut(),
        }
    }

    /// Does what the client asks for.
    fn settle(&mut self) {
        while let Some(command) = self.client.poll_link() {
            self.link = None;
            if command == LinkCommand::Open {
                let server = ServerSession::new(self.now);
                self.link = Some(Link { server, up: VecDeque::new(), down: VecDeque::new(), cursor: None });
                self.client.link_opened(self.now);
            }
        }
        while let Some(message) = self.client.poll_transmit() {
            self.check_id(&message);
            let link = self.link.as_mut().expect("nothing is sent without a link");
            link.up.push_back(message);
        }
        while let Some(event) = self.client.poll_event() {
            self.check(event);
        }
    }

    fn check_id(&mut self, message: &ClientMessage) {
        let (id, repeats) = match message {
            ClientMessage::Publish { id, .. } => (*id, true),
            ClientMessage::Subscribe { id, .. } | ClientMessage::Unsubscribe { id, .. } => (*id, false),
            _ => return,
        };
        assert!(id > self.last_fresh_id || repeats, "id {id} after {}", self.last_fresh_id);
        self.last_fresh_id = self.last_fresh_id.max(id);
    }

    fn up(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some(message) = link.up.pop_front() else { return };
        link.server.heard(self.now);
        self.fresh += 1;
        match link.server.input(&self.settings, Ok(message), || self.fresh) {
            Input::Nothing => {}
            Input::Send(message) => link.down.push_back(message),
            Input::Unsubscribe { id, .. } => {
                link.cursor = None;
                link.down.push_back(ServerMessage::Reply { id, result: Ok(Reply::Unsubscribed) });
            }
            Input::Subscribe { id, from, .. } => self.channel.subscribe(link, id, from),
            Input::Publish { session, id, body, .. } => {
                let text = body.data.as_text().expect("all are text").to_owned();
                let (eid, duplicate) = self.channel.publish(session, id, body);
                if !duplicate {
                    *self.stored.entry(text).or_default() += 1;
                    self.histories.entry(self.channel.epoch.0).or_default().push(eid.0);
                }
                link.down.push_back(ServerMessage::Reply { id, result: Ok(Reply::Published { eid, duplicate }) });
            }
            Input::Report { .. } => panic!("nothing failed that could be reported"),
            Input::Close(reason) => panic!("the server closed: {reason:?}"),
        }
    }

    fn down(&mut self) {
        let Some(link) = &mut self.link else { return };
        if link.down.is_empty() {
            self.channel.pull(link);
        }
        if let Some(message) = link.down.pop_front() {
            self.client.input(self.now, Ok(message));
        }
        self.settle();
    }

    fn check(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Published { id, eid, .. } => {
                assert!(self.answered.insert(id, (self.channel.epoch, eid)).is_none(), "{id} was answered twice");
            }
            ClientEvent::Subscribed { subscription, cursor, .. } if self.given.cursor.is_none() => {
                assert_eq!(Some(subscription), self.subscription);
                self.given.cursor = self.client.cursor(subscription).map(|c| (c.epoch, c.eid.0));
                assert!(self.given.cursor.is_some_and(|(e, _)| e == cursor.epoch));
            }
            ClientEvent::Event { event, .. } => {
                let (epoch, cursor) = self.given.cursor.expect("subscribed came first");
                assert!(event.eid.0 > cursor, "{} after {cursor}", event.eid);
                let missed = self.histories[&epoch.0].iter().any(|e| *e > cursor && *e < event.eid.0);
                assert!(!missed, "an event between {cursor} and {} of {epoch} was missed in silence", event.eid);
                self.given.cursor = Some((epoch, event.eid.0));
            }
            ClientEvent::Gap { gap, .. } => {
                let (epoch, cursor) = self.given.cursor.expect("subscribed came first");
                assert_eq!(gap.from.0, cursor + 1);
                if gap.reason == GapReason::Epoch {
                    assert_ne!(epoch, gap.epoch);
                    let start = self.client.cursor(self.subscription.expect("there is one")).expect("it stands");
                    self.given.cursor = Some((gap.epoch, start.eid.0));
                } else {
                    assert_eq!(epoch, gap.epoch);
                    self.given.cursor = Some((epoch, gap.to.0));
                }
            }
            ClientEvent::PublishFailed { .. } | ClientEvent::SubscribeFailed { .. } | ClientEvent::Ended { .. } => {
                panic!("{event:?}")
            }
            ClientEvent::LinkLost(LinkLoss::Broken(text)) => assert!(!text.contains("broke the protocol"), "{text}"),
            _ => {}
        }
    }

    /// Faults have stopped: everything has to come to rest.
    fn converge(&mut self) {
        for _ in 0..400 {
            self.time(300);
            for _ in 0..40 {
                self.up();
                self.settle();
                self.down();
            }
        }
        assert_eq!(self.client.state(), ClientState::Open);
        assert_eq!(self.client.unanswered(), 0);
        assert_eq!(self.answered.len(), self.published.len());
        assert!(self.stored.values().all(|n| *n == 1), "{:?}", self.stored);
        assert_eq!(self.stored.len(), self.published.len());
        if self.subscription.is_some() {
            let (epoch, cursor) = self.given.cursor.expect("it stands");
            assert_eq!(epoch, self.channel.epoch);
            assert!(cursor >= self.channel.last, "{cursor} of {}", self.channel.last);
        }
    }
}

impl Channel {
    /// The last event that is no longer kept.
    fn floor(&self) -> u64 {
        self.events.front().map_or(self.last, |e| e.eid.0 - 1)
    }

    fn publish(&mut self, session: SessionId, id: u64, body: Body) -> (Eid, bool) {
        if let Some(eid) = self.stored.get(&(session, id)) {
            return (*eid, true);
        }
        self.last += 1;
        let eid = Eid(self.last);
        self.events.push_back(Event { eid, time: 0, body });
        self.stored.insert((session, id), eid);
        (eid, false)
    }

    fn subscribe(&self, link: &mut Link, id: u64, from: From) {
        assert!(link.cursor.is_none(), "subscribed twice on one link");
        let epoch = self.epoch;
        let (asked, cursor) = match from {
            From::New => (self.last, self.last),
            From::All => (self.floor(), self.floor()),
            From::Eid(eid) => (eid.0 - 1, (eid.0 - 1).max(self.floor()).min(self.last)),
            From::After { after, epoch } if epoch == self.epoch => (after.0, after.0.max(self.floor())),
            From::After { .. } => (0, self.floor()),
        };
        link.cursor = Some(Eid(cursor));
        let result = Ok(Reply::Subscribed { number: 1, epoch, eid: Eid(cursor) });
        link.down.push_back(ServerMessage::Reply { id, result });
        let gap = match from {
            From::After { after, epoch: old } if old != epoch => {
                Gap { from: after.next(), to: Eid::NONE, epoch, reason: GapReason::Epoch }
            }
            _ if cursor > asked => Gap { from: Eid(asked + 1), to: Eid(cursor), epoch, reason: GapReason::Capacity },
            _ => return,
        };
        link.down.push_back(ServerMessage::Gap { channel: 1, gap });
    }

    /// Gives the next thing after the link's cursor.
    fn pull(&self, link: &mut Link) {
        let Some(cursor) = link.cursor else { return };
        let floor = Eid(self.floor());
        if cursor < floor {
            link.cursor = Some(floor);
            let gap = Gap { from: cursor.next(), to: floor, epoch: self.epoch, reason: GapReason::Capacity };
            link.down.push_back(ServerMessage::Gap { channel: 1, gap });
        } else if let Some(event) = self.events.iter().find(|e| e.eid > cursor) {
            link.cursor = Some(event.eid);
            link.down.push_back(ServerMessage::Event { channel: 1, event: event.clone() });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_missed_in_silence(seed: u64, steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new(seed);
        world.settle();
        for step in steps {
            world.step(step);
        }
        world.converge();
    }
}
