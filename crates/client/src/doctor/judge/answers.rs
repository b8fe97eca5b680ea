//! What becomes of plain requests: their bodies and headers, streamed answers, answers that take long, silence.

use super::super::catalogue::catalogue;
use super::super::observations::{Seen, Trial};
use super::draft::Draft;
use super::path::{HTTP, Path};
use super::verdict::join;

/// Messages that came in one read make a group; so many of them in the usual group are no accident of timing.
const GROUP_MIN: usize = 3;
/// Whoever gathers bytes lets half of the messages wait for longer than this, milliseconds. What lets them wait for less goes by
/// a clock: the 200 ms for which systems hold back a packet that is not full make groups of three.
const BLOCK_WAIT_MS_MIN: u64 = 150;
/// A usual delay above this is told, milliseconds.
const DELAY_MS_MIN: u64 = 60;

/// How the messages of a stream came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    /// One by one.
    Live,
    /// Some time after they were written.
    Delayed { ms: u64 },
    /// In groups of about so many bytes.
    Blocks { bytes: u64 },
    /// All at the end.
    Held,
}

pub(super) fn judge<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    if path.http_passes() {
        posts(path, drafts);
        streams(path, drafts);
        polls(path, drafts);
    }
    idle(path, drafts);
    for (what, code) in [("header", "header-limit"), ("address", "address-limit")] {
        let limited = path.all(what).find_map(|trial| Some((trial, trial.failed?)));
        let Some((trial, bytes)) = limited else { continue };
        let passed = trial.passed.unwrap_or_default();
        drafts.push(Draft::new(code, Some(trial)).with("bytes", bytes).with("passed", passed));
    }
    if let Some(Trial { seen: Some(seen), fault: None, .. }) = path.first("inspect") {
        headers(path, seen, drafts);
    }
}

/// Judges a stream by when its messages were written and when they came. Single stalls do not count: what half of the
/// messages met does.
pub(super) fn flow(trial: &Trial) -> Flow {
    let arrivals = &trial.arrivals;
    let (Some((written_last, _)), Some((_, came_first)), Some(size)) = (arrivals.last(), arrivals.first(), trial.size)
    else {
        return Flow::Live;
    };
    let group = |came: u64| arrivals.iter().filter(|(_, other)| *other == came).count();
    let mut groups: Vec<usize> = arrivals.iter().map(|(_, came)| group(*came)).collect();
    groups.sort_unstable();
    let usual = groups.get(groups.len() / 2).copied().unwrap_or(1);
    if arrivals.len() >= GROUP_MIN && came_first >= written_last {
        return Flow::Held;
    }
    let least = arrivals.iter().map(|(written, came)| came.saturating_sub(*written)).min().unwrap_or_default();
    let mut lags: Vec<u64> = arrivals.iter().map(|(written, came)| came.saturating_sub(written + least)).collect();
    lags.sort_unstable();
    match lags.get(lags.len() / 2) {
        Some(wait) if usual >= GROUP_MIN && *wait > BLOCK_WAIT_MS_MIN => Flow::Blocks { bytes: usual as u64 * size },
        Some(wait) if *wait >= DELAY_MS_MIN => Flow::Delayed { ms: lags.last().copied().unwrap_or_default() },
        _ => Flow::Live,
    }
}

/// Whether the realm itself refused, which is found elsewhere.
fn refused_by_realm(trial: &Trial) -> bool {
    trial.answer.as_ref().is_some_and(|answer| answer.ours && answer.status >= 400)
}

fn posts<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let Some(trial) = path.first("post").filter(|trial| !refused_by_realm(trial)) else { return };
    let code = match trial.fault.as_deref() {
        Some("answered" | "reset" | "silent" | "cut" | "mute" | "failed") => "post-refused",
        Some("altered") => "post-altered",
        _ => {
            if let Some(bytes) = trial.failed {
                let passed = trial.passed.unwrap_or_default();
                drafts.push(Draft::new("body-limit", Some(trial)).with("bytes", bytes).with("passed", passed));
            }
            return;
        }
    };
    drafts.push(Draft::new(code, Some(trial)).failing(path.failing(|trial| HTTP.contains(&transport(trial)))));
}

/// What a stream or poll that was tried stands for.
fn transport(trial: &Trial) -> &str {
    match (&*trial.what, trial.kind.as_deref()) {
        ("stream", Some(kind)) => kind,
        ("session", Some("http-stream")) => "chunk",
        ("poll", _) | ("session", Some("long-poll")) => "poll",
        _ => "websocket",
    }
}

fn streams<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let kinds = ["chunk", "sse", "iframe"];
    let opened = || kinds.into_iter().filter_map(|kind| Some((kind, path.opening(kind)?)));
    for code in ["stream-held", "stream-blocks", "stream-cut", "stream-refused", "stream-delayed", "stream-compressed"]
    {
        let hit: Vec<_> = opened().filter(|(_, trial)| stream(trial).contains(&code)).collect();
        let Some((_, first)) = hit.first() else { continue };
        let names: Vec<_> = hit.iter().map(|(kind, _)| *kind).collect();
        let told = join(names.iter().filter_map(|kind| Some(catalogue().names.get(*kind)?.name.as_str())).collect());
        let all = names.len() == opened().count() && names.len() > 1;
        let mut draft = Draft::new(code, Some(first)).with("kinds", if all { "all kinds" } else { &told });
        if !matches!(code, "stream-delayed" | "stream-compressed") {
            draft = draft.failing(names);
        }
        drafts.push(match flow(first) {
            Flow::Blocks { bytes } => draft.with("bytes", bytes),
            Flow::Delayed { ms } => draft.with("ms", ms),
            Flow::Live | Flow::Held => draft,
        });
    }
}

/// Everything that is wrong with a stream.
fn stream(trial: &Trial) -> Vec<&'static str> {
    if refused_by_realm(trial) {
        return Vec::new();
    }
    let wrong = match (trial.fault.as_deref(), flow(trial)) {
        (Some("silent" | "mute"), _) => Some("stream-held"),
        (Some("cut"), _) => Some("stream-cut"),
        (Some("answered" | "reset" | "failed"), _) => Some("stream-refused"),
        (Some(_), _) | (None, Flow::Live) => None,
        (None, Flow::Held) => Some("stream-held"),
        (None, Flow::Blocks { .. }) => Some("stream-blocks"),
        (None, Flow::Delayed { .. }) => Some("stream-delayed"),
    };
    let compressed = trial.answer.as_ref().is_some_and(|answer| answer.encoding.is_some());
    wrong.into_iter().chain(compressed.then_some("stream-compressed")).collect()
}

fn polls<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let cut = |trial: &&Trial| {
        let fault = matches!(trial.fault.as_deref(), Some("answered" | "reset" | "silent" | "cut" | "mute" | "failed"));
        fault && !refused_by_realm(trial)
    };
    let Some(trial) = path.all("poll").find(cut) else { return };
    let failing = path.failing(|other| other.what == "poll" && cut(&other));
    drafts.push(Draft::new("poll-cut", Some(trial)).failing(failing).with("seconds", trial.hold_s.unwrap_or_default()));
}

/// What silence ends. A certificate that is not good ends nothing: clients would not have come so far.
fn idle<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    for (kind, name, topic) in [("websocket", "WebSockets", "tunnel-timeout"), ("stream", "Streams", "timeout")] {
        let dropped = |trial: &&Trial| {
            trial.kind.as_deref() == Some(kind) && matches!(trial.fault.as_deref(), Some("cut" | "silent" | "mute"))
        };
        let Some(trial) = path.all("idle").find(dropped) else { continue };
        let seconds = trial.idle_s.unwrap_or_default();
        let draft = Draft::new("idle-dropped", Some(trial)).topic(topic);
        drafts.push(draft.with("kinds", name).with("seconds", seconds));
    }
}

/// Headers by which proxies are known even where it is not known what was sent.
const PROXIES: [&str; 9] = [
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-host",
    "x-real-ip",
    "x-varnish",
];
/// What belongs to one hop alone, so that every proxy changes it.
const HOP_BY_HOP: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "proxy-authorization"];

fn headers<'a>(path: &Path<'a>, seen: &Seen, drafts: &mut Vec<Draft<'a>>) {
    let inspect = path.first("inspect");
    if seen.http == "1.0" {
        drafts.push(Draft::new("http-1.0", inspect));
    }
    let sent = inspect.map(|trial| trial.sent.as_slice()).unwrap_or_default();
    let changes = changes(sent, &seen.headers);
    if !changes.is_empty() {
        drafts.push(Draft::new("headers-changed", inspect).with("changes", changes));
    }
}

/// `adds A and B; removes C; rewrites D`.
fn changes(sent: &[(String, String)], seen: &[(String, String)]) -> String {
    let value = |list: &[(String, String)], name: &str| {
        list.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let counts = |name: &&str| !HOP_BY_HOP.iter().any(|hop| hop.eq_ignore_ascii_case(name)) && !name.starts_with(':');
    let names = |list: &'_ [(String, String)]| -> Vec<String> {
        list.iter().map(|(name, _)| name.as_str()).filter(counts).map(str::to_owned).collect()
    };
    let mut added = names(seen);
    added.retain(|name| match sent {
        [] => PROXIES.iter().any(|known| known.eq_ignore_ascii_case(name)),
        _ => value(sent, name).is_none(),
    });
    let mut removed = names(sent);
    removed.retain(|name| value(seen, name).is_none());
    let mut rewritten = names(sent);
    rewritten.retain(|name| value(seen, name).is_some_and(|seen| Some(seen) != value(sent, name)));
    let mut parts = Vec::new();
    for (verb, mut names) in [("adds", added), ("removes", removed), ("rewrites", rewritten)] {
        names.sort_by_key(|name| name.to_ascii_lowercase());
        names.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
        if !names.is_empty() {
            parts.push(format!("{verb} {}", join(names.iter().map(String::as_str).collect())));
        }
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(arrivals: Vec<(u64, u64)>) -> Trial {
        Trial { size: Some(1024), arrivals, ..Trial::default() }
    }

    #[test]
    fn flows() {
        let live = stream_of((0..36).map(|n| (n * 100, n * 100 + 3)).collect());
        assert_eq!(flow(&live), Flow::Live);
        let stalled =
            stream_of((0..36).map(|n| (n * 100, if (9..19).contains(&n) { 1_900 } else { n * 100 + 3 })).collect());
        assert_eq!(flow(&stalled), Flow::Live);
        let held = stream_of((0..36).map(|n| (n * 100, 3_510)).collect());
        assert_eq!(flow(&held), Flow::Held);
        let in_reads = stream_of((0..36).map(|n| (n * 100, 3_510 + n / 12 * 6)).collect());
        assert_eq!(flow(&in_reads), Flow::Held);
        let blocks = stream_of((0..36).map(|n| (n * 100, (n / 16 + 1) * 1_600)).collect());
        assert_eq!(flow(&blocks), Flow::Blocks { bytes: 16 * 1024 });
        let delayed = stream_of((0..36).map(|n| (n * 100, n / 3 * 300 + 205)).collect());
        assert_eq!(flow(&delayed), Flow::Delayed { ms: 200 });
        let in_fours = stream_of((0..36).map(|n| (n * 100, n / 4 * 400 + 305)).collect());
        assert_eq!(flow(&in_fours), Flow::Blocks { bytes: 4 * 1024 });
        assert_eq!(flow(&Trial::default()), Flow::Live);
    }
}
