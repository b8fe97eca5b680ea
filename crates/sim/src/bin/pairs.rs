//! Plays session pairs over paths that break: `pairs [--runs N] [--seed FIRST] [--threads N] [--trace]`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use throughline_sim::pair::rule::Rule;
use throughline_sim::pair::{self, Outcome};

const USAGE: &str = "usage: pairs [--runs N] [--seed FIRST] [--threads N] [--trace]";

struct Asked {
    runs: u64,
    seed: u64,
    threads: u64,
    trace: bool,
}

fn main() -> ExitCode {
    let Some(asked) = asked() else { return said(USAGE, ExitCode::from(2)) };
    if asked.trace {
        let (lines, outcome) = pair::trace(asked.seed);
        let end = outcome.as_ref().map_or_else(String::clone, |o| format!("{o:?}"));
        let code = if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        return said(&format!("{}\n{end}", lines.join("\n")), code);
    }
    let start = Instant::now();
    let broken = AtomicBool::new(false);
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let play = |first| {
            scope.spawn({
                let (asked, broken) = (&asked, &broken);
                move || part(asked, first, broken)
            })
        };
        let handles: Vec<_> = (0..asked.threads).map(play).collect();
        handles.into_iter().map(|h| h.join().unwrap_or_else(|_| Part::panicked())).collect()
    });
    report(&parts, start.elapsed().as_secs_f64().max(0.001))
}

fn asked() -> Option<Asked> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut asked = Asked { runs: 20_000, seed: 0, threads, trace: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--trace" => asked.trace = true,
            "--runs" => asked.runs = words.next()?.parse().ok()?,
            "--seed" => asked.seed = words.next()?.parse().ok()?,
            "--threads" => asked.threads = words.next()?.parse().ok().filter(|n| *n > 0)?,
            _ => return None,
        }
    }
    Some(asked)
}

#[derive(Default)]
struct Part {
    runs: u64,
    total: Outcome,
    violations: Vec<String>,
}

impl Part {
    fn panicked() -> Part {
        Part { violations: vec!["a run panicked; its message is above".into()], ..Part::default() }
    }
}

/// The runs of one thread: every `threads`th seed, until something is broken anywhere.
fn part(asked: &Asked, first: u64, broken: &AtomicBool) -> Part {
    let mut part = Part::default();
    let mut number = first;
    while number < asked.runs && !broken.load(Ordering::Relaxed) {
        match pair::run(asked.seed + number) {
            Ok(outcome) => part.total.add(&outcome),
            Err(text) => {
                broken.store(true, Ordering::Relaxed);
                part.violations.push(format!("{text}\n  again: pairs --seed {} --runs 1 --trace", asked.seed + number));
            }
        }
        part.runs += 1;
        number += asked.threads;
    }
    part
}

fn report(parts: &[Part], seconds: f64) -> ExitCode {
    let (mut runs, mut total) = (0, Outcome::default());
    let mut text = String::new();
    for part in parts {
        runs += part.runs;
        total.add(&part.total);
        part.violations.iter().for_each(|v| text += &format!("VIOLATION {v}\n"));
    }
    let violations: usize = parts.iter().map(|p| p.violations.len()).sum();
    text += &format!(
        "{runs} runs, {violations} violations, {:.0} runs/s, {seconds:.1} s\n\
         {} virtual hours, {} switches of transport, {} links begun, {} publishes, {} restarts, {} steps\n\
         {} failures of paths told, {} reported; at most {} links begun in three minutes of a settled path\n\
         back to the best transport after more than a minute: {} of {} times, at most {} ms\n",
        runs as f64 / seconds,
        total.virtual_ms / 3_600_000,
        total.switches,
        total.attempts,
        total.publishes,
        total.restarts,
        total.steps,
        total.failures,
        total.reports,
        total.settled_most,
        total.back_late,
        total.cleared,
        total.back_most_ms,
    );
    let met = Rule::NAMES.iter().zip(total.met).map(|(name, n)| format!("{name} {n}"));
    text += &format!("connections by what a middlebox did: {}", met.collect::<Vec<_>>().join(", "));
    said(&text, if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where nobody listens any more there is nothing to be said.
fn said(text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}
