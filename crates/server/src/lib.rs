//! The realm's server: listeners, HTTP, shards, configuration, metrics.
//!
//! [`run`] is the whole of it; [`Realm`] is the same for programs that embed one. Channels and events are the
//! matter of `throughline-engine`, the protocol that of `throughline-session`; this crate is where they meet.

mod addresses;
mod budget;
pub mod clock;
pub mod config;
mod connection;
mod fnv;
pub mod http;
mod load;
pub mod metrics;
mod network;
mod peer;
mod pipe;
mod probe;
mod rare;
mod realm;
mod runtime;
pub mod shard;
mod socket;
mod tls;
mod transport;
mod upgrade;
mod waiting;

pub use realm::{Realm, StartError, run};
pub use tls::TlsError;
