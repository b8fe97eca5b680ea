//! What the documents cite exists.

use std::collections::BTreeSet;

use throughline_xtask::tree::File;
use throughline_xtask::{manifest, markdown, report, tree};

fn documents() -> Vec<File> {
    tree::files_with(&["md"])
}

/// Folders and files of the root: a quoted word that begins with one of the folders is a path.
fn is_path(quoted: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
    let top = ["crates/", "client-js/", "tests/", "docs/", "conformance/", "fuzz/", "bench/", ".ci/"];
    quoted.chars().all(plain) && (top.iter().any(|top| quoted.starts_with(top)) || quoted.ends_with(".md"))
}

/// A path as a document means it: from the document's folder, or from the root.
fn found(document: &str, path: &str) -> bool {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    tree::exists(beside.trim_end_matches('/')) || tree::exists(path.trim_end_matches('/'))
}

#[test]
fn cited_paths_exist() {
    let mut findings = Vec::new();
    for document in documents() {
        let quoted = markdown::quoted(&document.text).into_iter().filter(|quoted| is_path(quoted));
        for path in quoted.filter(|path| !found(&document.path, path)) {
            findings.push(format!("{}: `{path}` does not exist", document.path));
        }
        for link in markdown::links(&document.text) {
            let path = link.split('#').next().unwrap_or_default();
            if !link.contains("://") && !path.is_empty() && !found(&document.path, path) {
                findings.push(format!("{}: the link to {link} leads nowhere", document.path));
            }
        }
    }
    report::none("documents cite what exists", "correct the path; never cite line numbers", &findings);
}

#[test]
fn cited_crates_exist() {
    let mut names: BTreeSet<String> = manifest::crates().into_iter().map(|manifest| manifest.name).collect();
    names.extend(manifest::npm_packages());
    let mut findings = Vec::new();
    for document in documents() {
        for quoted in markdown::quoted(&document.text) {
            let name = quoted.starts_with("throughline-") && quoted.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if name && !names.contains(&quoted) {
                findings.push(format!("{}: there is no crate or package `{quoted}`", document.path));
            }
        }
    }
    report::none("documents name crates that exist", "correct the name", &findings);
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let readme = tree::read("README.md");
    let reached: BTreeSet<String> = markdown::links(&readme).into_iter().collect();
    let docs = documents().into_iter().map(|file| file.path).filter(|path| path.starts_with("docs/"));
    let missing: Vec<String> = docs.filter(|path| !reached.contains(path)).collect();
    report::none("README.md links to every document under docs", "add a line to its list of documents", &missing);
}

#[test]
fn every_crate_is_on_the_map() {
    let readme = tree::read("README.md");
    let quoted: BTreeSet<String> = markdown::quoted(&readme).into_iter().collect();
    let folders = manifest::crates().into_iter().map(|manifest| manifest.folder().to_owned());
    let missing: Vec<String> = folders.filter(|folder| !quoted.contains(folder)).collect();
    report::none("README.md has every crate on its map", "add its row", &missing);
}
