//! Subscriptions to channels that the disk has not taken yet. They stand at once, from where they were asked for, and what is said of
//! them is held back until the disk has answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use throughline_engine::Channel;
use throughline_wire::message::{ReplyError, ServerMessage};

use super::{LinkId, Mail, Shard, Sock};

/// What links will be told, by link and number of the channel.
pub(super) type Owed = BTreeMap<(LinkId, u32), Vec<ServerMessage>>;

impl<S: Sock> Shard<S> {
    /// True when what is said to a link of a channel has to be held back: see [`Shard::say`].
    pub(super) fn holds_back(&mut self, id: LinkId, channel: &Arc<Channel>) -> bool {
        let key = (id, channel.number());
        if self.owed.contains_key(&key) {
            return true;
        }
        let (mailbox, number) = (Arc::clone(&self.mailbox), channel.number());
        let note = move |result| mailbox.put(Mail::Created { link: id, channel: number, result });
        let waits = channel.await_creation(note);
        if waits {
            // For most there is one.
            self.owed.insert(key, Vec::with_capacity(1));
        }
        waits
    }

    /// Says something about a channel, behind what is held back. That counts as a request which waits for the disk.
    pub(super) fn say(&mut self, id: LinkId, channel: u32, message: ServerMessage) {
        let Some(owed) = self.owed.get_mut(&(id, channel)) else { return self.send(id, &message) };
        owed.push(message);
        if let Some(link) = self.link_mut(id) {
            link.inflight += 1;
        }
    }

    /// A link that is gone is told nothing.
    pub(super) fn forget_owed(&mut self, id: LinkId) {
        while let Some((&key, _)) = self.owed.range((id, 0)..=(id, u32::MAX)).next() {
            self.owed.remove(&key);
        }
    }

    /// The disk has answered: a link is told everything, or that every request has failed.
    pub(super) fn created(&mut self, id: LinkId, channel: u32, result: &Result<(), ReplyError>) {
        let owed = self.owed.remove(&(id, channel)).unwrap_or_default();
        if let Some(link) = self.link_mut(id) {
            link.inflight = link.inflight.saturating_sub(owed.len() as u32);
        }
        if let Some((link, index)) = self.subscription(id, channel) {
            link.subs[index].reading = false;
            if result.is_err() {
                self.drop_sub(id.key, index);
            }
        }
        for message in owed {
            match (message, result) {
                (message, Ok(())) => self.send(id, &message),
                (ServerMessage::Reply { id: request, .. }, Err(error)) => {
                    self.send(id, &ServerMessage::Reply { id: request, result: Err(error.clone()) });
                }
                _ => {}
            }
        }
        self.note_resumed(id);
    }
}
