//! Bodies under way, of requests and of answers: bounded in bytes over all of a realm.
//!
//! A body arrives within a moment; one that is kept unfinished on purpose grows old. So when the bound is passed, the bodies
//! that have been unfinished longest are given up, and nobody keeps others out by sending slowly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use throughline_wire::message::{ErrorCode, ReplyError};
use tokio::sync::Notify;

use super::answer::Fault;
use crate::budget::Budget;

/// The bodies of a realm's requests.
#[derive(Debug)]
pub(super) struct Bodies {
    budget: Budget,
    unfinished: Mutex<Unfinished>,
}

#[derive(Debug, Default)]
struct Unfinished {
    next: u64,
    /// In the order in which they began.
    bodies: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    given_up: Arc<Notify>,
}

impl Bodies {
    pub(super) fn new(max: u64) -> Bodies {
        Bodies { budget: Budget::new(max), unfinished: Mutex::default() }
    }

    /// A body that begins.
    pub(super) fn begin(&self) -> Held<'_> {
        let mut unfinished = self.lock();
        let number = unfinished.next;
        unfinished.next += 1;
        let given_up = Arc::new(Notify::new());
        unfinished.bodies.insert(number, Entry { bytes: 0, given_up: Arc::clone(&given_up) });
        Held { bodies: self, number, given_up, whole: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Unfinished> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn overloaded(&self) -> Fault {
        let max = self.budget.max();
        let message = format!("requests under way hold limits.pending_bytes_max = {max} bytes; repeat later");
        ReplyError::limit(ErrorCode::Overloaded, message, max).into()
    }

    #[cfg(test)]
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }
}

/// What is there of one body, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    bodies: &'a Bodies,
    number: u64,
    given_up: Arc<Notify>,
    /// Bytes of a body that has come whole.
    whole: usize,
}

impl Held<'_> {
    /// Counts bytes that have come; all so far. Fails when this body has to make room.
    pub(super) fn add(&self, bytes: usize) -> Result<u64, Fault> {
        let Bodies { budget, .. } = self.bodies;
        let mut unfinished = self.bodies.lock();
        let entry = unfinished.bodies.get_mut(&self.number).ok_or_else(|| self.bodies.overloaded())?;
        budget.add(bytes);
        entry.bytes += bytes;
        let sum = entry.bytes as u64;
        while budget.is_passed() {
            let Some((number, entry)) = unfinished.bodies.pop_first() else { break };
            budget.give_back(entry.bytes);
            entry.given_up.notify_one();
            if number == self.number {
                return Err(self.bodies.overloaded());
            }
        }
        Ok(sum)
    }

    /// Resolves, with the fault, when this body has to make room.
    pub(super) async fn given_up(&self) -> Fault {
        self.given_up.notified().await;
        self.bodies.overloaded()
    }

    /// It has come whole, and is not given up any more.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let entry = self.bodies.lock().bodies.remove(&self.number).ok_or_else(|| self.bodies.overloaded())?;
        self.whole = entry.bytes;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let entry = self.bodies.lock().bodies.remove(&self.number);
        self.bodies.budget.give_back(self.whole + entry.map_or(0, |entry| entry.bytes));
    }
}

/// Bytes of an answer, counted until all of it was sent or its connection is gone.
struct Counted {
    bytes: Box<[u8]>,
    budget: Arc<Budget>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes.len());
    }
}

/// An answer that counts among those under way. Alone it may be as large as it likes: what is repeated later is no smaller then.
///
/// # Errors
/// `overloaded` when these would hold more than the budget.
pub(super) fn counted(budget: &Arc<Budget>, bytes: Vec<u8>) -> Result<Bytes, Fault> {
    let bytes = bytes.into_boxed_slice();
    if budget.take_alone(bytes.len()) {
        return Ok(Bytes::from_owner(Counted { bytes, budget: Arc::clone(budget) }));
    }
    let max = budget.max();
    let message = format!("answers under way hold limits.answer_bytes_max = {max} bytes; repeat later");
    Err(ReplyError::limit(ErrorCode::Overloaded, message, max).into())
}
