//! How many connections there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts a shard's connections, and the links within those that carry many; the realm's are counted along.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    shard: Arc<AtomicUsize>,
    realm: Arc<AtomicUsize>,
}

impl Load {
    /// Of a shard that has none yet.
    pub(crate) fn new(realm: &Arc<AtomicUsize>) -> Load {
        Load { shard: Arc::default(), realm: Arc::clone(realm) }
    }

    /// How many the shard has.
    pub(crate) fn get(&self) -> usize {
        self.shard.load(Ordering::Relaxed)
    }

    pub(crate) fn inc(&self) {
        self.shard.fetch_add(1, Ordering::Relaxed);
        self.realm.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.shard.fetch_sub(1, Ordering::Relaxed);
        self.realm.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection, counted from when it was given to its shard for as long as it lives.
pub(crate) struct Counted(pub(crate) Load);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
