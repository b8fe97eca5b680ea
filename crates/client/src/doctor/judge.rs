//! From observations to findings. Pure: nothing is asked of anybody, and the same observations always say the same.
//!
//! `conformance/vectors/doctor.json` says what, for whoever else holds these rules.

mod answers;
mod aside;
mod draft;
mod outcome;
mod path;
mod reach;
mod verdict;
mod websocket;

use serde::Serialize;

use super::catalogue::{Entry, catalogue};
use super::observations::Observations;
use draft::Draft;
use path::Path;

pub use outcome::outcome;

/// What is made of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Sessions get through on the way that was asked about.
    pub works: bool,
    /// The whole in a sentence.
    pub verdict: String,
    /// The gravest first.
    pub findings: Vec<Finding>,
}

/// One thing that a path does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name in the catalogue.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What fails for this reason: `websocket`, `chunk`, `sse`, `iframe`, `poll`.
    pub transports: Vec<&'static str>,
    /// What is the matter.
    pub sentence: String,
    /// What to do.
    pub fix: String,
    /// The proxy that does it, where it is recognised.
    pub product: Option<&'static str>,
    /// A line for that proxy's configuration.
    pub line: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No session works, and this is among the reasons.
    Broken,
    /// Sessions work, but worse for it.
    Degraded,
    /// Nothing fails for it.
    Note,
}

/// Judges what was observed.
pub fn judge(observations: &Observations) -> Judgement {
    let path = Path::new(observations);
    let mut drafts = Vec::new();
    reach::judge(&path, &mut drafts);
    websocket::judge(&path, &mut drafts);
    answers::judge(&path, &mut drafts);
    aside::judge(&path, &mut drafts);
    let works = !path.works().is_empty();
    let mut found: Vec<(Severity, usize, &Entry, Draft<'_>)> = drafts
        .into_iter()
        .filter_map(|draft| {
            let place = catalogue().findings.iter().position(|entry| entry.code == draft.code)?;
            let entry = catalogue().findings.get(place)?;
            Some((severity(entry, &draft, works), place, entry, draft))
        })
        .collect();
    found.sort_by_key(|(severity, place, ..)| (*severity, *place));
    let verdict = verdict::verdict(&path, &found);
    let findings = found.iter().map(|(severity, _, entry, draft)| draft.finding(&path, entry, *severity)).collect();
    Judgement { works, verdict, findings }
}

fn severity(entry: &Entry, draft: &Draft<'_>, works: bool) -> Severity {
    match (entry.note || draft.aside, works) {
        (true, _) => Severity::Note,
        (false, true) => Severity::Degraded,
        (false, false) => Severity::Broken,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        observations: Observations,
        judgement: Value,
    }

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/vectors/doctor.json");

    #[test]
    fn vectors() {
        let vectors: Vec<Vector> = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();
        assert!(!vectors.is_empty());
        for Vector { name, observations, judgement } in vectors {
            let judged = serde_json::to_value(judge(&observations)).unwrap();
            assert_eq!(judged, judgement, "{name}:\n{}", serde_json::to_string_pretty(&judged).unwrap());
        }
    }

    #[test]
    fn every_finding_has_a_vector_and_no_text_has_a_hole() {
        let text = std::fs::read_to_string(PATH).unwrap();
        let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
        let judged: Vec<_> = vectors.iter().map(|vector| judge(&vector.observations)).collect();
        for entry in &catalogue().findings {
            assert!(
                judged.iter().any(|j| j.findings.iter().any(|f| f.code == entry.code)),
                "no vector of {}",
                entry.code
            );
        }
        for judgement in judged {
            for text in judgement.findings.iter().flat_map(|f| [&f.sentence, &f.fix]).chain([&judgement.verdict]) {
                assert!(!text.contains('{'), "{text}");
            }
        }
    }
}
