//! The server: links that carry sessions to the realm, on connections, streams and polls.

mod requests;

use std::collections::VecDeque;
use std::rc::Rc;

use throughline_session::{Input, ServerSession, ServerSettings, Tick};
use throughline_wire::close::CloseCode;
use throughline_wire::event::{Body, Eid, Epoch, Event};
use throughline_wire::message::{
    ClientMessage, CloseReason, ErrorCode, From, Gap, Limits, Reply, ReplyError, ServerMessage,
};

use super::net::{Answer, Down, Net, Up};
use super::queue::Due;
use super::realm::{Channel, Taken, Waiter};
use crate::checker::Violation;
use crate::random::Random;

/// Publishes of a session that may be without an answer.
pub const PUBLISHES_MAX: u64 = 8;
/// Bytes of events in one answer to a poll.
const ANSWER_BYTES_MAX: u32 = 8_000;
/// Messages besides events that wait at a link. A client that keeps to the protocol cannot make them more.
const CONTROL_MAX: usize = 200;

/// How long a commit takes at most, milliseconds.
const COMMIT_MS: u64 = 40;
/// The heartbeat of a link that is made of polls, milliseconds.
const POLL_HEARTBEAT_MS: u64 = 30_000;
/// How long a restart leaves the port without a listener, milliseconds.
const DOWN_MS: u64 = 500;

#[derive(Debug)]
struct Given {
    channel: usize,
    number: u32,
    epoch: Epoch,
    cursor: Eid,
    gap: Option<Gap>,
}

/// The way back to the client.
#[derive(Debug)]
enum Way {
    /// A WebSocket or a stream.
    Connection(u32),
    /// Polls.
    Polls(Polls),
}

#[derive(Debug, Default)]
struct Polls {
    /// The number of the last answer that held something.
    number: u64,
    /// It, until it is acknowledged.
    kept: Option<Rc<Answer>>,
    /// The poll that waits, and how long at most.
    held: Option<(u32, u64)>,
    /// Messages besides events.
    control: VecDeque<ServerMessage>,
}

#[derive(Debug)]
struct Link {
    session: ServerSession,
    settings: ServerSettings,
    /// Its name, on HTTP.
    name: Option<u64>,
    way: Way,
    given: Vec<Given>,
    /// Pieces taken.
    taken: u64,
    /// It ends, after this reason.
    over: bool,
}

/// The server's process, and the realm behind it.
#[derive(Debug)]
pub struct Host {
    /// The realm.
    pub channels: Vec<Channel>,
    links: Vec<Option<Link>>,
    /// Which link a connection belongs to, by the connection's number.
    by_connection: Vec<Option<u32>>,
    /// Uplink requests whose link is not there yet, until when.
    waiting: Vec<(u32, super::net::Request, u64)>,
    settings: ServerSettings,
    random: Random,
    window_bytes: u32,
    fresh: u128,
    down_until: u64,
    draining: bool,
    /// Restarts so far.
    pub restarts: u64,
    /// Where the client is.
    pub network: &'static str,
    /// What the client reported of its path, in number.
    pub reports: u64,
    /// What the model does wrong on purpose.
    pub sabotage: super::Sabotage,
    fault: Option<Violation>,
}

/// Bytes that a message stands for.
pub fn weight(message: &ServerMessage) -> u32 {
    match message {
        ServerMessage::Event { event, .. } => 90 + event.body.data.len() as u32,
        _ => 90,
    }
}

impl Host {
    /// A server without links. `window_bytes` is what a path takes before the server has to wait.
    pub fn new(channels: Vec<Channel>, random: Random, window_bytes: u32) -> Host {
        let limits = Limits { event_bytes: 1 << 20, publishes_max: PUBLISHES_MAX, subscriptions_max: 100 };
        Host {
            channels,
            links: Vec::new(),
            by_connection: Vec::new(),
            waiting: Vec::new(),
            settings: ServerSettings { limits, ..ServerSettings::default() },
            random,
            window_bytes,
            fresh: 1 << 100,
            down_until: 0,
            draining: false,
            restarts: 0,
            network: "home",
            reports: 0,
            sabotage: super::Sabotage::None,
            fault: None,
        }
    }

    /// The first rule that was broken at the server.
    pub fn fault(&mut self) -> Result<(), Violation> {
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Links that stand.
    pub fn links(&self) -> usize {
        self.links.iter().flatten().count()
    }

    /// Something arrived on a connection.
    pub fn arrived(&mut self, net: &mut Net, connection: u32, item: Up) {
        match item {
            Up::Open(request) => self.request(net, connection, request),
            Up::Message(message) => {
                if let Some(link) = self.link_of(connection) {
                    self.heard(net, link);
                    self.message(net, link, message);
                }
            }
            Up::End => self.ended(net, connection),
        }
    }

    fn link_of(&self, connection: u32) -> Option<u32> {
        self.by_connection.get(connection as usize).copied().flatten()
    }

    fn link(&mut self, link: u32) -> Option<&mut Link> {
        self.links.get_mut(link as usize)?.as_mut()
    }

    fn begin(&mut self, net: &mut Net, name: Option<u64>, way: Way) -> u32 {
        let id = self.links.len() as u32;
        let settings = match way {
            Way::Connection(_) => self.settings,
            Way::Polls(_) => self.settings.with_fixed_heartbeat(POLL_HEARTBEAT_MS),
        };
        if let Way::Connection(connection) = way {
            let connection = connection as usize;
            if self.by_connection.len() <= connection {
                self.by_connection.resize(connection + 1, None);
            }
            self.by_connection[connection] = Some(id);
        }
        let session = ServerSession::new(net.now());
        net.queue.at(session.deadline(&settings), Due::Link(id));
        self.links.push(Some(Link { session, settings, name, way, given: Vec::new(), taken: 0, over: false }));
        id
    }

    fn heard(&mut self, net: &Net, link: u32) {
        let now = net.now();
        if let Some(link) = self.link(link) {
            link.session.heard(now);
        }
    }

    fn message(&mut self, net: &mut Net, id: u32, message: ClientMessage) {
        self.fresh += 1;
        let fresh = self.fresh;
        let Some(link) = self.link(id) else { return };
        let settings = link.settings;
        let waiting = link.session.session().is_none();
        let input = link.session.input(&settings, Ok(message), || fresh);
        if waiting && let Some(link) = self.link(id) {
            let deadline = link.session.deadline(&settings);
            net.queue.at(deadline, Due::Link(id));
        }
        match input {
            Input::Nothing => {}
            Input::Report { .. } => self.reports += 1,
            Input::Send(mut message) => {
                if let ServerMessage::Welcome { network, .. } = &mut message {
                    *network = Some(self.network.into());
                }
                self.send(net, id, message);
            }
            Input::Subscribe { id: request, channel, from } => self.subscribe(net, id, request, &channel, from),
            Input::Unsubscribe { id: request, channel } => self.unsubscribe(net, id, request, &channel),
            Input::Publish { session, id: number, channel, body, .. } => {
                let waiter = Waiter { link: id, id: number, duplicate: false };
                self.publish(net, (session, waiter), &channel, body);
            }
            Input::Close(reason) => {
                if CloseCode::Normal != reason.code {
                    self.fault = Some(format!("the server closed: {reason:?}"));
                }
                self.finish(net, id, reason);
            }
        }
        self.pull(net, id);
    }

    fn publish(&mut self, net: &mut Net, from: (throughline_wire::event::SessionId, Waiter), name: &str, body: Body) {
        let waiter = from.1;
        let (now, draining) = (net.now(), self.draining);
        let Some(channel) = self.channels.iter_mut().find(|c| c.name == name) else { return };
        let taken = if draining {
            Ok(Taken::Refused(ReplyError::new(ErrorCode::Draining, "the realm is stopping")))
        } else {
            channel.publish(now, from, body, &mut self.random)
        };
        let result = match taken {
            Ok(Taken::Stored(eid, duplicate)) => Ok(Reply::Published { eid, duplicate }),
            Ok(Taken::Refused(error)) => Err(error),
            Ok(Taken::Waits) => {
                net.queue.after(self.random.below(COMMIT_MS), Due::Commit);
                return;
            }
            Err(text) => {
                self.fault = Some(text);
                return;
            }
        };
        self.send(net, waiter.link, ServerMessage::Reply { id: waiter.id, result });
        self.pull_all(net);
    }

    /// Others publish some events.
    pub fn inject(&mut self, net: &mut Net, place: usize, count: u64) {
        let (now, mut random) = (net.now(), self.random.fork());
        if let Some(channel) = self.channels.get_mut(place) {
            (0..count).for_each(|_| channel.inject(now, &mut random));
            if channel.waits() {
                net.queue.after(random.below(COMMIT_MS), Due::Commit);
            }
        }
        self.pull_all(net);
    }

    /// The store has committed.
    pub fn commit(&mut self, net: &mut Net) {
        for place in 0..self.channels.len() {
            for (waiter, eid) in self.channels[place].commit() {
                let result = Ok(Reply::Published { eid, duplicate: waiter.duplicate });
                self.send(net, waiter.link, ServerMessage::Reply { id: waiter.id, result });
            }
        }
        self.pull_all(net);
    }

    fn subscribe(&mut self, net: &mut Net, id: u32, request: u64, name: &str, from: From) {
        let Some(place) = self.channels.iter().position(|c| c.name == name) else { return };
        let start = self.channels[place].start(from);
        let Some(link) = self.link(id) else { return };
        let result = if link.given.iter().any(|g| g.channel == place) {
            Err(ReplyError::new(ErrorCode::AlreadySubscribed, "this link has a subscription to the channel"))
        } else {
            start.map(|start| {
                let (number, cursor) = (place as u32 + 7, start.cursor);
                link.given.push(Given {
                    channel: place,
                    number,
                    epoch: cursor.epoch,
                    cursor: cursor.eid,
                    gap: start.gap,
                });
                Reply::Subscribed { number, epoch: cursor.epoch, eid: cursor.eid }
            })
        };
        self.send(net, id, ServerMessage::Reply { id: request, result });
    }

    fn unsubscribe(&mut self, net: &mut Net, id: u32, request: u64, name: &str) {
        let place = self.channels.iter().position(|c| c.name == name);
        if let Some(link) = self.link(id) {
            link.given.retain(|g| Some(g.channel) != place);
        }
        self.send(net, id, ServerMessage::Reply { id: request, result: Ok(Reply::Unsubscribed) });
    }

    fn send(&mut self, net: &mut Net, id: u32, message: ServerMessage) {
        let Some(link) = self.link(id) else { return };
        if link.over {
            return;
        }
        match &mut link.way {
            Way::Connection(connection) => {
                let bytes = weight(&message);
                net.send_down(*connection, Down::Message(message), bytes);
            }
            Way::Polls(polls) => {
                polls.control.push_back(message);
                if polls.control.len() > CONTROL_MAX {
                    self.fault = Some(format!("{CONTROL_MAX} messages wait at one link"));
                }
            }
        }
    }

    /// Every link is given what it lacks.
    pub fn pull_all(&mut self, net: &mut Net) {
        for id in 0..self.links.len() as u32 {
            self.pull(net, id);
        }
    }

    /// A connection has room again.
    pub fn writable(&mut self, net: &mut Net, connection: u32) {
        if let Some(link) = self.link_of(connection) {
            self.pull(net, link);
        }
    }

    fn pull(&mut self, net: &mut Net, id: u32) {
        let (window, skips) = (self.window_bytes, self.sabotage == super::Sabotage::SkipGap);
        let Some(link) = self.links.get_mut(id as usize).and_then(Option::as_mut) else { return };
        if link.over {
            return;
        }
        match &mut link.way {
            Way::Connection(connection) => {
                let connection = *connection;
                while net.down_bytes(connection) < window
                    && let Some(message) = next_message(&self.channels, &mut link.given, skips)
                {
                    let bytes = weight(&message);
                    net.send_down(connection, Down::Message(message), bytes);
                }
            }
            Way::Polls(_) => self.answer(net, id, false),
        }
    }

    /// A link's deadline.
    pub fn tick(&mut self, net: &mut Net, id: u32) {
        let now = net.now();
        let Some(link) = self.link(id) else { return };
        let tick = link.session.tick(now, &link.settings);
        let deadline = link.session.deadline(&link.settings);
        if deadline != u64::MAX {
            net.queue.at(deadline.max(now + 1), Due::Link(id));
        }
        match tick {
            Tick::Nothing => {}
            Tick::Ping => {
                self.send(net, id, ServerMessage::Ping);
                self.pull(net, id);
            }
            Tick::Close(reason) => self.finish(net, id, reason),
        }
    }

    /// Ends a link with a reason that the client is told, if it can be.
    fn finish(&mut self, net: &mut Net, id: u32, CloseReason { code, reason, .. }: CloseReason) {
        self.send(net, id, ServerMessage::Close { code: code.code(), reason });
        let polls = self.link(id).is_some_and(|link| matches!(link.way, Way::Polls(_)));
        if polls {
            self.answer(net, id, true);
        }
        let Some(link) = self.links.get_mut(id as usize).and_then(Option::take) else { return };
        if let Way::Connection(connection) = link.way {
            net.send_down(connection, Down::End { clean: true }, 0);
        }
    }

    /// A connection ended at the other side.
    fn ended(&mut self, net: &mut Net, connection: u32) {
        net.send_down(connection, Down::End { clean: true }, 0);
        self.waiting.retain(|(waiting, _, _)| *waiting != connection);
        if let Some(id) = self.link_of(connection) {
            self.links[id as usize] = None;
        }
        for link in self.links.iter_mut().flatten() {
            if let Way::Polls(polls) = &mut link.way
                && polls.held.is_some_and(|(held, _)| held == connection)
            {
                polls.held = None;
            }
        }
    }

    /// Links are told that the server is going to stop.
    pub fn drain(&mut self, net: &mut Net, after: u64) {
        self.draining = true;
        for id in 0..self.links.len() as u32 {
            let open = self.link(id).is_some_and(|l| l.session.session().is_some());
            if open {
                self.send(net, id, ServerMessage::Drain { after });
                self.pull(net, id);
            }
        }
    }

    /// The process ends, and another one takes its place. In a crash what waits for the disk is gone.
    pub fn restart(&mut self, net: &mut Net, crash: bool) {
        self.restarts += 1;
        if !crash {
            self.commit(net);
            for id in 0..self.links.len() as u32 {
                self.finish(net, id, CloseReason::new(CloseCode::Drain, "the server is stopping"));
            }
        }
        for link in self.links.drain(..).flatten() {
            match link.way {
                Way::Connection(connection) => net.cut(connection, false),
                Way::Polls(polls) => polls.held.into_iter().for_each(|(held, _)| net.cut(held, false)),
            }
        }
        self.by_connection.clear();
        self.waiting.drain(..).for_each(|(waiting, _, _)| net.cut(waiting, false));
        for channel in &mut self.channels {
            channel.restart(&mut self.random);
        }
        self.draining = false;
        self.down_until = net.now() + self.random.below(DOWN_MS);
    }
}

/// The next thing that a link's subscriptions lack.
fn next_message(channels: &[Channel], given: &mut [Given], skips: bool) -> Option<ServerMessage> {
    for given in given {
        let channel = channels.get(given.channel)?;
        if let Some(gap) = given.gap.take() {
            return Some(ServerMessage::Gap { channel: given.number, gap });
        }
        if given.epoch != channel.epoch() {
            continue;
        }
        if let Some(gap) = channel.missed(given.cursor) {
            given.cursor = gap.to;
            if skips {
                continue;
            }
            return Some(ServerMessage::Gap { channel: given.number, gap });
        }
        if let Some(event) = channel.after(given.cursor) {
            given.cursor = event.eid;
            return Some(ServerMessage::Event { channel: given.number, event: Event::clone(event) });
        }
    }
    None
}
