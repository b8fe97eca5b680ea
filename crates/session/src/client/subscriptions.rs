//! Subscriptions over all links: their cursors, and what each link knows of them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use throughline_wire::event::{Eid, Epoch, Event};
use throughline_wire::message::{ClientMessage, ErrorCode, From, Gap, GapReason, Reply, ReplyError};

use super::event::{ClientEvent, Cursor, SubscribeError, SubscriptionId};

#[derive(Debug)]
struct Subscription {
    channel: Arc<str>,
    /// What the caller asked for; counts until there is a cursor.
    from: From,
    cursor: Option<Cursor>,
    /// It stood on an earlier link.
    stood: bool,
    /// Id of the request on this link; zero when it was not sent.
    request: u64,
    /// The channel's number on this link.
    number: Option<u32>,
    /// The history changed, and the gap that says so has not come on this link: where the new history begins.
    ahead: Option<Cursor>,
}

/// A subscription that was asked for in the first flight of a link that no session had adopted yet.
#[derive(Clone, Debug)]
pub(super) struct Flown {
    /// Id of the request.
    id: u64,
    subscription: SubscriptionId,
    channel: Arc<str>,
    /// The history of the cursor that it named: as long as the subscription stands in that one, whatever comes begins at
    /// or before where it stands. An answer that was long under way may tell of a history that has ended since.
    anchor: Option<Epoch>,
}

/// Stands for a subscription that is not wanted (any more); no subscription has this id.
const NOBODY: SubscriptionId = SubscriptionId(0);

#[derive(Debug)]
enum Request {
    Subscribe(SubscriptionId, Arc<str>),
    Unsubscribe(Arc<str>),
}

#[derive(Debug)]
enum Number {
    Active(SubscriptionId),
    /// Unsubscribed, and events may come until the server has answered.
    Leaving(Arc<str>),
}

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<SubscriptionId, Subscription>,
    names: BTreeMap<Arc<str>, SubscriptionId>,
    last: u64,
    /// To be sent on this link.
    outbox: VecDeque<Request>,
    /// Sent on this link, without an answer.
    asked: BTreeMap<u64, Request>,
    numbers: BTreeMap<u32, Number>,
}

/// What the server did that the protocol does not allow.
pub(super) type Violation = String;

impl Subscriptions {
    pub(super) fn add(&mut self, channel: &str, from: From, linked: bool) -> Result<SubscriptionId, SubscribeError> {
        if let Some(known) = self.names.get(channel) {
            return Err(SubscribeError::Already(*known));
        }
        self.last += 1;
        let id = SubscriptionId(self.last);
        let channel: Arc<str> = channel.into();
        let cursor = match from {
            From::After { after, epoch } => Some(Cursor { epoch, eid: after }),
            _ => None,
        };
        self.names.insert(channel.clone(), id);
        if linked {
            self.outbox.push_back(Request::Subscribe(id, channel.clone()));
        }
        let new = Subscription { channel, from, cursor, stood: false, request: 0, number: None, ahead: None };
        self.all.insert(id, new);
        Ok(id)
    }

    /// Ends a subscription; false when there is none of this id.
    pub(super) fn remove(&mut self, id: SubscriptionId, linked: bool) -> bool {
        let Some(gone) = self.all.remove(&id) else { return false };
        self.names.remove(&gone.channel);
        if !linked {
            return true;
        }
        if gone.request == 0 {
            self.outbox.retain(|r| !matches!(r, Request::Subscribe(s, _) if *s == id));
            return true;
        }
        if let Some(number) = gone.number {
            self.numbers.insert(number, Number::Leaving(gone.channel.clone()));
        }
        self.outbox.push_back(Request::Unsubscribe(gone.channel));
        true
    }

    pub(super) fn cursor(&self, id: SubscriptionId) -> Option<Cursor> {
        self.all.get(&id)?.cursor
    }

    /// A new link: everything is to be asked for again.
    pub(super) fn relink(&mut self) {
        self.asked.clear();
        self.numbers.clear();
        self.outbox = self.all.iter().map(|(id, s)| Request::Subscribe(*id, s.channel.clone())).collect();
        for subscription in self.all.values_mut() {
            subscription.request = 0;
            subscription.number = None;
            subscription.ahead = None;
        }
    }

    /// Asks for every subscription on a link that is not adopted yet.
    pub(super) fn greet(&self, last_number: &mut u64) -> (Vec<ClientMessage>, Vec<Flown>) {
        let ask = |(id, subscription): (&SubscriptionId, &Subscription)| {
            *last_number += 1;
            let (from, channel) = (subscription.position(), subscription.channel.clone());
            let anchor = subscription.epoch();
            let flown = Flown { id: *last_number, subscription: *id, channel: channel.clone(), anchor };
            (ClientMessage::Subscribe { id: *last_number, channel: (*channel).into(), from }, flown)
        };
        self.all.iter().map(ask).unzip()
    }

    /// A new link whose first flight held these requests. `fresh`: nothing has moved a cursor since; otherwise a request
    /// without a cursor may have begun after events that were not given, and is made anew with one. `spoiled`: events that
    /// came were lost, and all requests are made anew.
    pub(super) fn adopt(&mut self, flown: Vec<Flown>, fresh: bool, spoiled: bool) {
        self.relink();
        self.outbox.clear();
        for Flown { id, subscription, channel, anchor } in flown {
            match self.all.get_mut(&subscription) {
                Some(wanted) if fresh || (!spoiled && anchor.is_some() && anchor == wanted.epoch()) => {
                    wanted.request = id;
                    self.asked.insert(id, Request::Subscribe(subscription, channel));
                }
                _ => {
                    self.asked.insert(id, Request::Subscribe(NOBODY, channel.clone()));
                    self.outbox.push_back(Request::Unsubscribe(channel));
                }
            }
        }
        let missing = self.all.iter().filter(|(_, s)| s.request == 0);
        self.outbox.extend(missing.map(|(id, s)| Request::Subscribe(*id, s.channel.clone())));
    }

    /// True while a request of this link has no answer.
    pub(super) fn awaits(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Subscriptions { last: self.last, ..Subscriptions::default() };
    }

    /// The next request to be sent on this link.
    pub(super) fn next(&mut self, last_number: &mut u64) -> Option<ClientMessage> {
        loop {
            let request = self.outbox.pop_front()?;
            let id = *last_number + 1;
            let message = match &request {
                Request::Unsubscribe(channel) => ClientMessage::Unsubscribe { id, channel: (**channel).into() },
                Request::Subscribe(subscription, _) => {
                    let Some(subscription) = self.all.get_mut(subscription) else { continue };
                    subscription.request = id;
                    let from = subscription.position();
                    ClientMessage::Subscribe { id, channel: (*subscription.channel).into(), from }
                }
            };
            *last_number = id;
            self.asked.insert(id, request);
            return Some(message);
        }
    }

    /// The server answered request `id`; an answer to nothing is ignored.
    pub(super) fn reply(
        &mut self,
        id: u64,
        result: Result<Reply, ReplyError>,
        out: &mut VecDeque<ClientEvent>,
    ) -> Result<(), Violation> {
        match (self.asked.remove(&id), result) {
            (None, _) => Ok(()),
            (Some(Request::Subscribe(s, channel)), Ok(Reply::Subscribed { number, epoch, eid })) => {
                self.stands(s, channel, number, Cursor { epoch, eid }, out)
            }
            (Some(Request::Subscribe(s, _)), Err(error)) => {
                self.refused(s, error, out);
                Ok(())
            }
            (Some(Request::Unsubscribe(channel)), Ok(Reply::Unsubscribed)) => {
                self.left(&channel);
                Ok(())
            }
            (Some(Request::Unsubscribe(channel)), Err(error)) => {
                if error.is(ErrorCode::NotSubscribed) {
                    self.left(&channel);
                }
                Ok(())
            }
            (Some(_), Ok(_)) => Err(format!("the reply to request {id} is of another kind than the request")),
        }
    }

    fn left(&mut self, channel: &str) {
        self.numbers.retain(|_, n| !matches!(n, Number::Leaving(c) if **c == *channel));
    }

    fn stands(
        &mut self,
        id: SubscriptionId,
        channel: Arc<str>,
        number: u32,
        told: Cursor,
        out: &mut VecDeque<ClientEvent>,
    ) -> Result<(), Violation> {
        let Some(subscription) = self.all.get_mut(&id) else {
            // It was ended while the request was under way; the request to end it is under way, too.
            self.numbers.insert(number, Number::Leaving(channel));
            return Ok(());
        };
        if matches!(self.numbers.get(&number), Some(Number::Active(_))) {
            return Err(format!("channel number {number} was given to two subscriptions"));
        }
        self.numbers.insert(number, Number::Active(id));
        subscription.number = Some(number);
        subscription.begin(told);
        let resumed = core::mem::replace(&mut subscription.stood, true);
        out.push_back(ClientEvent::Subscribed { subscription: id, channel, cursor: told, resumed });
        Ok(())
    }

    fn refused(&mut self, id: SubscriptionId, error: ReplyError, out: &mut VecDeque<ClientEvent>) {
        if error.is(ErrorCode::Draining) {
            // The next link asks again.
            return;
        }
        if let Some(gone) = self.all.remove(&id) {
            self.names.remove(&gone.channel);
            out.push_back(ClientEvent::SubscribeFailed { subscription: id, channel: gone.channel, error });
        }
    }

    fn active(&mut self, number: u32) -> Result<Option<(SubscriptionId, &mut Subscription)>, Violation> {
        match self.numbers.get(&number) {
            Some(Number::Active(id)) => Ok(self.all.get_mut(id).map(|s| (*id, s))),
            Some(Number::Leaving(_)) => Ok(None),
            None => Err(format!("channel number {number} stands for no subscription of this link")),
        }
    }

    pub(super) fn event(
        &mut self,
        number: u32,
        event: Event,
        out: &mut VecDeque<ClientEvent>,
    ) -> Result<(), Violation> {
        let Some((id, subscription)) = self.active(number)? else { return Ok(()) };
        subscription.catch_up(id, out);
        let Some(cursor) = &mut subscription.cursor else { return Ok(()) };
        if event.eid > cursor.eid {
            cursor.eid = event.eid;
            out.push_back(ClientEvent::Event { subscription: id, channel: subscription.channel.clone(), event });
        }
        Ok(())
    }

    pub(super) fn gap(&mut self, number: u32, gap: Gap, out: &mut VecDeque<ClientEvent>) -> Result<(), Violation> {
        let Some((id, subscription)) = self.active(number)? else { return Ok(()) };
        if gap.reason == GapReason::Epoch {
            subscription.change(id, gap, out);
            return Ok(());
        }
        subscription.catch_up(id, out);
        let Some(cursor) = &mut subscription.cursor else { return Ok(()) };
        if gap.epoch != cursor.epoch {
            return Err(format!("a gap of epoch {} on a channel of epoch {}", gap.epoch, cursor.epoch));
        }
        if gap.to > cursor.eid {
            let gap = Gap { from: gap.from.max(cursor.eid.next()), ..gap };
            cursor.eid = gap.to;
            out.push_back(ClientEvent::Gap { subscription: id, channel: subscription.channel.clone(), gap });
        }
        Ok(())
    }

    pub(super) fn end(
        &mut self,
        number: u32,
        reason: Box<str>,
        out: &mut VecDeque<ClientEvent>,
    ) -> Result<(), Violation> {
        let Some((id, _)) = self.active(number)? else { return Ok(()) };
        self.numbers.remove(&number);
        if let Some(gone) = self.all.remove(&id) {
            self.names.remove(&gone.channel);
            out.push_back(ClientEvent::Ended { subscription: id, channel: gone.channel, reason });
        }
        Ok(())
    }
}

impl Subscription {
    fn epoch(&self) -> Option<Epoch> {
        self.cursor.map(|cursor| cursor.epoch)
    }

    /// Where it goes on on a new link.
    const fn position(&self) -> From {
        match self.cursor {
            Some(Cursor { epoch, eid }) => From::After { after: eid, epoch },
            None => self.from,
        }
    }

    /// The server said where this subscription goes on. Being told is not being given: of the events between the own
    /// cursor and the server's, a gap has to tell first, and the link may end before it has come.
    fn begin(&mut self, told: Cursor) {
        match (self.cursor, self.from) {
            (Some(own), _) if own.epoch != told.epoch => self.ahead = Some(told),
            (Some(_), _) => {}
            (None, From::Eid(first)) if first != Eid::NONE => {
                let eid = told.eid.min(Eid(first.0 - 1));
                self.cursor = Some(Cursor { eid, ..told });
            }
            (None, _) => self.cursor = Some(told),
        }
    }

    /// The server reports another history.
    fn change(&mut self, id: SubscriptionId, gap: Gap, out: &mut VecDeque<ClientEvent>) {
        let known = self.cursor.is_some_and(|c| c.epoch == gap.epoch);
        if known {
            return;
        }
        // Asked for with an older cursor, while another link went on to give events.
        let from = self.cursor.map_or(gap.from, |own| gap.from.max(own.eid.next()));
        let gap = Gap { from, ..gap };
        let start = self.ahead.take().filter(|a| a.epoch == gap.epoch).map_or(Eid::NONE, |a| a.eid);
        self.cursor = Some(Cursor { epoch: gap.epoch, eid: start });
        out.push_back(ClientEvent::Gap { subscription: id, channel: self.channel.clone(), gap });
    }

    /// Events of another history come though its gap was not reported: the client reports it itself.
    fn catch_up(&mut self, id: SubscriptionId, out: &mut VecDeque<ClientEvent>) {
        if let (Some(ahead), Some(own)) = (self.ahead, self.cursor) {
            let gap = Gap { from: own.eid.next(), to: Eid::NONE, epoch: ahead.epoch, reason: GapReason::Epoch };
            self.change(id, gap, out);
        }
    }
}
