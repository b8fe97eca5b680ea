//! `throughline doctor`: what the path to a realm does to each transport.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use throughline_client::RealmUrl;
use throughline_client::doctor::{self, Finding, Judgement, Observations, Plan, Severity, Trial};

use crate::arguments::Doctor;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(url: &RealmUrl, arguments: Doctor) -> Result<(), Failure> {
    let mut plan = Plan::default();
    plan.idle_s = arguments.idle;
    plan.origin = arguments.origin;
    let progress = progress();
    let observations = doctor::observe(url, &plan, |trial| {
        progress.inc(1);
        progress.set_message(format!("{} {}: {}", name(trial), way(trial), doctor::outcome(trial)));
    });
    let observations = observations.await.map_err(Failure::failed)?;
    progress.finish_and_clear();
    let judgement = doctor::judge(&observations);
    let text = if arguments.json { as_json(&observations, &judgement)? } else { as_text(&observations, &judgement) };
    let printed = output::print(text.trim_end()).map_err(Failure::output);
    if judgement.works { printed } else { Err(Failure::Failed(judgement.verdict)) }
}

/// What is under way, if a person reads standard error.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} tried in {elapsed}, {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn as_json(observations: &Observations, judgement: &Judgement) -> Result<String, Failure> {
    let Judgement { works, verdict, findings } = judgement;
    let report = json!({ "works": works, "verdict": verdict, "findings": findings, "observations": observations });
    serde_json::to_string(&report).map_err(Failure::failed)
}

fn as_text(observations: &Observations, judgement: &Judgement) -> String {
    let mut text = format!("{}\n", judgement.verdict);
    for finding in &judgement.findings {
        text.push_str(&told(finding));
    }
    text.push_str(&table(observations));
    text
}

fn told(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Broken => "broken",
        Severity::Degraded => "degraded",
        Severity::Note => "note",
    };
    let mut text = format!("\n{severity}: {} ({})\n    {}\n", finding.sentence, finding.code, finding.fix);
    if let (Some(product), Some(line)) = (&finding.product, &finding.line) {
        // Writing into a text does not fail.
        let _ = writeln!(text, "    {product}: {line}");
    }
    text
}

/// Everything that was tried, each way for itself.
fn table(observations: &Observations) -> String {
    let mut text = String::new();
    let mut ways: Vec<(&str, bool)> = Vec::new();
    for trial in &observations.trials {
        if !ways.contains(&(&trial.way, trial.secure)) {
            ways.push((&trial.way, trial.secure));
        }
    }
    let own = if observations.proxy.is_some() { "proxy" } else { "direct" };
    let secure = observations.url.starts_with("https:");
    ways.sort_by_key(|(via, tls)| (*via != own, *tls != secure));
    for (via, tls) in ways {
        let mut trials: Vec<_> = observations.trials.iter().filter(|t| t.way == via && t.secure == tls).collect();
        trials.sort_by_key(|trial| place(trial));
        let Some(first) = trials.first() else { continue };
        let _ = writeln!(
            text,
            "\n{:<27} {:<34} {:>7} {:>6} {:>6} {:>6} {:>7}",
            way(first),
            "",
            "connect",
            "TLS",
            "head",
            "first",
            "round"
        );
        for trial in trials {
            let ms = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
            let _ = writeln!(
                text,
                "  {:<25} {:<34} {:>7} {:>6} {:>6} {:>6} {:>7}",
                name(trial),
                short(&doctor::outcome(trial)),
                ms(trial.connect_ms),
                ms(trial.tls_ms),
                ms(trial.head_ms),
                ms(trial.first_ms),
                ms(trial.round_trip_ms)
            );
        }
    }
    text.push_str("\nTimes are milliseconds; docs/doctor.md explains every line.\n");
    text
}

/// A text that fits its column.
fn short(text: &str) -> String {
    const CHARACTERS_MAX: usize = 34;
    if text.chars().count() <= CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARACTERS_MAX - 3).chain("...".chars()).collect()
}

/// The order of a table's lines.
fn place(trial: &Trial) -> (usize, usize) {
    let whats = [
        "inspect",
        "realm",
        "root",
        "http2",
        "session",
        "websocket",
        "stream",
        "poll",
        "post",
        "header",
        "address",
        "idle",
    ];
    let kinds = ["13", "8", "7", "hixie-76", "hixie-75", "chunk", "sse", "iframe"];
    let what = whats.iter().position(|what| *what == trial.what).unwrap_or(whats.len());
    (what, kinds.iter().position(|kind| Some(*kind) == trial.kind.as_deref()).unwrap_or(0))
}

/// What was tried.
fn name(trial: &Trial) -> String {
    let kind = trial.kind.as_deref().unwrap_or_default();
    let idle_s = trial.idle_s.unwrap_or_default();
    match (&*trial.what, kind) {
        ("inspect", _) => "request".to_owned(),
        ("realm", _) => "realm".to_owned(),
        ("http2", _) => "request in HTTP/2".to_owned(),
        ("root", _) => "realm without prefix".to_owned(),
        ("session", kind) => format!("session over {kind}"),
        ("websocket", version) => format!("WebSocket {version}"),
        ("stream", "sse") => "event stream".to_owned(),
        ("stream", "iframe") => "iframe stream".to_owned(),
        ("stream", _) => "HTTP stream".to_owned(),
        ("poll", _) => format!("poll held {} s", trial.hold_s.unwrap_or_default()),
        ("post", _) => "POST".to_owned(),
        ("header", _) => "header".to_owned(),
        ("address", _) => "address".to_owned(),
        ("idle", "websocket") => format!("WebSocket silent {idle_s} s"),
        ("idle", _) => format!("stream silent {idle_s} s"),
        (what, _) => what.to_owned(),
    }
}

fn way(trial: &Trial) -> &'static str {
    match (&*trial.way, trial.secure) {
        ("proxy", true) => "through the proxy, TLS",
        ("proxy", false) => "through the proxy",
        (_, true) => "directly, TLS",
        (_, false) => "directly",
    }
}
