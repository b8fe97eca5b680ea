//! What a channel does with time, and how it ends.

use super::{Channel, Closed, State};
use crate::types::ReadLimit;
use crate::window::{Forgotten, Windows};

/// Turns come once a second.
const TICK_MS: u64 = 1_000;
/// How much of the disk is read at once to know its oldest events.
const INDEX_READ: ReadLimit = ReadLimit { events: 4_096, bytes: 8 << 20 };

impl Channel {
    /// Removes the oldest events whose time has passed.
    pub(super) fn expire_front(&self, state: &mut State, now: u64) {
        if state.log.front_expires() <= now {
            let before = state.log.memory;
            state.log.enforce(now);
            self.publish_state(state, before);
            self.schedule_upkeep(state, now);
        }
    }

    /// Asks for a turn at `due` or a little later, unless an earlier one is coming.
    pub(super) fn schedule(&self, state: &mut State, due: u64) {
        let due = due.div_ceil(TICK_MS).saturating_mul(TICK_MS);
        if due < state.due && !state.unreadable() {
            self.shared.agenda.put(state.due, due, self.number, self.this.clone());
            state.due = due;
        }
    }

    pub(super) fn schedule_upkeep(&self, state: &mut State, now: u64) {
        let expires = state.log.front_expires();
        if expires < state.due {
            self.schedule(state, expires);
        }
        let soon = now.saturating_add(TICK_MS);
        if soon < state.due && (state.log.untrimmed() || state.wants_index() || self.wants_reserve(state)) {
            self.schedule(state, soon);
        }
    }

    /// The channel's turn that was due at `due`. May wait for the disk.
    pub(crate) fn turn(&self, due: u64, now: u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.due != due || state.unreadable() {
            return;
        }
        state.due = u64::MAX;
        self.expire_front(state, now);
        if let Some(through) = state.log.trim(true) {
            self.shared.store.trim(self.number, through);
        }
        if state.windows_due <= now {
            let memory = self.shared.settings.publish_memory_ms;
            let forgotten = state.windows.forget(now.saturating_sub(memory));
            self.forgotten(state, forgotten);
            let next = now.saturating_add((memory / 8).max(TICK_MS));
            state.windows_due = if state.windows.is_empty() { u64::MAX } else { next };
        }
        // A fault of the disk is told to the publisher who finds no EID left.
        self.reserve(state);
        drop(guard);
        self.fill_index(now);
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.windows_due != u64::MAX {
            self.schedule(state, state.windows_due);
        }
        self.schedule_upkeep(state, now);
    }

    /// Brings a channel that was found on disk within its limits, and has its publish numbers forgotten in time.
    pub(crate) fn restored(&self, now: u64) {
        self.fill_index(now);
        let mut guard = self.lock();
        let state = &mut *guard;
        self.settle_windows(state);
        if !state.windows.is_empty() {
            state.windows_due = now;
            self.schedule(state, now);
        }
    }

    /// Learns from the disk which events the channel's limits will remove next. Waits for the disk, once in some thousand events
    /// and only on channels that were filled before the realm's start, or hold more events than the index.
    pub(crate) fn fill_index(&self, now: u64) {
        loop {
            let after = {
                let mut state = self.lock();
                if state.indexing || !state.wants_index() {
                    return;
                }
                state.indexing = true;
                state.log.index_end()
            };
            let stored = self.read_disk(after, INDEX_READ);
            let mut guard = self.lock();
            let state = &mut *guard;
            state.indexing = false;
            // Without an answer of the disk the channel stays over its limits until the next attempt.
            let Ok(stored) = stored else { return };
            let before = state.log.memory;
            state.log.extend_index(&stored.events, stored.coverage);
            state.log.enforce(now);
            self.publish_state(state, before);
            self.schedule_upkeep(state, now);
        }
    }

    /// Undoes [`Channel::close`] of a deletion that failed.
    pub(crate) fn reopen(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.closed = None;
        // A turn that came up in the meantime was passed over, and who came to read found nothing.
        self.leave_agenda(state);
        self.schedule(state, 0);
        let notices = state.notices();
        drop(guard);
        self.tell(notices);
    }

    fn leave_agenda(&self, state: &mut State) {
        self.shared.agenda.remove(state.due, self.number);
        state.due = u64::MAX;
    }

    /// The channel is gone: ends what is under way, frees what it held and tells who waits and who watches.
    pub(crate) fn end(&self, closed: Closed) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let error = self.closed_error(&closed);
        state.closed = Some(closed);
        self.leave_agenda(state);
        let answers = self.abandon(state, &error);
        let waiters = state.creating.take().unwrap_or_default();
        let before = state.log.memory;
        state.log.clear();
        state.windows = Windows::default();
        self.settle_windows(state);
        self.shared.retain(before, state.log.memory);
        let watches = std::mem::take(&mut state.watches);
        drop(guard);
        for waiter in waiters {
            waiter(Err(error.clone()));
        }
        for watch in watches {
            watch.watcher.deleted(self.number);
        }
        for answer in answers {
            answer();
        }
    }

    /// Bytes of its events in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.lock().log.memory
    }

    /// Gives up about `bytes` of memory, the newest event too. Gives what became free.
    pub(crate) fn shed(&self, bytes: u64) -> u64 {
        let mut state = self.lock();
        let before = state.log.memory;
        state.log.shed(bytes, true);
        self.shared.retain(before, state.log.memory);
        before - state.log.memory
    }

    /// Bytes of its publish numbers.
    pub(crate) fn publish_memory(&self) -> u64 {
        self.lock().windows.bytes()
    }

    /// Forgets the oldest sessions, about `bytes` of them. Gives what became free.
    pub(crate) fn shed_windows(&self, bytes: u64) -> u64 {
        let mut guard = self.lock();
        let state = &mut *guard;
        let before = state.windows.bytes();
        let forgotten = state.windows.shed(bytes);
        self.forgotten(state, forgotten);
        before - state.windows.bytes()
    }

    /// Between the realm's turns a channel whose publishers bring session after session bounds itself.
    pub(super) fn shed_excess_windows(&self, state: &mut State) {
        let (max, bytes) = (self.shared.settings.publish_memory_bytes_max, state.windows.bytes());
        if bytes > max / 16 && self.shared.remembered() > max.saturating_add(max / 16) {
            let forgotten = state.windows.shed(bytes / 8);
            self.forgotten(state, forgotten);
        }
    }

    fn forgotten(&self, state: &mut State, sessions: Vec<Forgotten>) {
        self.settle_windows(state);
        if self.attributes.kind.on_disk() && !sessions.is_empty() {
            self.shared.store.forget(self.number, sessions);
        }
    }

    pub(super) fn settle_windows(&self, state: &mut State) {
        let bytes = state.windows.bytes();
        self.shared.remember(state.windows_bytes, bytes);
        state.windows_bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use throughline_wire::event::{Body, Data};
    use throughline_wire::message::{ErrorCode, From};

    use super::*;
    use crate::memory::MemoryStore;
    use crate::{ChannelAttributes, ChannelKind, Engine, Publish, Settings, Watcher};

    #[derive(Default)]
    struct Ends(AtomicUsize);

    impl Watcher for Ends {
        fn dirty(&self, _channel: u32) {}

        fn deleted(&self, _channel: u32) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Between the question to the disk and its answer nobody can tell whether the channel ends.
    #[test]
    fn who_comes_to_a_channel_while_it_is_being_deleted_is_told_what_became_of_it() {
        let engine = Engine::open(Settings::default(), MemoryStore::manual(), &[], 1, 0).unwrap();
        let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
        let channel = engine.create("c", attributes, 0).unwrap().channel();
        let ends = Arc::new(Ends::default());
        let watcher = engine.register(Arc::clone(&ends) as Arc<dyn Watcher>);
        channel.close(Closed::Deleting);
        channel.watch(watcher);
        assert!(channel.position(From::New, 0).is_ok());
        let body = Body::new(Data::text("x"));
        let publish = Publish { channel: Arc::clone(&channel), origin: None, body, persistent: None };
        let refused = engine.publish(publish.clone(), 0, |_| {}).unwrap().unwrap_err();
        assert!(refused.is(ErrorCode::Overloaded));
        channel.reopen();
        assert_eq!(ends.0.load(Ordering::SeqCst), 0);
        assert!(engine.publish(publish, 0, |_| {}).is_none());
        engine.delete("c").unwrap();
        assert_eq!(ends.0.load(Ordering::SeqCst), 1);
        assert!(channel.position(From::New, 0).unwrap_err().is(ErrorCode::ChannelDeleted));
    }
}
