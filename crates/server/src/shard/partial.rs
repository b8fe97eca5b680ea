//! What clients have begun to say and not finished: bounded over all links of a realm.
//!
//! A message that arrives is finished within a moment; one that is kept unfinished on purpose grows old. So when the bound is
//! passed, the links whose messages have been unfinished for longest are closed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use throughline_wire::close::CloseCode;
use throughline_wire::message::CloseReason;

use super::link::Inlet;
use super::{LinkId, Now, Shard, Sock};
use crate::budget::Budget;

/// The unfinished messages of one shard.
#[derive(Debug)]
pub(super) struct Partials {
    budget: Arc<Budget>,
    held: HashMap<LinkId, Held>,
    /// The same by the time they began, oldest first.
    order: BTreeMap<u64, LinkId>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    bytes: usize,
    began: u64,
}

impl Partials {
    pub(super) fn new(budget: Arc<Budget>) -> Partials {
        Partials { budget, held: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// A link holds `bytes` now; `another` when this is not the message of the last time.
    fn note(&mut self, id: LinkId, bytes: usize, another: bool) {
        let before = self.held.get(&id).copied();
        if let Some(held) = before.filter(|_| another || bytes == 0) {
            self.order.remove(&held.began);
            self.held.remove(&id);
        }
        self.budget.add(bytes);
        self.budget.give_back(before.map_or(0, |held| held.bytes));
        if bytes == 0 {
            return;
        }
        let next = &mut self.next;
        let order = &mut self.order;
        let held = self.held.entry(id).or_insert_with(|| {
            *next += 1;
            order.insert(*next, id);
            Held { bytes, began: *next }
        });
        held.bytes = bytes;
    }

    /// Nothing of a link is held any more.
    pub(super) fn forget(&mut self, id: LinkId) {
        if !self.held.is_empty() {
            self.note(id, 0, false);
        }
    }

    #[cfg(test)]
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    fn oldest(&self) -> Option<LinkId> {
        self.order.first_key_value().map(|(_, id)| *id)
    }
}

impl<S: Sock> Shard<S> {
    /// Accounts for what a link holds after it was given bytes; `finished` when they ended a message. The bound is passed by
    /// what one read or piece adds, until this has closed others.
    pub(super) fn account_partial(&mut self, now: Now, id: LinkId, finished: bool) {
        let bytes = self.link_mut(id).map_or(0, |link| link.inlet.partial_bytes());
        if bytes == 0 && self.partials.held.is_empty() {
            return;
        }
        self.partials.note(id, bytes, finished);
        while self.partials.budget.is_passed() {
            let Some(oldest) = self.partials.oldest() else { return };
            self.partials.forget(oldest);
            self.counts.partials_refused.inc();
            let max = self.partials.budget.max();
            let reason =
                format!("limits.partial_bytes_max = {max} is reached; this link's message was unfinished longest");
            self.close(now, oldest, CloseReason::new(CloseCode::Overloaded, reason), false);
            if let Some(link) = self.link_mut(oldest) {
                link.inlet.clear();
            }
        }
    }
}

impl Inlet {
    /// Memory that the beginning of a message takes, bytes.
    fn partial_bytes(&self) -> usize {
        match self {
            Inlet::WebSocket { decoder, .. } => decoder.partial_bytes(),
            Inlet::Hixie(decoder) => decoder.partial_bytes(),
            Inlet::Http(uplink) => uplink.partial_bytes(),
        }
    }

    /// Forgets it, on a link that takes nothing more.
    fn clear(&mut self) {
        match self {
            Inlet::WebSocket { decoder, .. } => decoder.clear(),
            Inlet::Hixie(decoder) => **decoder = throughline_wire::hixie::Decoder::new(),
            Inlet::Http(uplink) => uplink.clear(),
        }
    }
}
