//! The course of a run: trouble, then a path that is well, then everything has to come to rest.

use throughline_wire::event::Eid;
use throughline_wire::message::From;

use super::Sabotage;
use super::checker::stored;
use super::client::Client;
use super::host::Host;
use super::net::Net;
use super::queue::Due;
use super::realm::Channel;
use super::rule::Weather;
use crate::checker::Violation;
use crate::random::Random;

/// Names of the channels.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// How long everything may take to come to rest once the path is well, milliseconds.
const REST_MS: u64 = 120_000;
/// Most things that may happen in a run: a run without end is a fault.
const STEPS_MAX: u64 = 60_000;
/// Most things that wait to happen.
const WAITING_MAX: usize = 2_000;
/// Most carriers of one client that live.
const CARRIERS_MAX: usize = 8;
/// Publishes that an application leaves without an answer before it waits.
const UNANSWERED_MAX: usize = 40;

/// What a run was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Things that happened.
    pub steps: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Restarts of the server.
    pub restarts: u64,
    /// Times that the session went over to another transport.
    pub switches: u64,
    /// Links begun.
    pub attempts: u64,
    /// Publishes.
    pub publishes: u64,
    /// Connections that met each rule of a middlebox.
    pub met: [u64; 15],
}

impl Outcome {
    /// Adds another run's.
    pub fn add(&mut self, other: &Outcome) {
        self.steps += other.steps;
        self.virtual_ms += other.virtual_ms;
        self.restarts += other.restarts;
        self.switches += other.switches;
        self.attempts += other.attempts;
        self.publishes += other.publishes;
        self.met.iter_mut().zip(other.met).for_each(|(sum, n)| *sum += n);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// So many steps of trouble to come.
    Trouble(u64),
    /// The path is well since then.
    Rest(u64),
    Done,
}

pub(super) struct World {
    pub(super) net: Net,
    host: Host,
    client: Client,
    random: Random,
    stage: Stage,
    healthy: bool,
    steps: u64,
}

impl World {
    pub(super) fn new(seed: u64, sabotage: Sabotage) -> World {
        let mut random = Random::new(seed);
        let channels = (0..1 + random.index(NAMES.len()))
            .map(|n| {
                let capacity = if random.one_in(3) { 2 + random.index(6) } else { 10_000 };
                Channel::new(NAMES[n], random.one_in(2), capacity, random.next())
            })
            .collect();
        let (delay, jitter) = (1 + random.below(80), random.below(30));
        let window = if random.one_in(3) { 200 + random.below(600) as u32 } else { 20_000 };
        let mut host = Host::new(channels, random.fork(), window);
        host.sabotage = sabotage;
        host.channels.iter_mut().for_each(|c| c.forgetful = sabotage == Sabotage::ForgetPublishes);
        let mut client = Client::new(random.fork(), 0);
        client.sabotage = sabotage;
        let mut net = Net::new(random.fork(), delay, jitter);
        let healthy = random.one_in(16);
        if !healthy && random.one_in(2) {
            net.change(Weather::any(&mut random), false);
        }
        let stage = Stage::Trouble(20 + random.below(80));
        net.queue.at(0, Due::Step);
        World { net, host, client, random, stage, healthy, steps: 0 }
    }

    pub(super) fn run(&mut self) -> Result<(), Violation> {
        self.client.settle(&mut self.net, &self.host.channels)?;
        while self.stage != Stage::Done {
            let Some(due) = self.net.queue.proceed() else { return Err("nothing is going to happen".into()) };
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(format!("{STEPS_MAX} things happened, and there is no end"));
            }
            self.happen(due)?;
            self.client.settle(&mut self.net, &self.host.channels)?;
            self.host.fault()?;
        }
        Ok(())
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            steps: self.steps,
            virtual_ms: self.net.now(),
            restarts: self.host.restarts,
            switches: self.client.switches,
            attempts: self.client.attempts.len() as u64,
            publishes: self.client.published.len() as u64,
            met: self.net.met,
        }
    }

    fn happen(&mut self, due: Due) -> Result<(), Violation> {
        let World { net, host, client, .. } = self;
        match due {
            Due::Step => return self.step(),
            Due::Session => client.tick(net),
            Due::Carrier(carrier) => client.tick_carrier(net, carrier, &host.channels)?,
            Due::Up(connection) => {
                if let Some(item) = net.arrived_up(connection) {
                    host.arrived(net, connection, item);
                    if let Some(carrier) = net.carrier(connection) {
                        client.writable(net, carrier);
                    }
                }
            }
            Due::Down(connection) => {
                if let Some((carrier, item)) = net.arrived_down(connection) {
                    client.arrived(net, carrier, connection, item, &host.channels)?;
                    host.writable(net, connection);
                }
            }
            Due::Middlebox(connection) => net.middlebox(connection),
            Due::Link(link) => host.tick(net, link),
            Due::Hold(link) => host.held(net, link),
            Due::Wait(connection) => host.waited(net, connection),
            Due::Commit => host.commit(net),
            Due::Restart => {
                let crash = self.random.one_in(2);
                host.restart(net, crash);
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.bounded()?;
        match self.stage {
            Stage::Trouble(0) => {
                self.calm();
                self.net.queue.after(200, Due::Step);
            }
            Stage::Trouble(left) => {
                self.stage = Stage::Trouble(left - 1);
                self.act()?;
                if !self.healthy {
                    self.spoil();
                }
                let wait = match self.random.below(20) {
                    0 => self.random.below(30_000),
                    1..6 => self.random.below(1_500),
                    _ => self.random.below(60),
                };
                self.net.queue.after(wait, Due::Step);
            }
            Stage::Rest(since) => self.rest(since)?,
            Stage::Done => {}
        }
        Ok(())
    }

    fn act(&mut self) -> Result<(), Violation> {
        let channels = self.host.channels.len();
        let channel = self.random.index(channels);
        let name = self.host.channels[channel].name;
        match self.random.below(12) {
            0..6 => {
                for _ in 0..1 + self.random.below(3) {
                    let long = if self.random.one_in(10) { self.random.index(9_000) } else { 0 };
                    if self.client.unanswered() < UNANSWERED_MAX {
                        self.client.publish(channel, name, long)?;
                    }
                }
            }
            6..9 => {
                let count = 1 + self.random.below(4);
                self.host.inject(&mut self.net, channel, count);
            }
            9 | 10 => {
                let from = match self.random.below(3) {
                    0 => From::New,
                    1 => From::All,
                    _ => From::Eid(Eid(1 + self.random.below(20))),
                };
                self.client.subscribe(channel, name, from);
            }
            _ if self.random.one_in(2) => self.client.unsubscribe()?,
            _ => self.host.channels[channel].forget(),
        }
        Ok(())
    }

    fn spoil(&mut self) {
        if self.random.one_in(8) {
            let weather = Weather::any(&mut self.random);
            let all = self.random.one_in(2);
            self.net.change(weather, all);
        }
        if self.random.one_in(80) {
            let crash = self.random.one_in(2);
            self.host.restart(&mut self.net, crash);
        }
        if self.random.one_in(200) {
            self.host.drain(&mut self.net, 3_000);
            self.net.queue.after(2_000, Due::Restart);
        }
    }

    /// The path is well from now on.
    fn calm(&mut self) {
        self.stage = Stage::Rest(self.net.now());
        if self.random.one_in(2) {
            self.net.clear()
        } else {
            self.net.weather = Weather::FAIR
        }
        for channel in 0..self.host.channels.len() {
            self.client.subscribe(channel, self.host.channels[channel].name, From::All);
        }
    }

    fn rest(&mut self, since: u64) -> Result<(), Violation> {
        match self.client.at_rest(&self.host.channels) {
            Ok(()) => {
                for (place, channel) in self.host.channels.iter().enumerate() {
                    stored(channel, place, &self.client.published)?;
                }
                self.stage = Stage::Done;
            }
            Err(text) if self.net.now() > since + REST_MS => {
                return Err(format!("{REST_MS} ms after the path was well: {text}"));
            }
            Err(_) => self.net.queue.after(200, Due::Step),
        }
        Ok(())
    }

    /// Nothing grows without end.
    fn bounded(&self) -> Result<(), Violation> {
        let (waiting, carriers) = (self.net.queue.len(), self.client.carriers());
        if waiting > WAITING_MAX {
            return Err(format!("{waiting} things wait to happen"));
        }
        if carriers > CARRIERS_MAX {
            return Err(format!("{carriers} links of one client live"));
        }
        Ok(())
    }
}
