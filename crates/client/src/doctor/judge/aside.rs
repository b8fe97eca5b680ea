//! Whether another way would do better: with or without TLS, without the forward proxy.

use super::super::observations::Trial;
use super::draft::{Draft, words};
use super::path::Path;
use super::reach;

pub(super) fn judge<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    if path.secure {
        plain(path, drafts);
    } else {
        secure(path, drafts);
    }
    direct(path, drafts);
}

fn websocket<'a>(mut trials: impl Iterator<Item = &'a Trial>) -> Option<&'a Trial> {
    trials.find(|trial| trial.what == "websocket" && trial.kind.as_deref() == Some("13"))
}

fn works(trial: Option<&Trial>) -> bool {
    trial.is_some_and(|trial| trial.fault.is_none())
}

/// The same address with TLS, where it was asked for without.
fn secure<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let Some(inspect) = path.other_scheme().find(|trial| trial.what == "inspect") else { return };
    // Where nothing can be reached at all, that there is no TLS either is no news.
    if !path.http_passes() && !works(Some(inspect)) {
        return;
    }
    match inspect.fault.as_deref() {
        Some("not-tls" | "tls" | "reset" | "refused" | "cut" | "not-http") => {
            drafts.push(Draft::new("no-tls", Some(inspect)).aside());
        }
        Some("certificate") => drafts.extend(reach::certificate(inspect).map(Draft::aside)),
        _ => {}
    }
    let better = works(websocket(path.other_scheme()));
    if better && path.works_over("websocket") == Some(false) {
        let url = path.with_scheme("https");
        drafts.push(Draft::new("secure-works", websocket(path.other_scheme())).with("secure_url", url).aside());
    }
}

/// The same address without TLS, where it was asked for with it and nothing works.
fn plain<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let inspect = path.other_scheme().find(|trial| trial.what == "inspect");
    if path.works().is_empty() && works(inspect) {
        drafts.push(Draft::new("plain-works", inspect).with("plain_url", path.with_scheme("http")).aside());
    }
}

fn direct<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let trials: Vec<_> = path.without_proxy().collect();
    let inspect = trials.iter().copied().find(|trial| trial.what == "inspect");
    if works(websocket(trials.iter().copied())) && path.works_over("websocket") == Some(false) {
        drafts.push(Draft::new("direct-works", inspect).aside());
    }
    let blocked = |trial: &&Trial| {
        matches!(trial.fault.as_deref(), Some("unresolved" | "refused" | "unreachable" | "silent" | "reset"))
    };
    if let Some(inspect) = inspect.filter(blocked) {
        drafts.push(Draft::new("direct-blocked", Some(inspect)).with("detail", words(inspect)).aside());
    }
}
