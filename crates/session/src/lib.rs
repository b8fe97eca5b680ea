//! Both ends of the protocol as state machines.
//!
//! This crate does not take care of I/O, clocks, randomness or framing: it is `no_std`, time is an argument (milliseconds
//! of any monotonic clock), random numbers come from its caller, and a link hands over whole messages. It interprets no
//! channel name. What goes over the wire is PROTOCOL.md; sections are cited from there.
//!
//! - [`server`]: one link's end at the server
//! - [`client`]: a session at the client, over all its links
//! - [`candidate`]: a link that is proving itself
//! - [`ladder`]: which transports a client tries, when, and which one wins; [`memory`]: what it knows of networks
//! - [`links`]: a client's session, ladder and candidates as one
#![no_std]

extern crate alloc;

pub mod candidate;
pub mod client;
pub mod ladder;
pub mod links;
pub mod memory;
mod random;
pub mod server;

pub use candidate::{Candidate, Verdict};
pub use client::{
    Adoption, ClientEvent, ClientSession, ClientSettings, ClientState, Cursor, Greeting, LinkCommand, LinkLoss,
    PublishError, PublishFault, Report, SubscribeError, SubscriptionId,
};
pub use ladder::{Ladder, LadderSettings, Step};
pub use links::{Attempt, LinkOrder, Links, PathEvent, PathSummary};
pub use memory::{Known, Memory};
pub use server::{Input, ServerSession, ServerSettings, Tick};
