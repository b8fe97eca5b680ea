//! The texts of findings, and the proxies that are known: `findings.json`, which the TypeScript client takes in too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Everything in `findings.json`. In texts a name in braces stands for what is filled in.
#[derive(Debug, Deserialize)]
pub struct Catalogue {
    /// The first sentence of a judgement: `works`, `partly`, `fails`, `none`, `unclear`, `unknown`.
    pub verdicts: BTreeMap<String, String>,
    /// Subjects of sentences: `proxy`, `forward`, `something`.
    pub who: BTreeMap<String, String>,
    /// What transports are called in sentences.
    pub names: BTreeMap<String, Name>,
    /// In the order in which they are told.
    pub findings: Vec<Entry>,
    /// In the order in which they are looked for.
    pub products: Vec<Product>,
}

/// A transport in a sentence.
#[derive(Debug, Deserialize)]
pub struct Name {
    /// The word.
    pub name: String,
    /// `do` or `does`.
    pub r#do: String,
}

/// A finding's texts.
#[derive(Debug, Deserialize)]
pub struct Entry {
    /// Its name, for good.
    pub code: String,
    /// It never keeps a session from working.
    #[serde(default)]
    pub note: bool,
    /// The reason as a clause, for the verdict.
    #[serde(default)]
    pub because: Option<String>,
    /// What is the matter.
    pub sentence: String,
    /// What to do.
    pub fix: String,
    /// What to do where the address has TLS already; as `fix` where it says nothing.
    #[serde(default)]
    pub secure_fix: Option<String>,
    /// Only the trial itself can tell who does it: what other answers betray may be about somebody else.
    #[serde(default)]
    pub own: bool,
    /// Which of a product's lines mends it.
    #[serde(default)]
    pub topic: Option<String>,
}

/// A proxy that is recognised.
#[derive(Debug, Deserialize)]
pub struct Product {
    /// In lower case.
    pub name: String,
    /// As its makers write it.
    pub title: String,
    /// Kind and text: `via`, `server`, `body` and `issuer` hold the text; `header` is the name of one in an answer; `added` are
    /// names, between commas, of headers which a request has gained.
    pub signs: Vec<(String, String)>,
    /// Configuration lines by topic.
    pub lines: BTreeMap<String, String>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    serde_json::from_str(include_str!("findings.json"))
        .expect("findings.json is part of the program, and its test reads it")
});

/// The catalogue.
pub fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}

impl Catalogue {
    /// The entry of a code.
    pub fn entry(&self, code: &str) -> Option<&Entry> {
        self.findings.iter().find(|entry| entry.code == code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_topics_have_lines() {
        let catalogue = catalogue();
        let codes: BTreeSet<_> = catalogue.findings.iter().map(|entry| &entry.code).collect();
        assert_eq!(codes.len(), catalogue.findings.len());
        let mut topics: BTreeSet<_> = catalogue.findings.iter().filter_map(|entry| entry.topic.as_deref()).collect();
        topics.insert("tunnel-timeout");
        for product in &catalogue.products {
            assert!(
                !product.signs.is_empty() && product.lines.keys().all(|topic| topics.contains(topic.as_str())),
                "{product:?}"
            );
        }
    }

    #[test]
    fn every_finding_is_documented() {
        let document = include_str!("../../../../docs/doctor.md");
        for Entry { code, note, sentence, fix, .. } in &catalogue().findings {
            let row = format!("| `{code}` | {} | {sentence} | {fix} |", if *note { "note" } else { "" });
            assert!(document.contains(&row), "docs/doctor.md lacks the row\n{row}");
        }
    }
}
