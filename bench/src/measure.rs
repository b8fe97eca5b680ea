//! What is sent and when, and what is made of it.

mod durable;
mod idle;
mod paced;
mod saturated;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::{SECOND, now};
use crate::histogram::Histogram;
use crate::load::{Counts, Load};
use crate::options::Options;
use crate::profile::Profile;
use crate::server::Server;
use crate::{say, usage};

/// What a run came to: names and numbers.
pub type Figures = Map<String, Value>;

/// Limit of time for connecting subscribers.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// Limit of time for connecting publishers.
const PUBLISHERS_LIMIT: Duration = Duration::from_secs(5);
/// Nanoseconds without a delivery after which what is missing counts as lost.
const PATIENCE: u64 = 3 * SECOND;

/// A measure, as `kind:numbers`.
#[derive(Clone, Debug)]
pub struct Measure {
    text: String,
    plan: Plan,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    /// `fanout:N` and `pubs:PxN`: closed loop, one channel.
    Saturate { publishers: usize, subscribers: usize },
    /// `beside:N`: messages on a second channel while the first one is saturated.
    Beside { subscribers: usize },
    /// `rate:NxR` and `chan:CxKxR`: open loop; subscribers and rate of all channels together.
    Rate { channels: usize, subscribers: usize, per_second: f64 },
    /// `ping:COUNT`: one message at a time.
    Ping { count: usize },
    /// `idle:N`: memory of connections.
    Idle { connections: usize },
    /// `storm:N`: time until all are connected.
    Storm { connections: usize },
    /// `durable:P`: publishers of a persistent channel.
    Durable { publishers: usize },
    /// `replay:N`: stored events to one subscriber.
    Replay { events: usize },
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Measure, String> {
        let bad = || format!("{text:?}: expected a measure such as fanout:100 or rate:1000x20");
        let (kind, numbers) = text.split_once(':').ok_or_else(bad)?;
        let numbers: Vec<usize> = numbers.split('x').map(|n| n.parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
        if numbers.contains(&0) {
            return Err(bad());
        }
        let plan = match (kind, numbers.as_slice()) {
            ("fanout", &[subscribers]) => Plan::Saturate { publishers: 1, subscribers },
            ("pubs", &[publishers, subscribers]) => Plan::Saturate { publishers, subscribers },
            ("beside", &[subscribers]) => Plan::Beside { subscribers },
            ("rate", &[subscribers, rate]) => Plan::Rate { channels: 1, subscribers, per_second: rate as f64 },
            ("chan", &[channels, each, rate]) => {
                Plan::Rate { channels, subscribers: channels * each, per_second: (channels * rate) as f64 }
            }
            ("ping", &[count]) => Plan::Ping { count },
            ("idle", &[connections]) => Plan::Idle { connections },
            ("storm", &[connections]) => Plan::Storm { connections },
            ("durable", &[publishers]) => Plan::Durable { publishers },
            ("replay", &[events]) => Plan::Replay { events },
            _ => return Err(bad()),
        };
        Ok(Measure { text: text.to_owned(), plan })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs everything, rounds outermost and profiles innermost, so that noise spreads evenly over the profiles.
pub fn run(files: &[PathBuf], options: &Options) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for measure in &options.measures {
            for file in files {
                let profile = Profile::load(file)?;
                if options.quiet > 0.0 {
                    usage::wait_quiet(Duration::from_secs_f64(options.quiet), 0.15);
                }
                let record = record(&profile, file, measure, round, options);
                say(&record.to_string());
                if let Some(out) = &options.out {
                    append(out, &record).map_err(|e| format!("{}: {e}", out.display()))?;
                }
                all.push(record);
            }
        }
    }
    Ok(all)
}

fn append(file: &Path, record: &Value) -> std::io::Result<()> {
    writeln!(OpenOptions::new().create(true).append(true).open(file)?, "{record}")
}

/// One run with what it was run under.
fn record(profile: &Profile, file: &Path, measure: &Measure, round: usize, options: &Options) -> Value {
    let mode = if options.free { "free" } else { "pinned" };
    let mut figures = figures([
        ("peer", json!(profile.name)),
        ("measure", json!(measure.text)),
        ("round", json!(round)),
        ("mode", json!(mode)),
        ("payload", json!(options.payload)),
        ("window", json!(options.window)),
        ("loadavg", json!(usage::loadavg())),
    ]);
    let (start, machine) = (now(), usage::machine());
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match Bench::start(profile, dir, measure.plan, options).and_then(|bench| bench.measure(measure.plan)) {
        Ok(measured) => figures.extend(measured),
        Err(error) => drop(figures.insert("error".into(), json!(error))),
    }
    let secs = (now() - start) as f64 / SECOND as f64;
    let after = usage::machine();
    figures.insert("wall_s".into(), rounded(secs));
    figures.insert("busy_cpus".into(), rounded((after.0 - machine.0) / secs));
    figures.insert("steal_pct".into(), rounded(100.0 * (after.1 - machine.1) / secs));
    Value::Object(figures)
}

/// A run: the server and the load on it.
struct Bench<'a> {
    profile: &'a Profile,
    options: &'a Options,
    /// Ends before the server, which would otherwise drain its connections.
    load: Load,
    /// None if it was running before.
    server: Option<Server>,
}

/// Counters at a moment.
struct Snapshot {
    time: u64,
    server_cpu: (f64, f64),
    own_cpu: f64,
    machine: f64,
    counts: Counts,
    published: u64,
}

impl<'a> Bench<'a> {
    fn start(profile: &'a Profile, dir: &Path, plan: Plan, options: &'a Options) -> Result<Bench<'a>, String> {
        let server = match options.attach {
            Some(_) => None,
            None => Some(Server::start(profile, dir, (!options.free).then_some(0))?),
        };
        let channels = if let Plan::Rate { channels, .. } = plan { channels } else { 1 };
        Ok(Bench { profile, options, server, load: Load::new(profile, channels, options.payload)? })
    }

    fn measure(mut self, plan: Plan) -> Result<Figures, String> {
        match plan {
            Plan::Saturate { publishers, subscribers } => self.saturate(publishers, subscribers),
            Plan::Beside { subscribers } => self.beside(subscribers),
            Plan::Rate { subscribers, per_second, .. } => self.rate(subscribers, per_second),
            Plan::Ping { count } => self.ping(count),
            Plan::Idle { connections } => self.idle(connections),
            Plan::Storm { connections } => self.storm(connections),
            Plan::Durable { publishers } => self.durable(publishers),
            Plan::Replay { events } => self.replay(events as u64),
        }
    }

    fn pids(&self) -> Vec<i32> {
        match &self.server {
            Some(server) => server.pids(),
            None => self.options.attach.into_iter().collect(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            server_cpu: usage::cpu(&self.pids()),
            own_cpu: usage::own_cpu(),
            machine: usage::machine().0,
            counts: self.load.counts.clone(),
            published: self.load.published,
            time: now(),
        }
    }

    fn connect(&mut self, subscribers: usize, publishers: usize) -> Result<(), String> {
        self.load.connect(subscribers, self.options.inflight, CONNECT_LIMIT)?;
        self.load.connect_publishers(publishers, PUBLISHERS_LIMIT)?;
        // For servers that do not confirm a subscription.
        self.idle_for(SECOND / 5);
        Ok(())
    }

    /// Answers keep-alives for so many nanoseconds.
    fn idle_for(&mut self, nanoseconds: u64) {
        let end = now() + nanoseconds;
        while now() < end {
            self.load.poll(Duration::from_millis(20));
        }
    }

    /// What was used between two snapshots, in all and per delivery.
    fn between(&self, a: &Snapshot, b: &Snapshot) -> Figures {
        let secs = (b.time - a.time) as f64 / SECOND as f64;
        let delivered = (b.counts.delivered - a.counts.delivered) as f64;
        let reads = (b.counts.reads - a.counts.reads) as f64;
        let bytes = (b.counts.bytes - a.counts.bytes) as f64;
        let server = b.server_cpu.0 - a.server_cpu.0;
        let mut figures = figures([
            ("deliveries_s", json!((delivered / secs).round())),
            ("published_s", json!(((b.published - a.published) as f64 / secs).round())),
            ("cpu_us_per_delivery", rounded(server * 1e6 / delivered.max(1.0))),
            ("server_user_share", rounded((b.server_cpu.1 - a.server_cpu.1) / server.max(1e-9))),
            ("bytes_per_delivery", rounded(bytes / delivered.max(1.0))),
            ("deliveries_per_read", rounded(delivered / reads.max(1.0))),
        ]);
        figures.extend(self.cpu_between(a, b));
        figures
    }

    fn cpu_between(&self, a: &Snapshot, b: &Snapshot) -> Figures {
        let secs = (b.time - a.time) as f64 / SECOND as f64;
        let (server, own) = (b.server_cpu.0 - a.server_cpu.0, b.own_cpu - a.own_cpu);
        figures([
            ("server_cpu_pct", rounded(100.0 * server / secs)),
            ("loadgen_cpu_pct", rounded(100.0 * own / secs)),
            ("other_cpu_pct", rounded(100.0 * (b.machine - a.machine - server - own) / secs)),
        ])
    }

    /// Waits for what is still under way, then reports loss and order.
    fn settle(&mut self) -> Figures {
        let mut last = (self.load.counts.delivered, now());
        while self.load.counts.delivered < self.load.expected && now() - last.1 < PATIENCE {
            self.load.flush_publishers();
            self.load.poll(Duration::from_millis(10));
            if self.load.counts.delivered != last.0 {
                last = (self.load.counts.delivered, now());
            }
        }
        let lost = self.load.expected as i64 - self.load.counts.delivered as i64;
        figures([
            ("lost", json!(lost)),
            ("gaps", json!(self.load.counts.gaps)),
            ("late_or_dup", json!(self.load.counts.late)),
            ("disconnected", json!(self.load.dead)),
        ])
    }
}

fn latency(histogram: &Histogram) -> Figures {
    let quantile = |q| json!(histogram.quantile(q) / 1000);
    figures([
        ("p50_us", quantile(0.5)),
        ("p90_us", quantile(0.9)),
        ("p99_us", quantile(0.99)),
        ("max_us", json!(histogram.max / 1000)),
    ])
}

fn figures<const N: usize>(pairs: [(&str, Value); N]) -> Figures {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn rounded(x: f64) -> Value {
    json!((x * 1000.0).round() / 1000.0)
}

fn nanoseconds(secs: f64) -> u64 {
    (secs * SECOND as f64) as u64
}
