//! From bytes that came in to what is done about them.

use std::sync::Arc;

use throughline_engine::{Channel, Origin, Publish, Published};
use throughline_session::Input;
use throughline_wire::close::CloseCode;
use throughline_wire::event::{Body, SessionId};
use throughline_wire::message::{
    Carriage, ClientMessage, CloseReason, DecodeError, ErrorCode, From, MessageKind, Reply, ReplyError, ServerMessage,
};
use throughline_wire::ws::{self, Message, Opcode, Violation, deflate::Inflater};

use super::frames::Encoder;
use super::link::{End, Inlet, Life, Link, Queued, Sub};
use super::pull::{Member, Slot};
use super::{LinkId, Mail, Network, Now, Shard, Sock};

/// What one WebSocket message asks for.
enum Step {
    /// Done already, or nothing to do.
    Nothing,
    Client(Result<ClientMessage, DecodeError>),
    /// The peer closes, with this code.
    Closed(Option<u16>),
}

impl<S: Sock> Shard<S> {
    /// Takes bytes that came on a link. They are unmasked in place.
    pub fn on_bytes(&mut self, now: Now, id: LinkId, bytes: &mut [u8]) {
        if self.link_mut(id).is_some_and(|link| matches!(link.inlet, Inlet::Http(_))) {
            // What a client sends behind the request that opened a stream means nothing.
            return;
        }
        self.heard(now, id);
        let finished = self.take_bytes(now, id, bytes);
        self.account_partial(now, id, finished);
    }

    /// True when the bytes ended a message.
    fn take_bytes(&mut self, now: Now, id: LinkId, bytes: &mut [u8]) -> bool {
        let mut finished = false;
        let mut rest = bytes;
        loop {
            let Shard { links, encoder, inflater, settings, .. } = self;
            let link = links.get_mut(id.key as usize).filter(|l| l.generation == id.generation);
            let Some(link) = link else { return finished };
            if matches!(link.life, Life::Closing { finish: true, .. }) {
                return finished;
            }
            let mut taken = 0;
            match next_step(link, encoder, inflater, settings.message_bytes_max(), rest, &mut taken) {
                Ok(Some(step)) => {
                    finished |= matches!(step, Step::Client(_));
                    self.take_step(now, id, step);
                }
                Ok(None) => break,
                Err(violation) => {
                    self.violated(now, id, &violation);
                    return finished;
                }
            }
            rest = rest.split_at_mut(taken).1;
        }
        if self.link_mut(id).is_some_and(|link| link.has_pending() && link.queued != Queued::Answered) {
            self.enqueue(id);
        }
        finished
    }

    /// The client lives.
    pub(super) fn heard(&mut self, now: Now, id: LinkId) {
        match self.link_mut(id).map(|link| &mut link.end) {
            Some(End::Session(session)) => session.heard(now.monotonic),
            Some(End::Echo(heard)) => *heard = now.monotonic,
            None => {}
        }
    }

    fn violated(&mut self, now: Now, id: LinkId, violation: &Violation) {
        if self.link_mut(id).is_some_and(|l| l.is_open()) {
            self.close(now, id, violation.close(), false);
        } else {
            self.finish(id);
        }
    }

    /// Nothing more is awaited: the connection ends once everything is written.
    fn finish(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id)
            && let Life::Closing { finish, .. } = &mut link.life
        {
            *finish = true;
            self.enqueue(id);
        }
    }

    fn take_step(&mut self, now: Now, id: LinkId, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Client(message) => self.client(now, id, message),
            Step::Closed(code) => {
                let known = |code: u16| CloseCode::ALL.into_iter().find(|c| c.code() == code);
                let code = code.and_then(known).unwrap_or(CloseCode::Normal);
                self.close(now, id, CloseReason::new(code, ""), true);
                self.finish(id);
            }
        }
    }

    pub(super) fn client(&mut self, now: Now, id: LinkId, message: Result<ClientMessage, DecodeError>) {
        let Shard { links, settings, random, .. } = self;
        let Some(link) = links.get_mut(id.key as usize) else { return };
        let End::Session(session) = &mut link.end else { return };
        if link.life != Life::Open {
            return;
        }
        match session.input(&settings.session_of(link.transport), message, random) {
            Input::Nothing => {}
            Input::Send(mut message) => {
                if let ServerMessage::Welcome { network, .. } = &mut message {
                    *network = link.network.map(Network::name);
                }
                self.send(id, &message);
                if self.draining && matches!(message, ServerMessage::Welcome { .. }) {
                    self.drain_link(id);
                }
            }
            Input::Subscribe { id: request, channel, from } => {
                let result = self.subscribe(now, id, request, &channel, from);
                if let Err(error) = result {
                    self.send(id, &ServerMessage::Reply { id: request, result: Err(error) });
                }
            }
            Input::Unsubscribe { id: request, channel } => {
                self.unsubscribe(id, request, &channel);
            }
            Input::Publish { session, id: number, channel, body, persistent } => {
                self.publish(now, id, session, number, &channel, body, persistent);
            }
            Input::Report { transport, failure, .. } => self.counts.path_failed(&transport, &failure),
            Input::Close(reason) => self.close(now, id, reason, true),
        }
    }

    fn subscribe(&mut self, now: Now, id: LinkId, request: u64, name: &str, from: From) -> Result<(), ReplyError> {
        let max = self.settings.session.limits.subscriptions_max;
        let Some(link) = self.link_mut(id) else { return Ok(()) };
        if link.subs.len() as u64 >= max {
            let message =
                format!("this link has {max} subscriptions, the limit subscriptions_max; use another session");
            return Err(ReplyError::limit(ErrorCode::TooManySubscriptions, message, max));
        }
        let channel = self.engine.channel_or_create(name, now.unix)?;
        let number = channel.number();
        let slot = self.slot(&channel);
        if self.link_mut(id).is_some_and(|link| link.subs.iter().any(|s| s.slot == slot)) {
            let message = format!("this link has a subscription to {name:?}; unsubscribe first or use another session");
            let result = Err(ReplyError::new(ErrorCode::AlreadySubscribed, message));
            self.say(id, number, ServerMessage::Reply { id: request, result });
            return Ok(());
        }
        // Asked first: a channel that fails to come into being until then has no position.
        let waits = self.holds_back(id, &channel);
        let position = match channel.position(from, now.unix) {
            Ok(position) => position,
            Err(error) => {
                self.forget_if_empty(slot);
                self.say(id, number, ServerMessage::Reply { id: request, result: Err(error) });
                return Ok(());
            }
        };
        let Shard { links, slots, .. } = self;
        let (link, slot_of) = (links.get_mut(id.key as usize), slots.get_mut(slot as usize));
        if let (Some(link), Some(Slot { members, .. })) = (link, slot_of) {
            link.subs.reserve_exact(1);
            link.subs.push(Sub { slot, index: members.len() as u32, cursor: position.cursor, reading: waits });
            members.push(Member { link: id.key, sub: link.subs.len() as u32 - 1 });
        }
        let result = Ok(Reply::Subscribed { number, epoch: position.epoch, eid: position.cursor });
        let gap = position.gap.map(|gap| ServerMessage::Gap { channel: number, gap });
        for message in [ServerMessage::Reply { id: request, result }].into_iter().chain(gap) {
            self.say(id, number, message);
        }
        Ok(())
    }

    /// The slot of a channel, which is watched from now on.
    fn slot(&mut self, channel: &Arc<Channel>) -> u32 {
        if let Some(key) = self.by_number.get(&channel.number()) {
            return *key;
        }
        let key = self.slots.insert(Slot::new(Arc::clone(channel))) as u32;
        self.by_number.insert(channel.number(), key);
        channel.watch(self.watcher);
        channel.seen(self.watcher);
        key
    }

    fn forget_if_empty(&mut self, slot: u32) {
        if self.slots.get(slot as usize).is_some_and(|s| s.members.is_empty()) {
            let slot = self.slots.remove(slot as usize);
            slot.channel.unwatch(self.watcher);
            self.by_number.remove(&slot.channel.number());
        }
    }

    fn unsubscribe(&mut self, id: LinkId, request: u64, name: &str) {
        let Shard { links, slots, .. } = self;
        let link = links.get_mut(id.key as usize);
        let named = |slot: u32| slots.get(slot as usize).map(|s| &s.channel).filter(|channel| channel.name() == name);
        let subs = link.as_ref().map_or(&[][..], |link| &link.subs).iter().enumerate();
        let Some((at, number)) = subs.filter_map(|(at, sub)| Some((at, named(sub.slot)?.number()))).next() else {
            let message = format!("this link has no subscription to {name:?}");
            let result = Err(ReplyError::new(ErrorCode::NotSubscribed, message));
            return self.send(id, &ServerMessage::Reply { id: request, result });
        };
        self.drop_sub(id.key, at);
        self.say(id, number, ServerMessage::Reply { id: request, result: Ok(Reply::Unsubscribed) });
    }

    /// Ends a subscription of a link that goes on.
    pub(super) fn drop_sub(&mut self, key: u32, at: usize) {
        let Some(link) = self.links.get_mut(key as usize) else { return };
        let sub = link.subs.swap_remove(at);
        if let Some(moved) = link.subs.get(at)
            && let Some(slot) = self.slots.get_mut(moved.slot as usize)
            && let Some(member) = slot.members.get_mut(moved.index as usize)
        {
            member.sub = at as u32;
        }
        self.leave(sub.slot, sub.index);
    }

    /// Takes a member out of a slot. The last member moves into its place; a walk that has passed there is repeated.
    pub(super) fn leave(&mut self, key: u32, index: u32) {
        let Some(slot) = self.slots.get_mut(key as usize) else { return };
        slot.members.swap_remove(index as usize);
        slot.again |= slot.has_passed(index);
        if let Some(moved) = slot.members.get(index as usize)
            && let Some(link) = self.links.get_mut(moved.link as usize)
            && let Some(sub) = link.subs.get_mut(moved.sub as usize)
        {
            sub.index = index;
        }
        self.forget_if_empty(key);
    }

    pub(super) fn deleted(&mut self, number: u32) {
        let Some(key) = self.by_number.get(&number).copied() else { return };
        while let Some(member) = self.slots.get(key as usize).and_then(|s| s.members.last().copied()) {
            let Some(link) = self.links.get(member.link as usize) else { break };
            let id = LinkId { key: member.link, generation: link.generation };
            self.send(id, &ServerMessage::End { channel: number, reason: "deleted".into() });
            self.drop_sub(member.link, member.sub as usize);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the members of a publish, passed on once")]
    fn publish(
        &mut self,
        now: Now,
        link: LinkId,
        session: SessionId,
        id: u64,
        name: &str,
        body: Body,
        persistent: Option<bool>,
    ) {
        if self.draining {
            let error = ReplyError::new(ErrorCode::Draining, "the realm is stopping; publish again on the next link");
            return self.send(link, &ServerMessage::Reply { id, result: Err(error) });
        }
        let channel = match self.engine.channel_or_create(name, now.unix) {
            Ok(channel) => channel,
            Err(error) => return self.send(link, &ServerMessage::Reply { id, result: Err(error) }),
        };
        let weight = body.weight();
        let mailbox = Arc::clone(&self.mailbox);
        let publish = Publish { channel, origin: Some(Origin { session, number: id }), body, persistent };
        let done = move |result| mailbox.put(Mail::Published { link, id, weight, result });
        match self.engine.publish(publish, now.unix, done) {
            Some(result) => self.answer(now, link, id, result),
            None => {
                if let Some(link) = self.link_mut(link) {
                    link.inflight += 1;
                    link.inflight_bytes += weight;
                }
            }
        }
    }

    pub(super) fn published(
        &mut self,
        now: Now,
        link: LinkId,
        id: u64,
        weight: usize,
        result: Result<Published, ReplyError>,
    ) {
        let Some(entry) = self.link_mut(link) else { return };
        entry.inflight = entry.inflight.saturating_sub(1);
        entry.inflight_bytes = entry.inflight_bytes.saturating_sub(weight);
        self.answer(now, link, id, result);
        self.note_resumed(link);
    }

    fn answer(&mut self, now: Now, link: LinkId, id: u64, result: Result<Published, ReplyError>) {
        let result = result.map(|p| Reply::Published { eid: p.eid, duplicate: p.duplicate });
        self.write(link, &ServerMessage::Reply { id, result });
        self.enqueue_answered(now, link);
    }
}

/// Decodes the next message. Echoes and pongs are written here, since they need the bytes where they lie.
fn next_step<S: Sock>(
    link: &mut Link<S>,
    encoder: &mut Encoder,
    shared: &mut Inflater,
    limit: usize,
    input: &mut [u8],
    taken: &mut usize,
) -> Result<Option<Step>, Violation> {
    let open = link.is_open();
    let Link { inlet, framing, end, .. } = link;
    let total = input.len();
    let message = match inlet {
        Inlet::WebSocket { decoder, inflater, deflate } => {
            let inflater = if *deflate { Some(inflater.as_deref_mut().unwrap_or(shared)) } else { None };
            let mut slice = input;
            let message = decoder.decode(&mut slice, inflater, limit)?;
            *taken = total - slice.len();
            message
        }
        Inlet::Hixie(decoder) => {
            let mut slice = &*input;
            let message = decoder.decode(&mut slice, limit)?;
            *taken = total - slice.len();
            message
        }
        Inlet::Http(_) => {
            *taken = total;
            None
        }
    };
    let Some(message) = message else { return Ok(None) };
    let echo = matches!(end, End::Echo(_));
    let framing = *framing;
    let mut answer = Vec::new();
    let step = match message {
        Message::Close(reason) => Step::Closed(reason.map(|(code, _)| code)),
        _ if !open => Step::Nothing,
        Message::Ping(payload) => {
            ws::write_frame(&mut answer, Opcode::Pong, false, payload);
            Step::Nothing
        }
        Message::Pong(_) => Step::Nothing,
        Message::Text(text) if echo => {
            encoder.frame(framing, MessageKind::Text, text.as_bytes(), &mut answer);
            Step::Nothing
        }
        Message::Binary(bytes) if echo => {
            encoder.frame(framing, MessageKind::Binary, bytes, &mut answer);
            Step::Nothing
        }
        Message::Text(text) => Step::Client(ClientMessage::decode(Carriage::Text(text.as_bytes()))),
        Message::Binary(bytes) => Step::Client(ClientMessage::decode(Carriage::Binary(bytes))),
    };
    if !answer.is_empty() {
        link.control().append(&mut answer);
    }
    Ok(Some(step))
}
