//! What a channel has the disk remember of itself: that it is there, and on `mixed` channels which EIDs may have been given out.
//! Nobody waits for that in here: what depends on it is answered when the disk has answered.

use std::sync::Arc;

use throughline_wire::event::Eid;
use throughline_wire::message::ReplyError;

use super::{Channel, Closed, State};
use crate::error::store_error;
use crate::store::{ChannelRecord, Done, StoreError};
use crate::types::ChannelKind;

/// EIDs of a `mixed` channel that the disk remembers as given out at once. The disk is asked again when half of them
/// are used, at the next second; a publish waits for it only when all are used by then, and after a start once.
const RESERVE_EIDS: u64 = 131_072;

/// Told whether a channel has come to be.
pub(super) type Waiter = Box<dyn FnOnce(Result<(), ReplyError>) + Send>;

impl Channel {
    /// Has the disk remember a new channel, a `mixed` one with its first EIDs reserved. Until [`Channel::recorded`] it is being created:
    /// it takes events, and answers and shows none.
    pub(crate) fn record_new(&self, done: Done) {
        let mut state = self.lock();
        state.creating = Some(Vec::new());
        state.recording = true;
        self.shared.store.put_channel(self.record(self.first_reserved()), done);
    }

    pub(crate) fn first_reserved(&self) -> Eid {
        if self.attributes.kind == ChannelKind::Mixed { Eid(RESERVE_EIDS) } else { Eid::NONE }
    }

    pub(super) fn wants_reserve(&self, state: &State) -> bool {
        self.attributes.kind == ChannelKind::Mixed
            && state.closed.is_none()
            && !state.recording
            && state.reserved.0.saturating_sub(state.assigned.0) < RESERVE_EIDS / 2
    }

    /// Asks the disk to remember the next EIDs of a `mixed` channel as given out, unless it is asked already or has enough.
    pub(super) fn reserve(&self, state: &mut State) {
        let Some(channel) = self.this.upgrade().filter(|_| self.wants_reserve(state)) else { return };
        state.recording = true;
        let reserved = Eid(state.assigned.0.saturating_add(RESERVE_EIDS));
        let reservation = Reservation { channel: Some(channel), reserved };
        self.shared.store.put_channel(self.record(reserved), Box::new(move |result| reservation.end(result)));
    }

    /// The disk's answer: it remembers the channel, and the EIDs up to `reserved` as given out, or has failed to.
    pub(crate) fn recorded(&self, reserved: Eid, result: &Result<(), StoreError>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.recording = false;
        if result.is_ok() {
            state.reserved = state.reserved.max(reserved);
        }
        let waiters = state.creating.take().unwrap_or_default();
        let beyond = match (result, &state.closed) {
            (Ok(()), None) => None,
            (Ok(()), Some(_)) => Some(Err(StoreError::Failed("the channel takes nothing more".to_owned()))),
            (Err(error), _) => Some(Err(error.clone())),
        };
        for pending in state.pending.iter_mut().filter(|pending| !pending.stored && pending.result.is_none()) {
            pending.result = if pending.event.eid <= state.reserved { Some(Ok(())) } else { beyond.clone() };
        }
        if state.pending.iter().any(|pending| !pending.stored && pending.result.is_none()) {
            self.reserve(state);
        }
        let released = self.release(state);
        drop(guard);
        for waiter in waiters {
            waiter(Ok(()));
        }
        self.announce(released);
    }

    pub(crate) fn record(&self, reserved: Eid) -> ChannelRecord {
        ChannelRecord {
            number: self.number,
            name: self.name.clone(),
            attributes: self.attributes,
            epoch: self.epoch,
            reserved,
        }
    }

    /// True while the disk is being asked to remember the channel.
    pub(crate) fn is_being_created(&self) -> bool {
        self.lock().creating.is_some()
    }

    /// Has `waiter` told what becomes of a channel that is being created: from the store's thread, so it must only take a note. It is told
    /// before anything can be read. False, and it is not told, when the channel is not being created (any more). Fails with `store_full`,
    /// `store_failed`: there is no such channel then.
    pub fn await_creation(&self, waiter: impl FnOnce(Result<(), ReplyError>) + Send + 'static) -> bool {
        match &mut self.lock().creating {
            Some(waiters) => {
                waiters.push(Box::new(waiter));
                true
            }
            None => false,
        }
    }

    /// What became of a new channel, once the store has answered everything.
    pub(crate) fn creation(&self) -> Result<(), ReplyError> {
        let state = self.lock();
        match &state.closed {
            Some(Closed::Uncreated(fault)) => Err(store_error(fault)),
            _ if state.creating.is_some() => Err(store_error(&StoreError::Failed("the store has ended".to_owned()))),
            _ => Ok(()),
        }
    }

    /// Takes nothing more. On a stop, the disk is told exactly which EIDs were given out.
    pub(crate) fn close(&self, closed: Closed) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let stopping = closed == Closed::Stopping;
        state.closed = Some(closed);
        if let Some(through) = state.log.trim(stopping) {
            self.shared.store.trim(self.number, through);
        }
        let reserved = state.recording || state.reserved > state.assigned;
        if stopping && self.attributes.kind == ChannelKind::Mixed && reserved && state.creating.is_none() {
            // A fault leaves EIDs reserved, as a crash does.
            self.shared.store.put_channel(self.record(state.assigned), Box::new(|_| ()));
        }
    }
}

/// Reports the end of a reservation, also when the store drops it.
struct Reservation {
    channel: Option<Arc<Channel>>,
    reserved: Eid,
}

impl Reservation {
    fn end(mut self, result: Result<(), StoreError>) {
        if let Some(channel) = self.channel.take() {
            channel.recorded(self.reserved, &result);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            let given_up = StoreError::Failed("the store gave the channel's record up".to_owned());
            channel.recorded(self.reserved, &Err(given_up));
        }
    }
}
