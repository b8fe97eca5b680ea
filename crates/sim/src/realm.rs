//! The server of a run.

use std::collections::{BTreeMap, VecDeque};

use throughline_session::{Cursor, Input, ServerSession, ServerSettings, Tick};
use throughline_wire::event::{Body, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{
    Carriage, ClientMessage, From, Gap, GapReason, MessageKind, Reply, ServerMessage, encode_event,
};

use crate::checker::{Stored, Violation};
use crate::framing::{Assembler, Frame, write, write_close};
use crate::pipe::Shared;
use crate::random::Random;

/// Channels of every run: name, kept over restarts, most events kept.
pub const CHANNELS: [(&str, bool, Option<usize>); 3] =
    [("disk", true, None), ("memory", false, None), ("short", true, Some(6))];
/// Bytes a link may have waiting for its pipe before it is given more events.
const OUT_BYTES_MAX: usize = 2_000;

#[derive(Debug)]
struct Channel {
    name: &'static str,
    durable: bool,
    capacity: usize,
    epoch: Epoch,
    events: VecDeque<Event>,
    last: u64,
    numbers: BTreeMap<(SessionId, u64), Eid>,
    /// What was reported by [`Realm::observe`].
    seen: u64,
}

#[derive(Debug)]
struct Link {
    shared: Shared,
    session: ServerSession,
    incoming: Assembler,
    out: VecDeque<u8>,
    subs: BTreeMap<usize, Eid>,
    closing: bool,
}

/// A realm: it lives over restarts of its process.
#[derive(Debug)]
pub struct Realm {
    settings: ServerSettings,
    channels: Vec<Channel>,
    links: Vec<Link>,
    random: Random,
}

impl Realm {
    /// With the channels of [`CHANNELS`], all empty.
    pub fn new(mut random: Random) -> Realm {
        let channel = |(name, durable, capacity): (&'static str, bool, Option<usize>)| Channel {
            name,
            durable,
            capacity: capacity.unwrap_or(usize::MAX),
            epoch: Epoch(random.next()),
            events: VecDeque::new(),
            last: 0,
            numbers: BTreeMap::new(),
            seen: 0,
        };
        let channels = CHANNELS.map(channel).into();
        let mut settings = ServerSettings::default();
        settings.limits.publishes_max = 4;
        Realm { settings, channels, links: Vec::new(), random }
    }

    /// A connection was made.
    pub fn accept(&mut self, now: u64, shared: Shared) {
        let session = ServerSession::new(now);
        let incoming = Assembler::default();
        self.links.push(Link {
            shared,
            session,
            incoming,
            out: VecDeque::new(),
            subs: BTreeMap::new(),
            closing: false,
        });
    }

    /// The process ends and another one begins on the same disk.
    pub fn restart(&mut self) {
        for link in self.links.drain(..) {
            link.shared.cut(&mut self.random);
        }
        for channel in &mut self.channels {
            if !channel.durable {
                channel.epoch = Epoch(self.random.next());
                channel.events.clear();
                channel.numbers.clear();
                channel.last = 0;
                channel.seen = 0;
            }
        }
    }

    /// Reads, acts, writes.
    pub fn turn(&mut self, now: u64) -> Result<(), Violation> {
        let Realm { settings, channels, links, random } = self;
        for link in links.iter_mut() {
            link.read(now, settings, channels, random)?;
            link.tick(now, settings);
            link.write(now, channels);
        }
        links.retain(|l| {
            let over = l.shared.0.borrow().up.at_end() || (l.closing && l.out.is_empty());
            if over {
                l.shared.0.borrow_mut().down.finish();
            }
            !over
        });
        Ok(())
    }

    /// Events that became visible since the last call.
    pub fn observe(&mut self) -> Vec<Stored> {
        let mut all = Vec::new();
        for channel in &mut self.channels {
            for event in channel.events.iter().filter(|e| e.eid.0 > channel.seen) {
                let text = event.body.data.as_text().unwrap_or_default().to_owned();
                all.push(Stored { channel: channel.name.into(), epoch: channel.epoch, eid: event.eid, text });
            }
            channel.seen = channel.last;
        }
        all
    }

    /// Everything a channel keeps.
    pub fn kept(&self, name: &str) -> Vec<(Eid, String)> {
        let text = |e: &Event| (e.eid, e.body.data.as_text().unwrap_or_default().to_owned());
        self.channels.iter().filter(|c| c.name == name).flat_map(|c| c.events.iter().map(text)).collect()
    }

    /// A channel's history and its last event.
    pub fn head(&self, name: &str) -> Option<Cursor> {
        let channel = self.channels.iter().find(|c| c.name == name)?;
        Some(Cursor { epoch: channel.epoch, eid: Eid(channel.last) })
    }
}

impl Link {
    fn read(
        &mut self,
        now: u64,
        settings: &ServerSettings,
        channels: &mut [Channel],
        random: &mut Random,
    ) -> Result<(), Violation> {
        let bytes = self.shared.0.borrow_mut().up.read(now, random);
        if bytes.is_empty() {
            return Ok(());
        }
        self.session.heard(now);
        self.incoming.push(&bytes);
        while let Some(frame) = self.incoming.take() {
            let message = match &frame {
                Frame::Text(bytes) => ClientMessage::decode(Carriage::Text(bytes)),
                Frame::Binary(bytes) => ClientMessage::decode(Carriage::Binary(bytes)),
                Frame::Close(..) => {
                    self.closing = true;
                    return Ok(());
                }
            };
            let fresh = u128::from(random.next()) << 64 | u128::from(random.next());
            let input = self.session.input(settings, message, || fresh);
            self.act(input, channels)?;
        }
        Ok(())
    }

    fn act(&mut self, input: Input, channels: &mut [Channel]) -> Result<(), Violation> {
        let place = |name: &str| channels.iter().position(|c| c.name == name);
        match input {
            Input::Nothing => {}
            Input::Send(message) => self.send(&message),
            Input::Subscribe { id, channel, from } => {
                let Some(at) = place(&channel) else { return Err(format!("unknown channel {channel}")) };
                if self.subs.contains_key(&at) {
                    return Err(format!("{channel} was subscribed to twice on one link"));
                }
                let (position, gap) = channels[at].position(from);
                self.subs.insert(at, position.eid);
                let number = at as u32;
                let reply = Reply::Subscribed { number, epoch: position.epoch, eid: position.eid };
                self.send(&ServerMessage::Reply { id, result: Ok(reply) });
                if let Some(gap) = gap {
                    self.send(&ServerMessage::Gap { channel: number, gap });
                }
            }
            Input::Unsubscribe { id, channel } => {
                place(&channel).and_then(|at| self.subs.remove(&at));
                self.send(&ServerMessage::Reply { id, result: Ok(Reply::Unsubscribed) });
            }
            Input::Publish { session, id, channel, body, .. } => {
                let Some(at) = place(&channel) else { return Err(format!("unknown channel {channel}")) };
                let (eid, duplicate) = channels[at].publish(session, id, body);
                self.send(&ServerMessage::Reply { id, result: Ok(Reply::Published { eid, duplicate }) });
            }
            Input::Close(reason) => return Err(format!("the server closed: {reason:?}")),
        }
        Ok(())
    }

    fn send(&mut self, message: &ServerMessage) {
        let mut payload = Vec::new();
        let kind = message.encode(&mut payload);
        self.push(kind, &payload);
    }

    fn push(&mut self, kind: MessageKind, payload: &[u8]) {
        let mut framed = Vec::new();
        write(kind, payload, &mut framed);
        self.out.extend(framed);
    }

    fn tick(&mut self, now: u64, settings: &ServerSettings) {
        match self.session.tick(now, settings) {
            Tick::Nothing => {}
            Tick::Ping => self.send(&ServerMessage::Ping),
            Tick::Close(reason) => {
                let mut framed = Vec::new();
                write_close(reason.code.code(), &reason.reason, &mut framed);
                self.out.extend(framed);
                self.closing = true;
            }
        }
    }

    fn write(&mut self, now: u64, channels: &[Channel]) {
        self.shared.0.borrow_mut().now = now;
        loop {
            while !self.out.is_empty() {
                let (front, _) = self.out.as_slices();
                let Ok(n) = self.shared.write_down(front) else { return };
                self.out.drain(..n);
            }
            if self.closing || !self.pull(channels) {
                return;
            }
        }
    }

    /// Takes the next events of every subscription; false when there are none.
    fn pull(&mut self, channels: &[Channel]) -> bool {
        let mut framed = Vec::new();
        for (at, cursor) in &mut self.subs {
            let (channel, number) = (&channels[*at], *at as u32);
            let floor = Eid(channel.floor());
            if *cursor < floor {
                let gap = Gap { from: cursor.next(), to: floor, epoch: channel.epoch, reason: GapReason::Capacity };
                let mut payload = Vec::new();
                let kind = ServerMessage::Gap { channel: number, gap }.encode(&mut payload);
                write(kind, &payload, &mut framed);
                *cursor = floor;
            }
            for event in channel.events.iter().skip((cursor.0 - floor.0) as usize) {
                if framed.len() > OUT_BYTES_MAX {
                    break;
                }
                let mut payload = Vec::new();
                let kind = encode_event(number, event, &mut payload);
                write(kind, &payload, &mut framed);
                *cursor = event.eid;
            }
        }
        self.out.extend(&framed);
        !framed.is_empty()
    }
}

impl Channel {
    /// The last event that is no longer kept.
    fn floor(&self) -> u64 {
        self.events.front().map_or(self.last, |e| e.eid.0 - 1)
    }

    fn publish(&mut self, session: SessionId, id: u64, body: Body) -> (Eid, bool) {
        if let Some(eid) = self.numbers.get(&(session, id)) {
            return (*eid, true);
        }
        self.last += 1;
        let eid = Eid(self.last);
        self.events.push_back(Event { eid, time: 0, body });
        if self.events.len() > self.capacity {
            self.events.pop_front();
        }
        self.numbers.insert((session, id), eid);
        (eid, false)
    }

    fn position(&self, from: From) -> (Cursor, Option<Gap>) {
        let (epoch, floor) = (self.epoch, self.floor());
        let at = |eid| Cursor { epoch, eid: Eid(eid) };
        let asked = match from {
            From::New => self.last,
            From::All => floor,
            From::Eid(eid) => (eid.0 - 1).min(self.last),
            From::After { after, epoch: known } if known == epoch => after.0,
            From::After { after, .. } => {
                return (at(floor), Some(Gap { from: after.next(), to: Eid::NONE, epoch, reason: GapReason::Epoch }));
            }
        };
        let lost = Gap { from: Eid(asked + 1), to: Eid(floor), epoch, reason: GapReason::Capacity };
        (at(asked.max(floor)), (asked < floor).then_some(lost))
    }
}
