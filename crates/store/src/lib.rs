//! The embedded engine's disk: events on fjall, committed in groups, recovered after a crash.
//!
//! This crate decides nothing about channels: it keeps what the engine hands it, in the engine's order, and says when it
//! is safe. It reads no clock and knows no network. Its one thread writes; any thread reads.
//!
//! - [`FjallStore`]: the store; [`StoreSettings`], [`OpenError`]: how it is opened
//! - [`Progress`]: what its thread tells of its commits

mod answer;
mod codec;
mod committer;
mod disk;
mod draft;
mod id;
mod journal;
mod progress;
mod queue;
mod reclaim;
mod record;
mod recovery;
mod rows;
mod settings;
mod store;
mod window;

pub use progress::{Progress, Watch};
pub use settings::{OpenError, StoreSettings};
pub use store::FjallStore;
pub use window::WINDOW_ENTRIES_MAX;
