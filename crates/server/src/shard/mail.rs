//! What reaches a shard from other threads.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use throughline_engine::store::StoreError;
use throughline_engine::{Page, Published, Watcher};
use throughline_wire::event::Eid;
use throughline_wire::message::ReplyError;

use super::{LinkId, PieceDone};

/// A note to a shard.
#[derive(Debug)]
pub enum Mail {
    /// A channel has something new.
    Dirty(u32),
    /// A channel is gone.
    Deleted(u32),
    /// A client lives: one of its polls came.
    Heard(LinkId),
    /// A piece of a link's uplink came: see [`Shard::on_piece`](super::Shard::on_piece).
    Piece {
        /// The link.
        link: LinkId,
        /// The piece's number.
        number: u64,
        /// What it holds.
        bytes: Bytes,
        /// Who is told.
        done: PieceDone,
    },
    /// What is left of a piece can be taken.
    Onward(LinkId),
    /// The disk has answered whether it takes a channel that was being created.
    Created {
        /// A link with requests that wait for that.
        link: LinkId,
        /// Channel number.
        channel: u32,
        /// What became of it.
        result: Result<(), ReplyError>,
    },
    /// A publish that had to wait for the disk was decided.
    Published {
        /// The link it came from.
        link: LinkId,
        /// Its publish number.
        id: u64,
        /// Bytes it held in flight.
        weight: usize,
        /// What became of it.
        result: Result<Published, ReplyError>,
    },
    /// A page of stored events that a [`ReadRequest`](super::ReadRequest) asked for.
    Stored {
        /// The link that catches up.
        link: LinkId,
        /// Channel number.
        channel: u32,
        /// The cursor that was asked for.
        after: Eid,
        /// What the disk gave.
        page: Result<Page, StoreError>,
    },
}

/// Takes notes from any thread and wakes the shard's own.
pub struct Mailbox {
    notes: Mutex<Vec<Mail>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl Mailbox {
    /// `wake` is called after a note was put into an empty box; it must not wait.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Mailbox {
        Mailbox { notes: Mutex::new(Vec::new()), wake: Box::new(wake) }
    }

    /// Leaves a note.
    pub fn put(&self, mail: Mail) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let first = notes.is_empty();
        notes.push(mail);
        drop(notes);
        if first {
            (self.wake)();
        }
    }

    /// Takes all notes, oldest first.
    pub fn take(&self) -> Vec<Mail> {
        let mut notes = Vec::new();
        self.take_into(&mut notes);
        notes
    }

    /// The same into an empty list, whose room is used for later notes.
    pub fn take_into(&self, notes: &mut Vec<Mail>) {
        std::mem::swap(notes, &mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Watcher for Mailbox {
    fn dirty(&self, channel: u32) {
        self.put(Mail::Dirty(channel));
    }

    fn deleted(&self, channel: u32) {
        self.put(Mail::Deleted(channel));
    }
}
