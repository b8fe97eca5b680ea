//! Where the links of the HTTP transports are: their requests come on any connection, so on any shard's thread.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::share::PollBytes;
use super::slot::PollSlot;
use crate::shard::{LinkId, Mailbox};

/// How to reach a link.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) link: LinkId,
    /// Only links on polls have one.
    pub(crate) slot: Option<Arc<PollSlot>>,
}

/// The links of a realm by the ids that their clients drew.
#[derive(Debug)]
pub(crate) struct Directory {
    state: Mutex<State>,
    polls: AtomicU64,
    poll_bytes: Arc<PollBytes>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while a link is being opened.
    links: HashMap<u128, Option<Place>>,
    /// Links whose requests came before them.
    awaited: HashMap<u128, Awaited>,
}

#[derive(Debug, Default)]
struct Awaited {
    opened: Arc<Notify>,
    /// How many requests wait.
    requests: usize,
}

impl Directory {
    /// Of a realm whose links on polls, at most `poll_links_max`, hold at most `poll_bytes_max` bytes of answers.
    pub(crate) fn new(poll_bytes_max: u64, poll_links_max: u64) -> Directory {
        let poll_bytes = Arc::new(PollBytes::new(poll_bytes_max, poll_links_max));
        Directory { state: Mutex::default(), polls: AtomicU64::new(0), poll_bytes }
    }

    /// A slot for a link on polls.
    pub(crate) fn slot(&self) -> Arc<PollSlot> {
        Arc::new(PollSlot::new(Arc::clone(&self.poll_bytes)))
    }

    /// Makes room for links on polls that wait for it, once a second: ends those that hold it and acknowledge nothing. Gives how
    /// many.
    pub(crate) fn sweep(&self) -> u64 {
        if !self.poll_bytes.is_short() {
            return 0;
        }
        let slots: Vec<_> = self.state().links.values().flatten().filter_map(|place| place.slot.clone()).collect();
        let ended = slots.iter().filter(|slot| slot.sweep()).count();
        self.poll_bytes.wake(slots.len());
        ended as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an id for a link that is to be opened; `None` when there is such a link.
    pub(crate) fn reserve(self: &Arc<Self>, id: u128) -> Option<Reserved> {
        match self.state().links.entry(id) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                entry.insert(None);
                Some(Reserved { directory: Arc::clone(self), id, poll: false })
            }
        }
    }

    /// A link that is open.
    pub(crate) fn find(&self, id: u128) -> Option<Place> {
        self.state().links.get(&id)?.clone()
    }

    /// A link that is open, or is within `patience`.
    pub(crate) async fn wait_for(&self, id: u128, patience: Duration) -> Option<Place> {
        let waiting = {
            let mut state = self.state();
            if let Some(Some(place)) = state.links.get(&id) {
                return Some(place.clone());
            }
            let awaited = state.awaited.entry(id).or_default();
            awaited.requests += 1;
            Waiting { directory: self, id, opened: Arc::clone(&awaited.opened) }
        };
        // Permits are kept for one waiter only, so each passes it on.
        if tokio::time::timeout(patience, waiting.opened.notified()).await.is_ok() {
            waiting.opened.notify_one();
        }
        self.find(id)
    }
}

/// A request that waits for its link.
struct Waiting<'a> {
    directory: &'a Directory,
    id: u128,
    opened: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.directory.state();
        let Entry::Occupied(mut entry) = state.awaited.entry(self.id) else { return };
        // The link may have come and gone, and others wait for the next one.
        if Arc::ptr_eq(&entry.get().opened, &self.opened) {
            entry.get_mut().requests -= 1;
            if entry.get().requests == 0 {
                entry.remove();
            }
        }
    }
}

/// A link's id, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    directory: Arc<Directory>,
    id: u128,
    poll: bool,
}

impl Reserved {
    /// Counts this as a link on polls; false when there are `max` already.
    pub(crate) fn count_poll(&mut self, max: u64) -> bool {
        let before = self.directory.polls.fetch_add(1, Ordering::Relaxed);
        self.poll = true;
        before < max
    }

    /// The link is open: requests may reach it.
    pub(crate) fn fill(&self, place: Place) {
        let mut state = self.directory.state();
        state.links.insert(self.id, Some(place));
        if let Some(waiting) = state.awaited.remove(&self.id) {
            waiting.opened.notify_one();
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.directory.state().links.remove(&self.id);
        if self.poll {
            self.directory.polls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let mailbox = Arc::new(Mailbox::new(|| ()));
        Place { mailbox, link: LinkId { key: 1, generation: 2 }, slot: None }
    }

    #[test]
    fn an_id_names_one_link_at_a_time() {
        let directory = Arc::new(Directory::new(1 << 20, 8));
        let reserved = directory.reserve(7).unwrap();
        assert!(directory.find(7).is_none(), "it is being opened");
        assert!(directory.reserve(7).is_none());
        reserved.fill(place());
        assert_eq!(directory.find(7).unwrap().link, place().link);
        drop(reserved);
        assert!(directory.find(7).is_none());
        assert!(directory.reserve(7).is_some());
    }

    #[test]
    fn polls_are_counted_while_they_live() {
        let directory = Arc::new(Directory::new(1 << 20, 8));
        let mut one = directory.reserve(1).unwrap();
        let mut two = directory.reserve(2).unwrap();
        assert!(one.count_poll(1));
        assert!(!two.count_poll(1));
        drop((one, two));
        assert!(directory.reserve(3).unwrap().count_poll(1));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_their_link_and_not_for_ever() {
        let directory = Arc::new(Directory::new(1 << 20, 8));
        let patience = Duration::from_secs(2);
        assert!(directory.wait_for(7, patience).await.is_none());
        let open = async {
            tokio::task::yield_now().await;
            let reserved = directory.reserve(7).unwrap();
            reserved.fill(place());
            reserved
        };
        let (first, second, reserved) =
            tokio::join!(directory.wait_for(7, patience), directory.wait_for(7, patience), open);
        assert!(first.is_some() && second.is_some());
        let (first, second) = tokio::join!(directory.wait_for(8, patience), directory.wait_for(8, patience));
        assert!(first.is_none() && second.is_none());
        assert!(directory.wait_for(7, patience).await.is_some());
        drop(reserved);
        assert!(directory.state().awaited.is_empty(), "nothing is left of the waiting");
    }
}
