//! A small realm: channels that keep some events, and remember which publishes they have taken.

use std::collections::VecDeque;

use throughline_session::Cursor;
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{ErrorCode, From, Gap, GapReason, ReplyError};

use crate::checker::Violation;
use crate::random::Random;

/// Publishes of one session that a channel remembers: as many as may be unanswered.
pub const WINDOW: usize = 12;

/// Which publish of the run an event holds; those of others have none.
pub type Mark = Option<u64>;

/// Everything there ever was in one history of a channel.
#[derive(Debug)]
pub struct History {
    /// Which.
    pub epoch: Epoch,
    /// In order.
    pub events: Vec<(Eid, Mark)>,
    /// Up to here nothing is kept any more.
    pub floor: Eid,
}

/// Someone to be told that a publish is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The link it came on.
    pub link: u32,
    /// The request.
    pub id: u64,
    /// It had come before.
    pub duplicate: bool,
}

#[derive(Debug)]
struct Pending {
    session: SessionId,
    number: u64,
    event: Event,
    mark: Mark,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Remembered {
    session: SessionId,
    /// Publish numbers and what they became, in order.
    taken: VecDeque<(u64, Eid)>,
}

/// A channel of the realm.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: &'static str,
    /// It survives restarts, and answers after a commit.
    pub durable: bool,
    /// Most events kept.
    pub capacity: usize,
    /// Its histories, the present one last.
    pub histories: Vec<History>,
    kept: VecDeque<Event>,
    last: u64,
    remembered: Vec<Remembered>,
    pending: Vec<Pending>,
    /// It does not remember what it has stored, which is wrong.
    pub forgetful: bool,
}

/// What became of a publish.
#[derive(Debug)]
pub enum Taken {
    /// It is stored.
    Stored(Eid, bool),
    /// The answer comes with the commit.
    Waits,
    /// It is refused.
    Refused(ReplyError),
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The last event that counts as given.
    pub cursor: Cursor,
    /// To be told first.
    pub gap: Option<Gap>,
}

impl Channel {
    /// A channel without events.
    pub fn new(name: &'static str, durable: bool, capacity: usize, epoch: u64) -> Channel {
        let mut channel = Channel {
            name,
            durable,
            capacity,
            histories: Vec::new(),
            kept: VecDeque::new(),
            last: 0,
            remembered: Vec::new(),
            pending: Vec::new(),
            forgetful: false,
        };
        channel.begin(epoch);
        channel
    }

    fn begin(&mut self, epoch: u64) {
        self.histories.push(History { epoch: Epoch(epoch), events: Vec::new(), floor: Eid::NONE });
        self.kept.clear();
        self.last = 0;
        self.remembered.clear();
    }

    /// The channel's history.
    pub fn epoch(&self) -> Epoch {
        self.histories.last().map_or(Epoch(0), |h| h.epoch)
    }

    /// The last event that can be seen.
    pub fn head(&self) -> Eid {
        self.histories.last().and_then(|h| h.events.last()).map_or(Eid::NONE, |(eid, _)| *eid)
    }

    fn floor(&self) -> Eid {
        self.histories.last().map_or(Eid::NONE, |h| h.floor)
    }

    /// True when publishes wait for a commit.
    pub fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// An event of someone else.
    pub fn inject(&mut self, now: u64, random: &mut Random) {
        let eid = self.number(random);
        let event = Event { eid, time: now, body: Body::new(Data::text("other")) };
        if self.durable {
            let (session, number) = (SessionId(0), 0);
            self.pending.push(Pending { session, number, event, mark: None, waiters: Vec::new() });
        } else {
            self.show(event, None);
        }
    }

    /// Takes a publish. EIDs have gaps now and then.
    pub fn publish(
        &mut self,
        now: u64,
        from: (SessionId, Waiter),
        body: Body,
        random: &mut Random,
    ) -> Result<Taken, Violation> {
        let (session, waiter) = from;
        if let Some(pending) = self.pending.iter_mut().find(|p| p.session == session && p.number == waiter.id) {
            pending.waiters.push(Waiter { duplicate: true, ..waiter });
            return Ok(Taken::Waits);
        }
        if let Some(known) = self.remembered.iter().find(|r| r.session == session) {
            if let Some((_, eid)) = known.taken.iter().find(|(n, _)| *n == waiter.id) {
                return Ok(Taken::Stored(*eid, true));
            }
            if known.taken.back().is_some_and(|(n, _)| *n > waiter.id) {
                let text = "the id is lower than any that is remembered";
                return Ok(Taken::Refused(ReplyError::new(ErrorCode::PublishNumber, text)));
            }
        }
        if let Some(last) = self.pending.iter().rfind(|p| p.session == session)
            && last.number > waiter.id
        {
            return Err(format!("publish {} came for the first time after {}", waiter.id, last.number));
        }
        let mark = mark_of(&body);
        let eid = self.number(random);
        let event = Event { eid, time: now, body };
        if self.durable {
            self.pending.push(Pending { session, number: waiter.id, event, mark, waiters: vec![waiter] });
            return Ok(Taken::Waits);
        }
        self.remember(session, waiter.id, eid);
        self.show(event, mark);
        Ok(Taken::Stored(eid, false))
    }

    /// What waits is on disk; gives those to be told.
    pub fn commit(&mut self) -> Vec<(Waiter, Eid)> {
        let mut told = Vec::new();
        for pending in core::mem::take(&mut self.pending) {
            let eid = pending.event.eid;
            if pending.number > 0 {
                self.remember(pending.session, pending.number, eid);
            }
            self.show(pending.event, pending.mark);
            told.extend(pending.waiters.into_iter().map(|w| (w, eid)));
        }
        told
    }

    fn number(&mut self, random: &mut Random) -> Eid {
        self.last += if random.one_in(8) { 1 + random.below(4) } else { 1 };
        Eid(self.last)
    }

    fn remember(&mut self, session: SessionId, number: u64, eid: Eid) {
        if self.forgetful {
            return;
        }
        let known = match self.remembered.iter().position(|r| r.session == session) {
            Some(place) => &mut self.remembered[place],
            None => {
                self.remembered.push(Remembered { session, taken: VecDeque::new() });
                let place = self.remembered.len() - 1;
                &mut self.remembered[place]
            }
        };
        known.taken.push_back((number, eid));
        if known.taken.len() > WINDOW {
            known.taken.pop_front();
        }
    }

    fn show(&mut self, event: Event, mark: Mark) {
        if let Some(history) = self.histories.last_mut() {
            history.events.push((event.eid, mark));
        }
        self.kept.push_back(event);
        while self.kept.len() > self.capacity {
            self.forget();
        }
    }

    /// Gives up the oldest event.
    pub fn forget(&mut self) {
        if let (Some(gone), Some(history)) = (self.kept.pop_front(), self.histories.last_mut()) {
            history.floor = gone.eid;
        }
    }

    /// The realm starts anew. What waited is gone after a crash, what was not on disk always.
    pub fn restart(&mut self, random: &mut Random) {
        self.pending.clear();
        if self.durable {
            self.last += 16;
        } else {
            self.begin(random.next());
        }
    }

    /// Where a subscription begins.
    pub fn start(&self, from: From) -> Result<Start, ReplyError> {
        let epoch = self.epoch();
        let at = |eid| Start { cursor: Cursor { epoch, eid }, gap: None };
        let beyond = || Err(ReplyError::new(ErrorCode::BadPosition, "that event was never given out"));
        match from {
            From::New => Ok(at(self.head())),
            From::All => Ok(at(self.floor())),
            From::Eid(eid) if eid > self.head().next() || eid == Eid::NONE => beyond(),
            From::Eid(eid) => Ok(at(Eid(eid.0 - 1))),
            From::After { after, epoch: old } if old != epoch => {
                let gap = Gap { from: after.next(), to: Eid::NONE, epoch, reason: GapReason::Epoch };
                Ok(Start { gap: Some(gap), ..at(self.floor()) })
            }
            From::After { after, .. } if after > self.head() => beyond(),
            From::After { after, .. } => Ok(at(after)),
        }
    }

    /// A gap that a cursor has to be told of.
    pub fn missed(&self, cursor: Eid) -> Option<Gap> {
        let floor = self.floor();
        (cursor < floor).then(|| Gap {
            from: cursor.next(),
            to: floor,
            epoch: self.epoch(),
            reason: GapReason::Capacity,
        })
    }

    /// The event that follows a cursor.
    pub fn after(&self, cursor: Eid) -> Option<&Event> {
        let place = self.kept.partition_point(|e| e.eid <= cursor);
        self.kept.get(place)
    }
}

/// The number that a publish of the run carries at the front of its text.
pub fn mark_of(body: &Body) -> Mark {
    let text = body.data.as_text()?;
    let end = text.find(' ').unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}
