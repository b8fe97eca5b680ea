//! Thousands of short runs. A failing one prints its seed: play it alone with `SEED=n cargo test -p throughline-sim`.

#[test]
fn every_seed_holds() {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        throughline_sim::run(seed).unwrap_or_else(|text| panic!("{text}"));
        return;
    }
    let seeds = std::env::var("SEEDS").map_or(2_000, |n| n.parse::<u64>().expect("SEEDS is a number"));
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = |first: usize| move || (first as u64..seeds).step_by(threads).filter_map(broken).collect();
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        parts.into_iter().flat_map(|part| -> Vec<String> { part.join().expect("a run does not panic") }).collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed:\n{}",
        failed.len(),
        failed[..failed.len().min(10)].join("\n")
    );
}

fn broken(seed: u64) -> Option<String> {
    throughline_sim::run(seed).err()
}

#[test]
fn a_run_is_the_same_every_time() {
    for seed in 0..20 {
        assert_eq!(throughline_sim::run(seed), throughline_sim::run(seed));
    }
}
