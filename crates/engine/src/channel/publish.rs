//! Accepting events: EIDs, repetitions, and the way over the disk.

use std::sync::Arc;

use throughline_wire::event::{Body, Eid, Event};
use throughline_wire::message::{ErrorCode, ReplyError};

use super::{Channel, Notices, State};
use crate::error::store_error;
use crate::store::{Append, StoreError};
use crate::types::{ChannelKind, Origin, Published};
use crate::window::Known;

/// What a waiting event costs beside its body, bytes.
const PENDING_OVERHEAD: u64 = 200;

/// Told what became of a publish.
type Done = Box<dyn FnOnce(Result<Published, ReplyError>) + Send>;
/// Whom to tell what, once the channel's lock is free.
type Answers = Vec<(Done, Result<Published, ReplyError>)>;

/// An event that was given its EID and cannot be read yet: it waits for the disk, or for one before it that does.
pub(crate) struct Pending {
    pub(super) event: Arc<Event>,
    origin: Option<Origin>,
    pub(super) stored: bool,
    weight: u64,
    pub(super) result: Option<Result<(), StoreError>>,
    /// Its publisher, and after it those who repeated it meanwhile.
    waiters: Vec<Done>,
}

/// Reports the end of an append, also when the store drops it.
struct Completion {
    channel: Option<Arc<Channel>>,
    eid: Eid,
}

impl Completion {
    fn end(mut self, result: Result<(), StoreError>) {
        if let Some(channel) = self.channel.take() {
            channel.complete(self.eid, result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.complete(self.eid, Err(StoreError::Failed("the store gave the event up".to_owned())));
        }
    }
}

/// The way an attempt to publish went, with the lock held.
enum Attempt {
    Decided(Result<Published, ReplyError>),
    Visible(Published, Notices),
    Waiting,
}

/// Events that have become readable or have failed: who is to be told, once the channel's lock is free.
pub(super) struct Released {
    notices: Notices,
    answers: Answers,
}

impl Channel {
    pub(crate) fn publish(
        self: &Arc<Self>,
        origin: Option<Origin>,
        body: Body,
        persistent: Option<bool>,
        now: u64,
        done: impl FnOnce(Result<Published, ReplyError>) + Send + 'static,
    ) -> Option<Result<Published, ReplyError>> {
        let stored = match self.stored(persistent) {
            Ok(stored) => stored,
            Err(error) => return Some(Err(self.reject(error))),
        };
        let mut done = Some(done);
        match self.attempt(origin, body, stored, now, &mut done) {
            Attempt::Decided(result) => Some(result),
            Attempt::Visible(published, notices) => {
                self.tell(notices);
                if self.attributes.kind.on_disk() {
                    self.fill_index(now);
                }
                Some(Ok(published))
            }
            Attempt::Waiting => {
                self.fill_index(now);
                None
            }
        }
    }

    /// Whether an event goes on disk.
    fn stored(&self, persistent: Option<bool>) -> Result<bool, ReplyError> {
        match self.attributes.kind {
            ChannelKind::Persistent => Ok(true),
            ChannelKind::Mixed => Ok(persistent == Some(true)),
            kind if persistent == Some(true) => {
                let message =
                    format!("channel {:?} is {kind} and keeps nothing on disk; use one of type mixed", self.name);
                Err(ReplyError::new(ErrorCode::NotPersistent, message))
            }
            _ => Ok(false),
        }
    }

    fn reject(&self, error: ReplyError) -> ReplyError {
        self.lock().rejected += 1;
        error
    }

    fn attempt<F>(&self, origin: Option<Origin>, body: Body, stored: bool, now: u64, done: &mut Option<F>) -> Attempt
    where
        F: FnOnce(Result<Published, ReplyError>) + Send + 'static,
    {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(closed) = &state.closed {
            let error = self.closed_error(closed);
            state.rejected += 1;
            return Attempt::Decided(Err(error));
        }
        match origin.map_or(Known::New, |origin| state.windows.look_up(origin)) {
            Known::New => {}
            Known::Accepted(eid) => return state.repeat(eid, done),
            Known::Forgotten(lowest) => {
                state.rejected += 1;
                let message = format!("the lowest publish number that can be told from a repetition here is {lowest}");
                return Attempt::Decided(Err(ReplyError::limit(ErrorCode::PublishNumber, message, lowest)));
            }
        }
        let unreserved = self.attributes.kind == ChannelKind::Mixed && state.assigned >= state.reserved;
        let waits = stored || unreserved || !state.pending.is_empty();
        let weight = body.weight() as u64 + PENDING_OVERHEAD;
        if let Err(error) = self.make_room(waits, stored, state.log.memory, weight) {
            state.rejected += 1;
            return Attempt::Decided(Err(error));
        }
        let eid = state.assigned.next();
        state.assigned = eid;
        if let Some(origin) = origin {
            self.remember(state, origin, eid, now);
        }
        let event = Arc::new(Event { eid, time: now, body });
        if !waits {
            let before = state.log.memory;
            state.log.push(event, false);
            self.settle(state, before, 1, now);
            return Attempt::Visible(Published { eid, duplicate: false }, state.notices());
        }
        let waiters: Vec<Done> = done.take().map(|done| Box::new(done) as Done).into_iter().collect();
        let result = if stored || unreserved { None } else { Some(Ok(())) };
        state.pending_bytes += weight;
        state.pending.push_back(Pending { event: Arc::clone(&event), origin, stored, weight, result, waiters });
        if stored {
            let completion = Completion { channel: self.this.upgrade(), eid };
            let done = Box::new(move |result| completion.end(result));
            self.shared.store.append(Append { channel: self.number, event, origin, done });
        } else if unreserved {
            self.reserve(state);
        }
        Attempt::Waiting
    }

    /// Refuses an event for which there is no room, where the channel holds `memory` bytes. Between the realm's turns a sixteenth above
    /// the limit is there for channels that have nothing to give up.
    fn make_room(&self, waits: bool, stored: bool, memory: u64, weight: u64) -> Result<(), ReplyError> {
        let limit = self.shared.settings.retained_bytes_max;
        let total = self.shared.retained();
        let fits = stored
            || match self.attributes.kind {
                ChannelKind::Mixed => total.saturating_add(weight) <= limit,
                _ => weight <= memory || total.saturating_add(weight - memory) <= limit.saturating_add(limit / 16),
            };
        if !fits {
            let way = if self.attributes.kind == ChannelKind::Mixed { " or publish it persistent" } else { "" };
            let message = format!("events in memory take {limit} bytes (retained_bytes_max); repeat later{way}");
            return Err(ReplyError::limit(ErrorCode::Overloaded, message, limit));
        }
        if waits { self.shared.admit(weight) } else { Ok(()) }
    }

    fn remember(&self, state: &mut State, origin: Origin, eid: Eid, now: u64) {
        let settings = &self.shared.settings;
        state.windows.insert(origin, eid, now, settings.publish_window);
        self.settle_windows(state);
        self.shed_excess_windows(state);
        if state.windows_due == u64::MAX {
            state.windows_due = now.saturating_add(settings.publish_memory_ms);
            self.schedule(state, state.windows_due);
        }
    }

    /// After `count` events became readable.
    fn settle(&self, state: &mut State, before: u64, count: u64, now: u64) {
        state.published += count;
        state.log.enforce(now);
        self.publish_state(state, before);
        self.schedule_upkeep(state, now);
    }

    /// The store's answer for one event.
    fn complete(&self, eid: Eid, result: Result<(), StoreError>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(pending) = state.waiting(eid) else { return };
        pending.result = Some(result);
        let released = self.release(state);
        drop(guard);
        self.announce(released);
    }

    /// Takes the first of the events that cannot be read yet, up to one that still waits.
    pub(super) fn release(&self, state: &mut State) -> Released {
        let before = state.log.memory;
        let mut answers = Answers::new();
        let mut count = 0;
        let mut time = 0;
        while state.pending.front().is_some_and(|pending| pending.result.is_some()) {
            let Some(pending) = state.pending.pop_front() else { break };
            self.shared.discharge(pending.weight);
            state.pending_bytes -= pending.weight;
            if let Some(Err(error)) = &pending.result {
                state.give_up(pending.origin, pending.waiters, &store_error(error), &mut answers);
                continue;
            }
            time = pending.event.time;
            count += 1;
            let eid = pending.event.eid;
            let numbered = pending.waiters.into_iter().enumerate();
            answers.extend(numbered.map(|(n, done)| (done, Ok(Published { eid, duplicate: n > 0 }))));
            state.log.push(pending.event, pending.stored);
        }
        let notices = if count > 0 {
            self.settle(state, before, count, time);
            state.notices()
        } else {
            Notices::new()
        };
        Released { notices, answers }
    }

    pub(super) fn announce(&self, released: Released) {
        self.tell(released.notices);
        for (done, result) in released.answers {
            done(result);
        }
    }

    /// Ends every event that cannot be read yet. For channels that are deleted.
    pub(super) fn abandon(&self, state: &mut State, error: &ReplyError) -> Vec<impl FnOnce() + use<>> {
        let mut answers = Answers::new();
        state.pending_bytes = 0;
        for pending in std::mem::take(&mut state.pending) {
            self.shared.discharge(pending.weight);
            state.give_up(pending.origin, pending.waiters, error, &mut answers);
        }
        answers.into_iter().map(|(done, result)| move || done(result)).collect()
    }

    pub(super) fn tell(&self, notices: Notices) {
        for watcher in notices {
            watcher.dirty(self.number);
        }
    }
}

impl State {
    /// A publish that was accepted before comes again.
    fn repeat<F>(&mut self, eid: Eid, done: &mut Option<F>) -> Attempt
    where
        F: FnOnce(Result<Published, ReplyError>) + Send + 'static,
    {
        self.duplicates += 1;
        match self.waiting(eid) {
            Some(pending) => {
                pending.waiters.extend(done.take().map(|done| Box::new(done) as Done));
                Attempt::Waiting
            }
            None => Attempt::Decided(Ok(Published { eid, duplicate: true })),
        }
    }

    /// The event of this EID, if it cannot be read yet. No EID is missing between those that wait, since what follows one waits too.
    fn waiting(&mut self, eid: Eid) -> Option<&mut Pending> {
        let front = self.pending.front()?.event.eid;
        let index = usize::try_from(eid.0.checked_sub(front.0)?).ok()?;
        self.pending.get_mut(index).filter(|pending| pending.event.eid == eid)
    }

    fn give_up(&mut self, origin: Option<Origin>, waiters: Vec<Done>, error: &ReplyError, answers: &mut Answers) {
        if let Some(origin) = origin {
            self.windows.remove(origin);
        }
        self.rejected += 1;
        answers.extend(waiters.into_iter().map(|done| (done, Err(error.clone()))));
    }
}
