//! Both ends of the protocol as state machines.
//!
//! This crate does not take care of I/O, clocks, randomness or framing: it is `no_std`, time is an argument (milliseconds
//! of any monotonic clock), random numbers come from its caller, and a link hands over whole messages. It interprets no
//! channel name. What goes over the wire is PROTOCOL.md; sections are cited from there.
//!
//! - [`server`]: one link's end at the server
#![no_std]

extern crate alloc;

pub mod server;

pub use server::{Input, ServerSession, ServerSettings, Tick};
