//! What the engine has asked for and the committer has not yet taken.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use throughline_engine::store::{Append, ChannelRecord, Done, StoreError};
use throughline_wire::event::{Eid, SessionId};

/// Where the outcome of a command that is waited for goes.
pub(crate) type Reply = SyncSender<Result<(), StoreError>>;

pub(crate) enum Command {
    Append(Append),
    PutChannel(ChannelRecord, Done),
    DeleteChannel(u32, Reply),
    Trim(u32, Eid),
    /// Forget windows of a channel unless they were used after these times.
    Drop(u32, Vec<(SessionId, u64)>),
    /// Forget these windows unless they were used at or after the time.
    Forget(Vec<(u32, SessionId)>, u64, Reply),
    /// Nothing but an answer behind those of all that was queued before.
    Settle(Reply),
    /// Close the database; everything later fails.
    Stop(Reply),
}

impl Command {
    /// When the event that it brings was accepted, milliseconds since 1970.
    pub(crate) fn accepted(&self) -> Option<u64> {
        match self {
            Command::Append(append) => Some(append.event.time),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Queued {
    commands: VecDeque<Command>,
    quit: bool,
}

/// A queue with one reader.
#[derive(Default)]
pub(crate) struct Queue {
    queued: Mutex<Queued>,
    wake: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, command: Command) {
        self.lock().commands.push_back(command);
        self.wake.notify_one();
    }

    /// Ends the reader once it has taken everything.
    pub(crate) fn quit(&self) {
        self.lock().quit = true;
        self.wake.notify_one();
    }

    /// Takes what is there, in order, up to `events` appends and records, and until the weight of the first reaches `bytes`. Waits for
    /// something to be there, about `patience` at most where that is given. `None` when the queue has ended.
    pub(crate) fn take(&self, patience: Option<Duration>, events: usize, bytes: usize) -> Option<Vec<Command>> {
        let mut queued = self.lock();
        let idle = |queued: &mut Queued| queued.commands.is_empty() && !queued.quit;
        queued = match patience {
            None => self.wake.wait_while(queued, idle).unwrap_or_else(PoisonError::into_inner),
            Some(patience) if patience.is_zero() => queued,
            Some(patience) => {
                self.wake.wait_timeout_while(queued, patience, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        if queued.quit && queued.commands.is_empty() {
            return None;
        }
        let (mut n, mut weight, mut writes) = (0, 0, 0);
        for command in &queued.commands {
            if let Command::Append(_) | Command::PutChannel(..) = command {
                if writes >= events.max(1) || weight >= bytes.max(1) {
                    break;
                }
                writes += 1;
            }
            if let Command::Append(append) = command {
                weight += append.event.body.weight();
            }
            n += 1;
            if matches!(command, Command::Stop(_)) {
                break;
            }
        }
        Some(queued.commands.drain(..n).collect())
    }
}
