//! Session pairs over paths that break. A failing run prints its seed: read it with `cargo run --release -p
//! throughline-sim --bin pairs -- --seed N --trace`.

use std::num::NonZero;

use throughline_sim::pair::{self, Sabotage};

/// Runs when nothing else is asked for; `PAIRS=n` asks for more.
const RUNS: u64 = 3_000;
/// Runs within which what is done wrong on purpose has to be noticed.
const NOTICED_WITHIN: u64 = 1_000;

#[test]
fn every_run_holds() {
    let runs = std::env::var("PAIRS").map_or(RUNS, |n| n.parse::<u64>().expect("PAIRS is a number"));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let part = |first: usize| move || (first as u64..runs).step_by(threads).filter_map(broken).collect();
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        parts.into_iter().flat_map(|part| -> Vec<String> { part.join().expect("a run does not panic") }).collect()
    });
    let (some, all) = (failed.iter().take(10).cloned().collect::<Vec<_>>().join("\n"), failed.len());
    assert!(failed.is_empty(), "{all} of {runs} runs failed:\n{some}");
}

fn broken(seed: u64) -> Option<String> {
    pair::run(seed).err()
}

#[test]
fn a_run_is_the_same_every_time() {
    for seed in 0..50 {
        assert_eq!(pair::run(seed), pair::run(seed));
    }
}

#[test]
fn what_is_done_wrong_is_noticed() {
    for sabotage in Sabotage::ALL {
        let noticed = (0..NOTICED_WITHIN).any(|seed| pair::run_with(seed, sabotage).is_err());
        assert!(noticed, "{sabotage:?} went unnoticed in {NOTICED_WITHIN} runs");
    }
}
