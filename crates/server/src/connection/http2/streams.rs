//! What is under way on a connection of HTTP/2: when nothing has been for a while it is closed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::waiting::Wait;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Streams {
    /// How long a connection may have nothing to do.
    idle: Duration,
    open: Cell<usize>,
    /// How many of these wait for the realm.
    ours: Cell<usize>,
    /// When the last stream ended.
    since: Cell<Instant>,
    none: Notify,
    /// The connection is waited for while none of its streams waits for the realm.
    wait: Rc<Wait>,
}

/// Who has to do something next on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The client: its request is not whole.
    Request,
    /// The realm: it makes an answer, or the stream is a link's.
    Realm,
    /// The client: it has to take the answer.
    Answer,
}

impl Streams {
    pub(super) fn new(idle: Duration, wait: Rc<Wait>) -> Streams {
        let since = Cell::new(Instant::now());
        Streams { idle, open: Cell::default(), ours: Cell::default(), since, none: Notify::new(), wait }
    }

    /// Counts a stream, until the ticket is dropped.
    pub(super) fn ticket(self: &Rc<Self>) -> Ticket {
        self.open.set(self.open.get() + 1);
        Ticket(Rc::new(Place { streams: Rc::clone(self), turn: Cell::new(Turn::Request) }))
    }

    fn count_ours(&self, ours: usize) {
        self.ours.set(ours);
        if ours > 0 { self.wait.end() } else { self.wait.begin() }
    }

    /// Counts the time without streams from now.
    pub(super) fn begin_rest(&self) {
        self.since.set(Instant::now());
    }

    /// Ready when the connection has had nothing to do for too long.
    pub(super) async fn rest(&self) {
        loop {
            let at = self.since.get() + self.idle;
            if self.open.get() > 0 {
                self.none.notified().await;
            } else if at <= Instant::now() {
                return;
            } else {
                sleep_until(at).await;
            }
        }
    }
}

/// A stream that is under way.
#[derive(Debug)]
pub(super) struct Ticket(Rc<Place>);

#[derive(Debug)]
struct Place {
    streams: Rc<Streams>,
    turn: Cell<Turn>,
}

impl Place {
    fn give(&self, turn: Turn) {
        let before = self.turn.replace(turn);
        let ours = self.streams.ours.get() + usize::from(turn == Turn::Realm) - usize::from(before == Turn::Realm);
        self.streams.count_ours(ours);
    }
}

impl Ticket {
    /// What is to be called when the request is whole.
    pub(super) fn whole(&self) -> impl FnOnce() + use<> {
        let place = Rc::downgrade(&self.0);
        move || {
            if let Some(place) = place.upgrade().filter(|place| place.turn.get() == Turn::Request) {
                place.give(Turn::Realm);
            }
        }
    }

    /// The stream is a link's.
    pub(super) fn carries(&self) {
        self.0.give(Turn::Realm);
    }

    /// The answer is there.
    pub(super) fn answers(&self) {
        self.0.give(Turn::Answer);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answers();
        let streams = &self.0.streams;
        streams.open.set(streams.open.get() - 1);
        if streams.open.get() == 0 {
            streams.begin_rest();
            streams.none.notify_one();
        }
    }
}
