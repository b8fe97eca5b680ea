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
