//! What becomes of WebSocket.

use super::super::observations::{Seen, Trial};
use super::draft::{Draft, words};
use super::path::Path;
use super::verdict::join;

pub(super) fn judge<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let Some(trial) = path.opening("websocket") else { return };
    if let Some(code) = opening(path, trial) {
        drafts.push(Draft::new(code, Some(trial)).failing(vec!["websocket"]));
    }
    if trial.fault.is_none() {
        versions(path, drafts);
        stripped(trial, drafts);
    }
}

/// Why it does not open. What it has in common with every other request is found elsewhere.
fn opening(path: &Path<'_>, trial: &Trial) -> Option<&'static str> {
    let ours = trial.answer.as_ref().is_some_and(|answer| answer.ours);
    let code = trial.answer.as_ref().and_then(|answer| answer.code.as_deref());
    let fault = trial.fault.as_deref()?;
    match fault {
        "answered" if ours => return (code == Some("upgrade_required")).then_some("upgrade-removed"),
        "mute" => return Some("websocket-mute"),
        "cut" => return Some("websocket-cut"),
        "altered" => return Some("websocket-altered"),
        _ => {}
    }
    if let Some(told) = trial.diagnose.as_ref().filter(|told| told.seen && fault == "failed") {
        let removed = told.upgrade == Some(false) || told.code.as_deref() == Some("upgrade_required");
        let accepted = told.outcome.as_deref() == Some("accepted");
        return removed.then_some("upgrade-removed").or_else(|| accepted.then_some("upgrade-reset"));
    }
    if !path.http_passes() {
        return None;
    }
    match fault {
        "answered" => Some("upgrade-refused"),
        "reset" => Some("upgrade-reset"),
        "silent" => Some("upgrade-silent"),
        "failed" => Some("upgrade-lost"),
        _ => None,
    }
}

/// Older versions that do not pass where 13 does.
fn versions<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let mut lost: Vec<&Trial> = Vec::new();
    let mut off: Vec<&Trial> = Vec::new();
    for trial in path.all("websocket").filter(|trial| trial.fault.is_some()) {
        let answer = trial.answer.as_ref().filter(|answer| answer.ours);
        let told = trial.diagnose.as_ref().and_then(|diagnose| diagnose.code.as_deref());
        match answer.map(|answer| (answer.status, answer.code.as_deref())) {
            Some((404 | 429, _)) => {}
            Some((_, Some("version_not_supported"))) => off.push(trial),
            _ if told == Some("key_bytes_lost") => drafts.push(Draft::new("key-bytes-lost", Some(trial))),
            _ => lost.push(trial),
        }
    }
    for (code, trials) in [("versions-lost", lost), ("versions-off", off)] {
        let Some(first) = trials.first() else { continue };
        let mut names: Vec<_> = trials.iter().filter_map(|trial| trial.kind.as_deref()).collect();
        names.sort_by_key(|name| ["8", "7", "hixie-76", "hixie-75"].iter().position(|known| known == name));
        drafts.push(Draft::new(code, Some(first)).with("versions", join(names)).with("detail", words(first)));
    }
}

/// Headers of the handshake that did not arrive, though the upgrade did.
fn stripped<'a>(trial: &'a Trial, drafts: &mut Vec<Draft<'a>>) {
    let Some(Seen { headers, .. }) = &trial.seen else { return };
    let arrived = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];
    let sent = |name: &str| trial.sent.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let lost: Vec<_> = names.into_iter().filter(|name| sent(name) && !arrived(name)).collect();
    if !lost.is_empty() {
        drafts.push(Draft::new("websocket-stripped", Some(trial)).with("what", join(lost)));
    }
}
