//! The whole in a sentence.

use super::super::catalogue::{Entry, catalogue};
use super::Severity;
use super::draft::Draft;
use super::path::Path;

type Found<'a> = (Severity, usize, &'static Entry, Draft<'a>);

pub(super) fn verdict(path: &Path<'_>, found: &[Found<'_>]) -> String {
    let text = |name: &str| catalogue().verdicts.get(name).cloned().unwrap_or_default();
    let because = |transport: Option<&str>| {
        found.iter().find_map(|(_, _, entry, draft)| {
            let concerns = transport.is_none_or(|transport| draft.transports.contains(&transport));
            let because = entry.because.as_ref().filter(|_| concerns && !draft.aside)?;
            Some(draft.fill(path, because))
        })
    };
    let unknown = || text("unknown");
    let works = path.works();
    if works.is_empty() {
        let reasons = path.fails().into_iter().map(Some).chain([None]);
        let reason = reasons.into_iter().find_map(because).unwrap_or_else(unknown);
        let form = if path.fails().is_empty() { "unclear" } else { "none" };
        return text(form).replace("{url}", &path.observations.url).replace("{because}", &reason);
    }
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for transport in path.fails() {
        let reason = because(Some(transport)).unwrap_or_else(unknown);
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(transport),
            None => groups.push((reason, vec![transport])),
        }
    }
    let fails: Vec<String> = groups
        .iter()
        .map(|(reason, names)| {
            let (what, verb) = list(names);
            text("fails").replace("{what}", &what).replace("{do}", &verb).replace("{because}", reason)
        })
        .collect();
    let form = text(if fails.is_empty() { "works" } else { "partly" });
    form.replace("{works}", &list(&works).0).replace("{fails}", &fails.join("; "))
}

/// Transports in words, and the verb that goes with them. The three kinds of stream are one word when they are all there.
pub(super) fn list(transports: &[&str]) -> (String, String) {
    let kinds = ["chunk", "sse", "iframe"];
    let whole = kinds.iter().all(|kind| transports.contains(kind));
    let names = &catalogue().names;
    let words: Vec<_> = transports
        .iter()
        .filter(|name| !whole || !kinds.contains(name) || **name == "chunk")
        .filter_map(|name| names.get(if whole && *name == "chunk" { "streams" } else { *name }))
        .collect();
    let verb = match words.as_slice() {
        [only] => only.r#do.clone(),
        _ => "do".to_owned(),
    };
    (join(words.iter().map(|word| word.name.as_str()).collect()), verb)
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn join(words: Vec<&str>) -> String {
    match words.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}
