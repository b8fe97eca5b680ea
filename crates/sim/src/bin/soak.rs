//! Plays seeds until a number of them or a time has passed: `soak [SEEDS] [FIRST]`. Ends at the first broken rule.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let (seeds, first) = match (numbers.next(), numbers.next()) {
        (None, _) => (100_000, 0),
        (Some(Ok(seeds)), None) => (seeds, 0),
        (Some(Ok(seeds)), Some(Ok(first))) => (seeds, first),
        _ => return said("usage: soak [SEEDS] [FIRST]", ExitCode::from(2)),
    };
    let (start, mut virtual_ms, mut restarts) = (Instant::now(), 0, 0);
    for seed in first..first.saturating_add(seeds) {
        match throughline_sim::run(seed) {
            Ok(outcome) => {
                virtual_ms += outcome.virtual_ms;
                restarts += outcome.restarts;
            }
            Err(text) => return said(&text, ExitCode::FAILURE),
        }
    }
    let seconds = start.elapsed().as_secs_f64().max(0.001);
    let rate = seeds as f64 / seconds;
    let hours = virtual_ms as f64 / 3.6e6;
    let text = format!("{seeds} seeds held: {rate:.0} a second, {hours:.1} virtual hours, {restarts} restarts");
    said(&text, ExitCode::SUCCESS)
}

/// Where nobody listens any more there is nothing to be said.
fn said(text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}
