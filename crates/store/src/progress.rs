//! What the store tells of its work while it works.

use throughline_engine::store::StoreError;

/// A step of the store's thread. It has no clock: who is told measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A commit begins.
    Begun,
    /// The commit that had begun is on disk, and nobody has been answered yet. One that failed is told by its writes.
    Committed {
        /// Events in it; none when it only removes.
        events: usize,
        /// When the first of them was accepted, milliseconds since 1970.
        oldest: Option<u64>,
    },
    /// A write was refused or has failed; who asked for it is told next.
    Failed(&'a StoreError),
    /// The disk has become full, and events are refused; or no longer.
    Full(bool),
}

/// Whom the store tells, on its own thread, which it keeps waiting.
pub type Watch = Box<dyn FnMut(Progress<'_>) + Send>;
