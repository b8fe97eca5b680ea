//! Pairs of a client's and a server's session, alone, over paths that break: light enough for a million runs.
//!
//! [`crate::world`] runs the whole realm, shard and bytes included; here both ends of the session are the real ones and all
//! else is a model: channels that are lists, connections that carry values, middleboxes that are rules. A run is a
//! number: [`run`] plays it and says which rule was broken.
//!
//! - [`queue`]: virtual time; [`net`]: connections; [`rule`]: what middleboxes do to them
//! - [`carrier`]: the client's end of each transport; [`client`]: the session that uses them
//! - [`host`]: the server's ends; [`realm`]: its channels
//! - [`checker`]: what must hold; [`world`]: the course of a run

pub mod carrier;
pub mod checker;
pub mod client;
pub mod host;
pub mod net;
pub mod queue;
pub mod realm;
pub mod rule;
pub mod world;

pub use world::Outcome;

use crate::checker::Violation;
use world::World;

/// Something done wrong on purpose, to show that a run would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// The server passes over gaps in silence.
    SkipGap,
    /// The server carries out a repeated piece again.
    PiecesTwice,
    /// The server keeps no answer to a poll until it is acknowledged.
    ForgetAnswers,
    /// The client, when it polls again after a failure, acknowledges the answer that it has not received.
    AckEarly,
    /// The realm does not remember which publishes it has stored.
    ForgetPublishes,
}

impl Sabotage {
    /// Everything that can be done wrong.
    pub const ALL: [Sabotage; 5] = [
        Sabotage::SkipGap,
        Sabotage::PiecesTwice,
        Sabotage::ForgetAnswers,
        Sabotage::AckEarly,
        Sabotage::ForgetPublishes,
    ];
}

/// Runs one seed to its end; the error says which rule was broken and when.
pub fn run(seed: u64) -> Result<Outcome, Violation> {
    run_with(seed, Sabotage::None)
}

/// The same with something done wrong.
pub fn run_with(seed: u64, sabotage: Sabotage) -> Result<Outcome, Violation> {
    let mut world = World::new(seed, sabotage);
    match world.run() {
        Ok(()) => Ok(world.outcome()),
        Err(text) => Err(format!("seed {seed}, at {} ms: {text}", world.net.now())),
    }
}

/// Runs one seed and gives what happened in it, line by line.
pub fn trace(seed: u64) -> (Vec<String>, Result<Outcome, Violation>) {
    let mut world = World::new(seed, Sabotage::None);
    world.net.trace = Some(Vec::new());
    let done = world.run().map(|()| world.outcome());
    (world.net.trace.take().unwrap_or_default(), done)
}
