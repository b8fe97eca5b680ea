//! Tables of recorded runs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// Runs of one measure, by the profile's name, in the order of their first appearance.
type Peers = Vec<(String, Vec<Value>)>;

/// Names of the figures that a table shows.
fn columns(kind: &str) -> Vec<&'static str> {
    let names = match kind {
        "fanout" | "pubs" => {
            "deliveries_s cpu_us_per_delivery server_user_share server_cpu_pct loadgen_cpu_pct other_cpu_pct \
             deliveries_per_read bytes_per_delivery p50_us p99_us lost late_or_dup disconnected"
        }
        "beside" => {
            "p50_us p90_us p99_us max_us pings ping_lost deliveries_s cpu_us_per_delivery server_cpu_pct \
             loadgen_cpu_pct other_cpu_pct lost late_or_dup disconnected"
        }
        "idle" => {
            "rss_kib_per_conn pss_kib_per_conn rss_mib_before kernel_slab_kib_per_pair connects_s cpu_us_per_connect \
             idle_cpu_pct other_cpu_pct disconnected"
        }
        "storm" => "secs connects_s cpu_us_per_connect server_cpu_pct loadgen_cpu_pct other_cpu_pct disconnected",
        "durable" => {
            "events_s cpu_us_per_event p50_us p99_us max_us server_cpu_pct loadgen_cpu_pct other_cpu_pct \
             unacknowledged disconnected"
        }
        "replay" => {
            "events_s cpu_us_per_delivery server_cpu_pct loadgen_cpu_pct other_cpu_pct deliveries_per_read stored_s \
             lost late_or_dup disconnected"
        }
        _ => {
            "p50_us p90_us p99_us max_us server_cpu_pct cpu_us_per_delivery loadgen_cpu_pct other_cpu_pct lost \
             late_or_dup disconnected"
        }
    };
    names.split_whitespace().collect()
}

fn kind(measure: &str) -> &str {
    measure.split(':').next().unwrap_or_default()
}

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_default()
}

/// Runs by measure and mode.
fn grouped(records: &[Value]) -> BTreeMap<(&str, &str), Peers> {
    let mut groups: BTreeMap<_, Peers> = BTreeMap::new();
    for record in records {
        let peers = groups.entry((text(record, "measure"), text(record, "mode"))).or_default();
        let name = text(record, "peer");
        match peers.iter_mut().find(|peer| peer.0 == name) {
            Some(peer) => peer.1.push(record.clone()),
            None => peers.push((name.to_owned(), vec![record.clone()])),
        }
    }
    groups
}

/// Least, median and largest.
fn spread(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let half = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
    Some((first, median, last))
}

fn median(runs: &[Value], column: &str) -> Option<f64> {
    spread(runs.iter().filter_map(|run| run[column].as_f64()).collect()).map(|(_, median, _)| median)
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(x) if x.abs() >= 100.0 => format!("{x:.0}"),
        Some(x) => format!("{x:.3}"),
    }
}

/// Medians of all runs, as Markdown.
pub fn table(records: &[Value]) -> String {
    let mut out = String::new();
    for ((measure, mode), peers) in grouped(records) {
        let columns = columns(kind(measure));
        let _ = writeln!(out, "\n## {measure} ({mode}), medians\n\n| peer | runs | {} |", columns.join(" | "));
        let _ = writeln!(out, "|---|---|{}", "---|".repeat(columns.len()));
        for (peer, runs) in peers {
            let good = runs.iter().filter(|run| run.get("error").is_none()).count();
            if good == 0 {
                let _ =
                    writeln!(out, "| {peer} | 0 | {} |", text(&runs[0], "error").lines().next().unwrap_or_default());
                continue;
            }
            let cells: Vec<_> = columns.iter().map(|column| cell(median(&runs, column))).collect();
            let _ = writeln!(out, "| {peer} | {good} | {} |", cells.join(" | "));
        }
    }
    out
}

/// The ratio of each profile to `base` (the first one if None), round by round: median, least and largest, as Markdown.
pub fn ratios(records: &[Value], base: Option<&str>) -> String {
    let mut out = String::new();
    for ((measure, mode), peers) in grouped(records) {
        let found = peers.iter().find(|peer| base.is_none_or(|base| peer.0 == base));
        let Some((base, base_runs)) = found else { continue };
        let others: Vec<_> = peers.iter().filter(|peer| peer.0 != *base).collect();
        let names: Vec<_> = others.iter().map(|peer| format!("{} / {base}", peer.0)).collect();
        let _ = writeln!(out, "\n## {measure} ({mode}), median ratio per round (least to largest)\n");
        let _ = writeln!(out, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for column in columns(kind(measure)).iter().filter(|column| !column.ends_with("_pct")) {
            let cells: Vec<_> = others.iter().map(|peer| ratio(base_runs, &peer.1, column)).collect();
            if cells.iter().any(|cell| cell != "-") {
                let _ = writeln!(out, "| {column} | {} |", cells.join(" | "));
            }
        }
    }
    out
}

fn ratio(base: &[Value], other: &[Value], column: &str) -> String {
    let quotients = base.iter().zip(other).filter_map(|(base, other)| {
        let base = base[column].as_f64().filter(|base| *base != 0.0)?;
        Some(other[column].as_f64()? / base)
    });
    match spread(quotients.collect()) {
        None => "-".into(),
        Some((least, median, largest)) => format!("{median:.3} ({least:.3} to {largest:.3})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(peer: &str, cost: f64) -> Value {
        json!({"peer": peer, "measure": "fanout:9", "mode": "pinned", "cpu_us_per_delivery": cost})
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let records = [run("a", 1.0), run("b", 2.0), run("a", 4.0), run("b", 2.0), run("a", 2.0), run("b", 2.0)];
        let shown = ratios(&records, None);
        assert!(shown.contains("| | b / a |"), "{shown}");
        assert!(shown.contains("| cpu_us_per_delivery | 1.000 (0.500 to 2.000) |"), "{shown}");
        assert!(ratios(&records, Some("b")).contains("a / b"));
        assert!(table(&records).contains("| a | 3 | - | 2.000 |"), "{}", table(&records));
    }
}
