//! What is under way on a connection of HTTP/2: when nothing has been for a while it is closed, and when its client takes
//! nothing of an answer it is ended.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::pipe::{Far, Watch};
use crate::waiting::Wait;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Streams {
    /// How long a connection may have nothing to do.
    idle: Duration,
    /// How long a client may take nothing of an answer.
    patience: Duration,
    open: RefCell<HashMap<u64, State>>,
    next: Cell<u64>,
    /// When the last stream ended.
    since: Cell<Instant>,
    changed: Notify,
    /// The connection is waited for while none of its streams waits for the realm.
    wait: Rc<Wait>,
}

#[derive(Debug)]
enum State {
    /// The request is not whole.
    Coming,
    /// The answer is not there yet.
    Asked,
    /// When the client last took something of the answer.
    Answered(Instant),
    /// And whether the link was over, and the client had not taken the rest, when it was looked at last.
    Link(Watch, bool),
}

impl Streams {
    pub(super) fn new(idle: Duration, patience: Duration, wait: Rc<Wait>) -> Streams {
        let (open, next, since) = (RefCell::default(), Cell::new(0), Cell::new(Instant::now()));
        Streams { idle, patience, open, next, since, changed: Notify::new(), wait }
    }

    /// Counts a stream, until the ticket is dropped.
    pub(super) fn ticket(self: &Rc<Self>) -> Ticket {
        let id = self.next.get();
        self.next.set(id + 1);
        self.set(id, State::Coming);
        Ticket { streams: Rc::clone(self), id }
    }

    fn set(&self, id: u64, state: State) {
        self.open.borrow_mut().insert(id, state);
        self.look();
    }

    fn look(&self) {
        match self.open.borrow().values().any(|state| matches!(state, State::Asked | State::Link(..))) {
            true => self.wait.end(),
            false => self.wait.begin(),
        }
    }

    /// Counts the time without streams from now.
    pub(super) fn begin_rest(&self) {
        self.since.set(Instant::now());
    }

    /// When something will have waited too long.
    fn deadline(&self) -> Option<Instant> {
        let open = self.open.borrow();
        if open.is_empty() {
            return Some(self.since.get() + self.idle);
        }
        let answered = |state: &State| match state {
            State::Answered(moved) => Some(*moved + self.patience),
            State::Coming | State::Asked | State::Link(..) => None,
        };
        open.values().filter_map(answered).min()
    }

    /// True when a link has been over since the last look, and its client has not taken the rest.
    fn finds_left(&self) -> bool {
        let mut found = false;
        for state in self.open.borrow_mut().values_mut() {
            if let State::Link(watch, before) = state {
                let left = watch.is_left();
                found |= left && *before;
                *before = left;
            }
        }
        found
    }

    /// Ready when the connection has had nothing to do for too long; an error when its client takes nothing.
    pub(super) async fn judge(&self) -> io::Result<()> {
        let mut look = Instant::now() + self.patience;
        loop {
            let at = self.deadline().map_or(look, |at| at.min(look));
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.changed.notified() => continue,
            }
            let now = Instant::now();
            let left = now >= look && self.finds_left();
            if left || self.deadline().is_some_and(|at| at <= now) {
                break;
            }
            if now >= look {
                look = now + self.patience;
            }
        }
        if self.open.borrow().is_empty() {
            return Ok(());
        }
        let text = "the client took nothing of an answer in time (timeouts.body_ms)";
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }
}

/// A stream that is under way.
#[derive(Debug)]
pub(super) struct Ticket {
    streams: Rc<Streams>,
    id: u64,
}

impl Ticket {
    fn set(&self, state: State) {
        self.streams.set(self.id, state);
    }

    /// What is to be called when the request is whole.
    pub(super) fn whole(&self) -> impl FnOnce() + use<> {
        let (streams, id) = (Rc::clone(&self.streams), self.id);
        move || {
            if matches!(streams.open.borrow().get(&id), Some(State::Coming)) {
                streams.set(id, State::Asked);
            }
        }
    }

    /// The client takes the answer: a part of it was asked for.
    pub(super) fn moved(&self) {
        self.set(State::Answered(Instant::now()));
    }

    /// The stream is a link's.
    pub(super) fn carries(&self, far: &Far) {
        self.set(State::Link(far.watch(), false));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let none = {
            let mut open = self.streams.open.borrow_mut();
            open.remove(&self.id);
            open.is_empty()
        };
        self.streams.look();
        if none {
            self.streams.since.set(Instant::now());
            self.streams.changed.notify_one();
        }
    }
}
