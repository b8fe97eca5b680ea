//! The scripts of the client's ladder that Rust and TypeScript share.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use throughline_session::{Ladder, LadderSettings, Step};
use throughline_wire::path::{Failure, Transport};

fn scripts() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/vectors/ladder.json");
    let text = fs::read_to_string(path).expect("the vectors are in the repository");
    serde_json::from_str(&text).expect("a JSON array")
}

fn transport(value: &Value) -> Transport {
    Transport::from_name(value.as_str().expect("a name")).expect("a transport")
}

fn written(step: Step) -> Value {
    match step {
        Step::Start { attempt, transport } => {
            json!({"do": "start", "attempt": attempt, "transport": transport.name()})
        }
        Step::GiveUp { attempt } => json!({"do": "give_up", "attempt": attempt}),
        Step::Abandon { attempt } => json!({"do": "abandon", "attempt": attempt}),
        Step::Ping { attempt } => json!({"do": "ping", "attempt": attempt}),
        Step::Adopt { attempt } => json!({"do": "adopt", "attempt": attempt}),
        Step::Over => json!({"do": "over"}),
    }
}

fn told(ladder: &mut Ladder) -> Vec<Value> {
    std::iter::from_fn(|| ladder.poll()).map(written).collect()
}

fn give(ladder: &mut Ladder, now: u64, step: &Value) {
    let attempt = || step["attempt"].as_u64().expect("the number of an attempt");
    let failure = || step["failure"].as_str().map(|word| Failure::from_name(word).expect("a failure"));
    match step["do"].as_str() {
        None => {}
        Some("begin") => ladder.begin(now),
        Some("proved") => ladder.proven(now, attempt()),
        Some("answered") => ladder.answered(now, attempt()),
        Some("failed") => ladder.failed(now, attempt()),
        Some("died") => ladder.died(now, failure(), step["silent"] == true),
        Some("suspect") => ladder.suspect(now),
        Some("calm") => ladder.calm(),
        Some("rotate") => ladder.rotate(now),
        Some("drain") => ladder.drain(),
        Some("rtt") => ladder.measured(step["ms"].as_u64().expect("milliseconds")),
        Some(other) => panic!("{other:?} is nothing that a script can do"),
    }
    ladder.tick(now);
}

fn play(script: &Value) {
    let name = &script["name"];
    let transports = script["transports"].as_array().expect("transports").iter().map(transport).collect();
    let remembered = script.get("remembered").map(transport);
    let settings = LadderSettings { transports, jitter: false, ..LadderSettings::default() };
    let mut ladder = Ladder::new(&settings, remembered, 1);
    for step in script["steps"].as_array().expect("steps") {
        let at = step["at"].as_u64().expect("a time");
        while let Some(due) = ladder.deadline().filter(|due| *due < at) {
            ladder.tick(due);
            assert_eq!(told(&mut ladder), Vec::<Value>::new(), "{name}: at {due}, before {step}");
        }
        give(&mut ladder, at, step);
        assert_eq!(Value::Array(told(&mut ladder)), step["commands"], "{name}: {step}");
    }
}

#[test]
fn scripts_play_as_written() {
    let scripts = scripts();
    assert!(scripts.len() > 25);
    let results: Vec<_> = scripts.iter().map(|s| std::panic::catch_unwind(|| play(s)).is_err()).collect();
    let bad: Vec<_> = scripts.iter().zip(results).filter(|(_, bad)| *bad).map(|(s, _)| &s["name"]).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_rotation_that_fails_after_its_link_leaves_nothing_to_wait_for() {
    let transports = vec![Transport::HttpStream];
    let settings = LadderSettings { transports, jitter: false, ..LadderSettings::default() };
    let mut ladder = Ladder::new(&settings, None, 0);
    ladder.begin(0);
    ladder.proven(100, 1);
    ladder.rotate(40_000);
    ladder.died(41_000, Some(Failure::Idle), false);
    ladder.failed(41_100, 2);
    let steps: Vec<Step> = std::iter::from_fn(|| ladder.poll()).collect();
    let transport = Transport::HttpStream;
    let start = |attempt| Step::Start { attempt, transport };
    assert_eq!(steps, [start(1), Step::Adopt { attempt: 1 }, start(2)]);
    assert_eq!(ladder.deadline(), None);
}

/// How long a search may take once a transport passes, milliseconds: the best of a group, and those that seldom pass alone, which
/// have their turn once in nine rounds of 20 s or more.
const LONGEST_MS: (u64, u64) = (240_000, 480_000);

/// A realm's session on a path where at first everything passes, then nothing, and then one transport.
struct Outage {
    transports: Vec<Transport>,
    passes: Transport,
    /// How long the first link lives, and how long nothing passes then, milliseconds.
    lived: u64,
    lasts: u64,
}

impl Outage {
    /// When a link is adopted after its end, milliseconds; `None` when that does not happen within an hour.
    fn survived_after(&self, seed: u64) -> Option<u64> {
        let settings = LadderSettings { transports: self.transports.clone(), ..LadderSettings::default() };
        let mut ladder = Ladder::new(&settings, None, seed);
        ladder.begin(0);
        ladder.proven(50, 1);
        while ladder.poll().is_some() {}
        ladder.died(self.lived, Some(Failure::Cut), false);
        let (mut now, mut random, mut rounds) = (self.lived, seed, 0);
        let end = self.lived + self.lasts;
        while now < end + 3_600_000 {
            ladder.begin(now);
            let mut over = false;
            while !over {
                match ladder.poll() {
                    Some(Step::Start { attempt, transport }) if now >= end && transport == self.passes => {
                        ladder.proven(now, attempt);
                    }
                    Some(Step::Start { attempt, .. }) => ladder.failed(now, attempt),
                    Some(Step::Adopt { .. }) => return Some(now.saturating_sub(end)),
                    Some(Step::Over) => over = true,
                    Some(_) => {}
                    None => {
                        now = ladder.deadline().expect("a round goes on or is over");
                        ladder.tick(now);
                    }
                }
            }
            // Full jitter, as section 7 of PROTOCOL.md has it.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now += 1 + (random >> 33) % (250_u64 << rounds.min(7)).min(30_000);
            rounds += 1;
        }
        None
    }
}

#[test]
fn whatever_passes_after_an_outage_is_found_within_minutes() {
    let all = Transport::ALL.to_vec();
    let few = vec![Transport::WebSocket, Transport::HttpStream, Transport::LongPoll];
    for transports in [all, few] {
        for passes in transports.clone() {
            let alone = [Transport::EventSource, Transport::IframeStream, Transport::JsonpPoll].contains(&passes);
            let longest = if alone { LONGEST_MS.1 } else { LONGEST_MS.0 };
            for (lived, lasts) in
                [(5_000, 20_000), (5_000, 60_000), (5_000, 300_000), (120_000, 2_000), (120_000, 600_000)]
            {
                let outage = Outage { transports: transports.clone(), passes, lived, lasts };
                for seed in 0..200 {
                    let after = outage.survived_after(seed);
                    assert!(
                        after.is_some_and(|after| after <= longest),
                        "{passes} of {transports:?} after {lived} and {lasts} ms, seed {seed}: {after:?}"
                    );
                }
            }
        }
    }
}
