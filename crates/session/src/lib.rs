//! Both ends of the protocol as state machines.
//!
//! This crate does not take care of I/O, clocks, randomness or framing: it is `no_std`, time is an argument (milliseconds
//! of any monotonic clock), random numbers come from its caller, and a link hands over whole messages. It interprets no
//! channel name. What goes over the wire is PROTOCOL.md; sections are cited from there.
//!
//! - [`server`]: one link's end at the server
//! - [`client`]: a session at the client, over all its links
#![no_std]

extern crate alloc;

pub mod client;
pub mod server;

pub use client::{
    ClientEvent, ClientSession, ClientSettings, ClientState, Cursor, LinkCommand, LinkLoss, PublishError, PublishFault,
    SubscribeError, SubscriptionId,
};
pub use server::{Input, ServerSession, ServerSettings, Tick};
