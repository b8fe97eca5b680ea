//! Runs of a whole realm and its clients in virtual time, with chance and faults from one seed.
//!
//! A run is a number: [`run`] plays it and says which rule was broken. Development only.
//!
//! - [`random`]: all chance; [`pipe`]: connections and what the network does to them; [`framing`]: messages in bytes
//! - [`realm`]: the server; [`actor`]: a client and its program
//! - [`checker`]: the rules; [`world`]: the course of a run
//! - [`pair`]: the sessions alone, light enough for a million runs

pub mod actor;
pub mod checker;
pub mod framing;
pub mod pair;
pub mod pipe;
pub mod random;
pub mod realm;
pub mod world;

pub use world::{Outcome, run};
