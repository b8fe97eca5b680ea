//! The course of a run: trouble, then a path that is well, then everything has to come to rest.

use throughline_wire::event::Eid;
use throughline_wire::message::From;
use throughline_wire::path::Transport;

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
/// Names of the networks that a client may find itself in.
const NETWORKS: [&str; 2] = ["home", "office"];
/// How long everything may take to be delivered once the path is well, milliseconds. A link that was silenced before is
/// known to be dead only after three heartbeats of 25 s, and a wait of 30 s may follow.
const REST_MS: u64 = 120_000;
/// How long it may take until the best transport carries the session, once the path is well and what suffered is gone,
/// milliseconds: a wait of 30 s, an upgrade 36 s later, a probation of 20 s, and the time that links take to open.
const WEBSOCKET_MS: u64 = 100_000;
/// How long it should take, milliseconds.
const BACK_MS: u64 = 60_000;
/// How long a path stays as it is before its client has settled, and how long it is watched then, milliseconds.
const SETTLING_MS: u64 = 90_000;
const SETTLED_MS: u64 = 180_000;
/// Links that a settled client may begin in a minute, and once besides, from the stock of its ladder.
const ATTEMPTS_MAX: usize = 6;
const ATTEMPTS_STOCK: usize = 12;
/// One run in so many has such a time.
const SETTLED_ONE_IN: u64 = 12;
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
    /// Failures of paths that the session told of.
    pub failures: u64,
    /// Those that the server was told of.
    pub reports: u64,
    /// Most links that a settled client began in three minutes.
    pub settled_most: u64,
    /// Paths that became well and let go of what had suffered.
    pub cleared: u64,
    /// Of these, those after which the best transport was back only after more than a minute.
    pub back_late: u64,
    /// The longest time that it took, milliseconds.
    pub back_most_ms: u64,
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
        self.failures += other.failures;
        self.reports += other.reports;
        self.settled_most = self.settled_most.max(other.settled_most);
        self.cleared += other.cleared;
        self.back_late += other.back_late;
        self.back_most_ms = self.back_most_ms.max(other.back_most_ms);
        self.attempts += other.attempts;
        self.publishes += other.publishes;
        self.met.iter_mut().zip(other.met).for_each(|(sum, n)| *sum += n);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// So many steps of trouble to come.
    Trouble(u64),
    /// The path stays as it is since then.
    Settled(u64),
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
    /// Connections that suffered were cut when the path became well.
    cleared: bool,
    /// The transport that a well path leads to.
    best: Transport,
    settled_most: u64,
    /// How long after the path was well the session was last carried by something else.
    back_ms: u64,
    steps: u64,
}

/// What a client may use: mostly everything.
fn transports(random: &mut Random) -> Vec<Transport> {
    use Transport::{HttpStream, JsonpPoll, LongPoll, WebSocket};
    match random.below(16) {
        0 | 1 => vec![WebSocket, HttpStream, LongPoll],
        2 | 3 => vec![WebSocket, LongPoll],
        4 => vec![LongPoll, JsonpPoll],
        5 => vec![Transport::ALL[random.index(6)]],
        _ => Transport::ALL.to_vec(),
    }
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
        let healthy = random.one_in(16);
        let (delay, jitter) =
            if healthy { (1 + random.below(50), random.below(20)) } else { (1 + random.below(150), random.below(60)) };
        let window = if random.one_in(3) { 200 + random.below(600) as u32 } else { 20_000 };
        let mut host = Host::new(channels, random.fork(), window);
        host.sabotage = sabotage;
        host.channels.iter_mut().for_each(|c| c.forgetful = sabotage == Sabotage::ForgetPublishes);
        let transports = transports(&mut random);
        let best = transports.iter().copied().min().unwrap_or(Transport::WebSocket);
        let full = if random.one_in(4) && !healthy { 2_000 + random.below(20_000) as u32 } else { 1 << 20 };
        let mut client = Client::new(random.fork(), transports, full);
        client.sabotage = sabotage;
        let mut net = Net::new(random.fork(), delay, jitter);
        if !healthy && random.one_in(2) {
            net.change(Weather::any(&mut random), false);
        }
        let stage = Stage::Trouble(20 + random.below(80));
        net.queue.at(0, Due::Step);
        World { net, host, client, random, stage, healthy, cleared: false, best, settled_most: 0, back_ms: 0, steps: 0 }
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
            failures: self.client.failures,
            reports: self.host.reports,
            settled_most: self.settled_most,
            cleared: u64::from(self.cleared),
            back_late: u64::from(self.cleared && self.back_ms > BACK_MS),
            back_most_ms: if self.cleared { self.back_ms } else { 0 },
            attempts: self.client.attempts.len() as u64,
            publishes: self.client.published.len() as u64,
            met: self.net.met,
        }
    }

    fn happen(&mut self, due: Due) -> Result<(), Violation> {
        let waits = match due {
            Due::Down(connection) => self.client.reads_from(self.net.carrier(connection)),
            Due::Session | Due::Carrier(_) => self.client.asleep_until,
            _ => 0,
        };
        if waits > self.net.now() {
            self.net.queue.at(waits, due);
            return Ok(());
        }
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
            Due::Resume => client.resume(net),
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
            Stage::Trouble(0) if self.client.absent_until() > self.net.now() => {
                self.net.queue.at(self.client.absent_until(), Due::Step);
            }
            Stage::Trouble(0) => {
                if self.random.one_in(SETTLED_ONE_IN) && !self.healthy {
                    self.stage = Stage::Settled(self.net.now());
                } else {
                    self.calm();
                }
                self.net.queue.after(200, Due::Step);
            }
            Stage::Settled(since) => self.settled(since)?,
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
            _ if self.random.one_in(3) => self.client.unsubscribe()?,
            _ if self.random.one_in(3) && !self.healthy => {
                let until = self.net.now() + self.random.below(20_000);
                self.client.pause(&mut self.net, until);
            }
            _ => self.host.channels[channel].forget(),
        }
        Ok(())
    }

    fn spoil(&mut self) {
        if self.random.one_in(8) {
            let weather = Weather::any(&mut self.random);
            let all = self.random.one_in(2);
            self.net.change(weather, all);
            self.host.network = NETWORKS[self.random.index(NETWORKS.len())];
        }
        if self.random.one_in(60) {
            let until = self.net.now() + self.random.below(60_000);
            self.client.asleep_until = self.client.asleep_until.max(until);
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

    /// Something flows now and then, and links are begun seldom.
    fn settled(&mut self, since: u64) -> Result<(), Violation> {
        let now = self.net.now();
        if now < since + SETTLING_MS + SETTLED_MS {
            self.act()?;
            let wait = self.random.below(8_000);
            self.net.queue.after(wait, Due::Step);
            return Ok(());
        }
        let attempts = self.client.attempts.iter().filter(|(at, _)| *at >= since + SETTLING_MS).count();
        let most = ATTEMPTS_MAX * (SETTLED_MS / 60_000) as usize + ATTEMPTS_STOCK;
        self.settled_most = self.settled_most.max(attempts as u64);
        if attempts > most {
            return Err(format!("{attempts} links were begun in {SETTLED_MS} ms of a settled path, over {most}"));
        }
        self.calm();
        self.net.queue.after(200, Due::Step);
        Ok(())
    }

    /// The path is well from now on.
    fn calm(&mut self) {
        self.stage = Stage::Rest(self.net.now());
        self.cleared = self.random.one_in(2);
        if self.cleared {
            self.net.clear()
        } else {
            self.net.weather = Weather::FAIR
        }
        for channel in 0..self.host.channels.len() {
            self.client.subscribe(channel, self.host.channels[channel].name, From::All);
        }
    }

    fn rest(&mut self, since: u64) -> Result<(), Violation> {
        let passed = self.net.now() - since;
        let rest = self.client.at_rest(&self.host.channels);
        if let Err(text) = &rest
            && passed > REST_MS
        {
            return Err(format!("{REST_MS} ms after the path was well: {text}"));
        }
        let transport = self.client.transport();
        let best = transport == Some(self.best);
        if !best && passed > if self.cleared { WEBSOCKET_MS } else { REST_MS } {
            return Err(format!("{passed} ms after the path was well the session is carried by {transport:?}"));
        }
        if !best {
            self.back_ms = passed;
        }
        if rest.is_err() || !best {
            self.net.queue.after(200, Due::Step);
            return Ok(());
        }
        for (place, channel) in self.host.channels.iter().enumerate() {
            stored(channel, place, &self.client.published)?;
        }
        if self.healthy && self.client.attempts.len() != 1 {
            return Err(format!("on a sound path links were begun: {:?}", self.client.attempts));
        }
        self.stage = Stage::Done;
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
