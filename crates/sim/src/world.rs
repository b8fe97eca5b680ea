//! A run: a realm, some clients, a network that misbehaves for a while and then does not.

use throughline_wire::event::Eid;

use crate::actor::{Actor, WIDE_BYTES};
use crate::checker::{Truth, Violation};
use crate::random::Random;
use crate::realm::{CHANNELS, Realm};

/// How long everything may take to come to rest once faults have stopped, milliseconds: a wait of 30 s before a
/// connection, another lost to silence, and time to spare.
const REST_MS: u64 = 240_000;

/// Longest time between two turns, milliseconds.
const STEP_MS: u64 = 400;
/// How long events may take on a sound network: four latencies of 100 ms, slices and the virtual disk, well below a
/// heartbeat.
const PROMPT_MS: u64 = 4_000;

/// What a run was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps of time.
    pub steps: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Restarts of the realm.
    pub restarts: u64,
}

struct World {
    now: u64,
    random: Random,
    realm: Realm,
    actors: Vec<Actor>,
    truth: Truth,
    outcome: Outcome,
}

/// Runs one seed to its end; the error says which rule was broken and when.
pub fn run(seed: u64) -> Result<Outcome, Violation> {
    let mut random = Random::new(seed);
    let realm = Realm::new(random.fork()).map_err(|text| format!("SEED={seed}: {text}"))?;
    let actors = (0..1 + random.index(3)).map(|n| Actor::new(n, random.fork(), 0)).collect();
    let mut world = World { now: 0, random, realm, actors, truth: Truth::default(), outcome: Outcome::default() };
    let done = world.trouble().and_then(|()| world.rest());
    done.map_err(|text| format!("SEED={seed}, at {} ms: {text}", world.now))?;
    world.outcome.virtual_ms = world.now;
    Ok(world.outcome)
}

impl World {
    fn trouble(&mut self) -> Result<(), Violation> {
        for _ in 0..50 + self.random.below(150) {
            self.advance(true)?;
            let who = self.random.index(self.actors.len());
            if self.random.one_in(2) {
                self.actors[who].act(self.now)?;
            }
            if self.random.one_in(12) {
                self.actors[who].suffer(self.now);
            }
            if self.random.one_in(60) {
                self.restart()?;
            }
            if self.random.one_in(200) {
                self.realm.drain();
            }
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), Violation> {
        // One that drains takes no publish; it has to make way.
        self.restart()?;
        self.actors.iter_mut().for_each(Actor::calm);
        let until = self.now + REST_MS;
        while self.at_rest().is_err() {
            if self.now > until {
                return self.at_rest();
            }
            self.advance(false)?;
        }
        self.prompt()?;
        for actor in &self.actors {
            actor.stored_once(&self.truth)?;
        }
        self.survived()
    }

    /// On a sound network events come at once, not with the next heartbeat.
    fn prompt(&mut self) -> Result<(), Violation> {
        // The last ones fill the path, so that the server has to wait for it.
        for long in [0, 0, WIDE_BYTES] {
            for kind in CHANNELS {
                self.actors[0].publish(kind, long)?;
            }
            let until = self.now + PROMPT_MS;
            while self.at_rest().is_err() {
                if self.now > until {
                    return self.at_rest();
                }
                self.step(20, false)?;
            }
        }
        Ok(())
    }

    fn at_rest(&self) -> Result<(), Violation> {
        self.actors.iter().try_for_each(|a| a.at_rest(&self.realm, &self.truth))
    }

    /// Lets a random time pass, during which the network and both ends are at work.
    fn advance(&mut self, faults: bool) -> Result<(), Violation> {
        let mut left = match self.random.below(20) {
            0 => self.random.below(12_000),
            1..8 => self.random.below(300),
            _ => self.random.below(20),
        };
        while left > STEP_MS {
            left -= STEP_MS;
            self.step(STEP_MS, faults)?;
        }
        self.step(left, faults)
    }

    fn step(&mut self, ms: u64, faults: bool) -> Result<(), Violation> {
        self.outcome.steps += 1;
        self.now += ms;
        self.turn(faults)
    }

    fn turn(&mut self, faults: bool) -> Result<(), Violation> {
        let World { now, realm, actors, truth, .. } = self;
        realm.turn(*now, faults)?;
        for event in realm.observe()? {
            truth.store(event)?;
        }
        actors.iter_mut().try_for_each(|a| a.turn(*now, realm, truth, faults))
    }

    fn restart(&mut self) -> Result<(), Violation> {
        self.outcome.restarts += 1;
        let crash = self.random.one_in(2);
        self.realm.restart(crash)?;
        self.survived()
    }

    /// What was on disk and seen is still there.
    fn survived(&mut self) -> Result<(), Violation> {
        for kind in CHANNELS.iter().filter(|k| k.kind.on_disk() && k.unlimited()) {
            if let Some(head) = self.realm.head(kind.name) {
                let kept = self.realm.after(kind.name, Eid::NONE)?;
                self.truth.survived(kind.name, head.epoch, &kept)?;
            }
        }
        Ok(())
    }
}
