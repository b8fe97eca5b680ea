//! Publishes without an answer, in the order they were made.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use throughline_wire::event::Body;
use throughline_wire::message::ClientMessage;

use super::event::{ClientSettings, PublishError};

#[derive(Debug)]
struct Waiting {
    /// What the caller knows it by.
    id: u64,
    /// Its publish number; zero until it was first sent. Given late, so that the ids of a session only ever increase,
    /// though subscribing again on a new link takes ids while publishes wait.
    number: u64,
    channel: Box<str>,
    body: Body,
    persistent: Option<bool>,
    weight: usize,
}

/// The queue. Its front part has been sent on the current link.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    waiting: VecDeque<Waiting>,
    /// How many of the front were sent on this link.
    sent: usize,
    bytes: usize,
    last_id: u64,
    /// The server said that it takes no more on this link.
    held: bool,
}

impl Publishes {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(
        &mut self,
        settings: &ClientSettings,
        channel: &str,
        body: Body,
        persistent: Option<bool>,
    ) -> Result<u64, PublishError> {
        let weight = body.weight().saturating_add(channel.len());
        let over = self.bytes.saturating_add(weight) > settings.queue_bytes_max && !self.waiting.is_empty();
        if over || self.waiting.len() >= settings.queue_publishes_max {
            return Err(PublishError::Full { publishes: self.waiting.len(), bytes: self.bytes });
        }
        self.bytes += weight;
        self.last_id += 1;
        let id = self.last_id;
        self.waiting.push_back(Waiting { id, number: 0, channel: channel.into(), body, persistent, weight });
        Ok(id)
    }

    /// A new link: all are to be sent again.
    pub(super) const fn rewind(&mut self) {
        self.sent = 0;
        self.held = false;
    }

    /// True while one that was sent on this link has no answer.
    pub(super) const fn awaits(&self) -> bool {
        self.sent > 0 && !self.held
    }

    /// Nothing more is to be sent on this link.
    pub(super) const fn hold(&mut self) {
        self.held = true;
    }

    /// The next to be sent, while fewer than `window` are unanswered.
    pub(super) fn next(&mut self, window: u64, last_number: &mut u64) -> Option<ClientMessage> {
        if self.held || self.sent as u64 >= window.max(1) {
            return None;
        }
        let next = self.waiting.get_mut(self.sent)?;
        self.sent += 1;
        if next.number == 0 {
            *last_number += 1;
            next.number = *last_number;
        }
        Some(ClientMessage::Publish {
            id: next.number,
            channel: next.channel.clone(),
            body: next.body.clone(),
            persistent: next.persistent,
        })
    }

    /// True when publish number `number` was sent on this link and has no answer.
    pub(super) fn is_sent(&self, number: u64) -> bool {
        self.position(number).is_some()
    }

    /// Takes out the publish that was sent as `number` on this link; gives its id.
    pub(super) fn answered(&mut self, number: u64) -> Option<u64> {
        let done = self.waiting.remove(self.position(number)?)?;
        self.sent -= 1;
        self.bytes -= done.weight;
        Some(done.id)
    }

    fn position(&self, number: u64) -> Option<usize> {
        let found = self.waiting.partition_point(|w| w.number != 0 && w.number < number);
        let hit = self.waiting.get(found).is_some_and(|w| w.number == number);
        (hit && found < self.sent).then_some(found)
    }

    /// Takes out the first one that was never sent and whose data are over `limit`.
    pub(super) fn too_large(&mut self, limit: u64) -> Option<(u64, usize)> {
        let fresh = self.waiting.partition_point(|w| w.number != 0);
        let found = self.waiting.range(fresh..).position(|w| w.body.data.len() as u64 > limit)?;
        let done = self.waiting.remove(fresh + found)?;
        self.bytes -= done.weight;
        Some((done.id, done.body.data.len()))
    }

    /// Takes out the first one, whatever became of it; true when it had been sent on any link.
    pub(super) fn abandon(&mut self) -> Option<(u64, bool)> {
        let first = self.waiting.pop_front()?;
        self.sent = self.sent.saturating_sub(1);
        self.bytes -= first.weight;
        Some((first.id, first.number != 0))
    }
}
