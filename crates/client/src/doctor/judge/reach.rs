//! Whether connections open, who shows which certificate, and whether a realm answers.

use super::super::observations::{Certificate, Trial};
use super::draft::Draft;
use super::path::Path;

pub(super) fn judge<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    connections(path, drafts);
    certificates(path, drafts);
    answers(path, drafts);
    inspected(path, drafts);
}

/// What keeps a connection from opening.
fn connections<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    for trial in path.trials().filter(|trial| !matches!(&*trial.what, "root" | "http2" | "idle")) {
        let Some(code) = connection(path, trial) else { continue };
        if drafts.iter().any(|draft| draft.code == code) {
            continue;
        }
        let failing = path.failing(|other| connection(path, other) == Some(code));
        let schemes = trial.answer.as_ref().map(|answer| answer.schemes.join(", ")).unwrap_or_default();
        let announced = path.http2().is_some_and(|http2| http2.extended_connect == Some(true));
        let extended = if announced { "announces" } else { "does not announce" };
        let draft = Draft::new(code, Some(trial)).failing(failing).with("schemes", schemes);
        drafts.push(draft.with("extended", extended));
    }
}

fn connection(path: &Path<'_>, trial: &Trial) -> Option<&'static str> {
    let status = trial.answer.as_ref().map_or(0, |answer| answer.status);
    Some(match trial.fault.as_deref()? {
        "unresolved" => "name-unresolved",
        "refused" => "nothing-listens",
        "unreachable" => "unreachable",
        "proxy-unreachable" => "proxy-unreachable",
        "credentials" => "proxy-credentials",
        "credentials-refused" => "proxy-credentials-refused",
        "tunnel-refused" if (502..=504).contains(&status) => "tunnel-failed",
        "tunnel-refused" if path.port == 443 => "tunnels-forbidden",
        "tunnel-refused" => "tunnel-refused",
        "tls" | "not-http" if path.http2().is_some() => "http2-only",
        "tls" => "tls-failed",
        "not-tls" => "not-tls",
        "not-http" => "not-http",
        _ => return None,
    })
}

/// What is wrong with the certificate.
fn certificates<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let wrong = |trial: &&Trial| trial.tls.as_ref().is_some_and(|tls| tls.fault.is_some());
    let Some(trial) = path.trials().find(wrong) else { return };
    let failing = path.failing(|other| other.fault.as_deref() == Some("certificate"));
    drafts.extend(certificate(trial).map(|draft| draft.failing(failing)));
}

/// A certificate's fault as a finding.
pub(super) fn certificate(trial: &Trial) -> Option<Draft<'_>> {
    let tls = trial.tls.as_ref()?;
    let code = match tls.fault.as_deref()? {
        "expired" => "certificate-expired",
        "not-yet-valid" => "certificate-not-yet-valid",
        "wrong-name" => "certificate-wrong-name",
        "self-signed" => "certificate-self-signed",
        "unfit" => "certificate-unfit",
        _ => "certificate-untrusted",
    };
    let draft = Draft::new(code, Some(trial)).with("issuer", &tls.issuer).with("subject", &tls.subject);
    Some(draft.with("detail", tls.detail.clone().unwrap_or_default()).with("names", names(tls)))
}

fn names(tls: &Certificate) -> String {
    if tls.names.is_empty() { "no host at all".to_owned() } else { tls.names.join(", ") }
}

/// What the answers say about who gives them.
fn answers<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    own_refusals(path, drafts);
    let Some(inspect) = path.first("inspect") else { return };
    let code = match inspect.fault.as_deref() {
        Some("reset" | "cut") => "http-reset",
        Some("silent" | "mute") => "http-silent",
        Some("failed") => "http-lost",
        Some("answered") => match answered(path, inspect) {
            Some(code) => code,
            None => return,
        },
        _ => return,
    };
    let fault = inspect.fault.as_deref();
    let failing = path.failing(|trial| trial.fault.as_deref() == fault && !is_own(trial));
    let failing = if is_own(inspect) { path.fails() } else { failing };
    let failing = if code == "probes-off" { Vec::new() } else { failing };
    let server = inspect.answer.as_ref().and_then(|answer| answer.server.clone());
    let draft = Draft::new(code, Some(inspect)).failing(failing).with("root", root(path));
    drafts.push(draft.with("server", server.map(|server| format!(", Server: {server}")).unwrap_or_default()));
}

/// Whether the realm itself said it.
fn is_own(trial: &Trial) -> bool {
    trial.answer.as_ref().is_some_and(|answer| answer.ours)
}

/// The address without its path.
fn root(path: &Path<'_>) -> String {
    let url = &path.observations.url;
    url.strip_suffix(path.prefix.as_str()).unwrap_or(url).to_owned()
}

/// Who answers a probe so, and why.
fn answered(path: &Path<'_>, inspect: &Trial) -> Option<&'static str> {
    let answer = inspect.answer.as_ref()?;
    let found = |what| path.first(what).is_some_and(|trial| trial.fault.is_none());
    if found("realm") {
        let off = answer.ours && answer.status == 404;
        return off.then_some("probes-off").or_else(|| (!answer.ours).then_some("http-refused"));
    }
    if found("root") {
        return Some("wrong-prefix");
    }
    match (answer.ours, answer.status) {
        (true, 404) if path.prefix.is_empty() => Some("realm-fault"),
        (true, 404) => Some("prefix-kept"),
        (true, _) => None,
        (false, 502..=504) => Some("realm-not-reached"),
        (false, 401 | 403 | 405 | 451) => Some("http-refused"),
        (false, _) => Some("not-a-realm"),
    }
}

/// What the realm refuses of its own accord.
fn own_refusals<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    for trial in path.trials().filter(|trial| !matches!(&*trial.what, "root" | "http2")) {
        let Some(code) = own_refusal(trial) else { continue };
        if drafts.iter().all(|draft| draft.code != code) {
            let failing = path.failing(|other| code != "probes-busy" && own_refusal(other) == Some(code));
            drafts.push(Draft::new(code, Some(trial)).failing(failing));
        }
    }
}

fn own_refusal(trial: &Trial) -> Option<&'static str> {
    trial.fault.as_ref()?;
    let told = trial.diagnose.as_ref().and_then(|diagnose| diagnose.code.as_deref());
    let answer = trial.answer.as_ref().filter(|answer| answer.ours);
    let code = answer.and_then(|answer| answer.code.as_deref()).or(told)?;
    match (code, answer.map_or(0, |answer| answer.status)) {
        ("bad_origin", _) => Some("origin-refused"),
        ("draining", _) => Some("realm-draining"),
        ("overloaded", _) => Some("realm-full"),
        ("too_many_probes", _) => Some("probes-busy"),
        (_, 500..=599) => Some("realm-fault"),
        _ => None,
    }
}

/// TLS that is opened on the way: a certificate that is not the world's, and requests that were changed within.
fn inspected<'a>(path: &Path<'a>, drafts: &mut Vec<Draft<'a>>) {
    let Some(trial) = path.trials().find(|trial| trial.tls.is_some()) else { return };
    let Some(tls) = trial.tls.as_ref().filter(|tls| tls.trusted.as_deref() != Some("system")) else { return };
    let forward = |text: &str| ["squid", "mitmproxy"].iter().any(|name| text.to_ascii_lowercase().contains(name));
    let via = |trial: &Trial| {
        let seen = trial.seen.as_ref()?;
        seen.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("via")).map(|(_, value)| value.clone())
    };
    if path.trials().filter_map(via).any(|via| forward(&via)) {
        drafts.push(Draft::new("tls-inspected", Some(trial)).with("issuer", &tls.issuer));
    }
}
