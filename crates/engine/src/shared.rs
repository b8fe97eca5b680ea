//! What all channels of an engine share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use throughline_wire::message::{ErrorCode, ReplyError};

use crate::agenda::Agenda;
use crate::settings::Settings;
use crate::store::Store;
use crate::types::Watcher;

/// Locks, also when a thread has panicked with the lock: every change under the engine's locks is complete at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) watchers: RwLock<Vec<Arc<dyn Watcher>>>,
    pub(crate) agenda: Agenda,
    /// Bytes of events in memory, all channels.
    retained: AtomicU64,
    /// Bytes of publish numbers, all channels.
    remembered: AtomicU64,
    /// Bytes of events that wait for the disk, all channels.
    pending: AtomicU64,
}

impl Shared {
    pub(crate) fn new(settings: Settings, store: Arc<dyn Store>) -> Shared {
        Shared {
            settings,
            store,
            watchers: RwLock::default(),
            agenda: Agenda::default(),
            retained: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
            pending: AtomicU64::new(0),
        }
    }

    /// Notes that a channel's memory went from `before` to `after` bytes. Gives the bytes above the limit of the realm.
    pub(crate) fn retain(&self, before: u64, after: u64) -> u64 {
        let total = if after >= before {
            let more = after - before;
            self.retained.fetch_add(more, Ordering::Relaxed).saturating_add(more)
        } else {
            let less = before - after;
            self.retained.fetch_sub(less, Ordering::Relaxed).saturating_sub(less)
        };
        total.saturating_sub(self.settings.retained_bytes_max)
    }

    /// Bytes of events in memory, all channels.
    pub(crate) fn retained(&self) -> u64 {
        self.retained.load(Ordering::Relaxed)
    }

    /// Notes that a channel's publish numbers went from `before` to `after` bytes.
    pub(crate) fn remember(&self, before: u64, after: u64) {
        self.remembered.fetch_add(after, Ordering::Relaxed);
        self.remembered.fetch_sub(before, Ordering::Relaxed);
    }

    /// Bytes of publish numbers, all channels.
    pub(crate) fn remembered(&self) -> u64 {
        self.remembered.load(Ordering::Relaxed)
    }

    /// Takes room in the queue for the disk. An event that is larger than all of it may wait alone.
    pub(crate) fn admit(&self, bytes: u64) -> Result<(), ReplyError> {
        let limit = self.settings.pending_bytes_max;
        let before = self.pending.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > limit {
            self.discharge(bytes);
            let message =
                format!("more than {limit} bytes of events wait for the disk (pending_bytes_max); repeat later");
            return Err(ReplyError::limit(ErrorCode::Overloaded, message, limit));
        }
        Ok(())
    }

    /// Gives back what [`Shared::admit`] took.
    pub(crate) fn discharge(&self, bytes: u64) {
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}
