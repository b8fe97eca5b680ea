//! Channels and their events: what orders events, keeps them, and hands them out again.
//!
//! The engine does no I/O and reads no clock: the disk is behind [`store::Store`], and `now` is an argument
//! (milliseconds since 1970). It knows no transport and no session beyond a publisher's id. It is synchronous and may be
//! used from any thread; only the calls that say so wait for the disk.
//!
//! - [`Engine`]: the realm's channels by name; publishing; what is due with time
//! - [`Channel`]: positions, reading, watching
//! - [`store`]: the seam to the disk; [`memory`]: a store that is none
//! - [`types`]: the values that cross the boundary

mod agenda;
mod channel;
mod engine;
mod error;
pub mod memory;
mod settings;
mod shared;
pub mod store;
mod table;
pub mod types;
mod window;

pub use channel::{Channel, WatcherId};
pub use engine::{Creation, Engine, Totals};
pub use error::{CreateError, OpenError};
pub use settings::Settings;
pub use types::{
    ChannelAttributes, ChannelKind, ChannelStatus, Origin, Page, Position, Publish, Published, Read, ReadLimit,
    UnknownKind, Watcher,
};
