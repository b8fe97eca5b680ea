//! Every dependency has its reason, and every reason its dependency.

use std::collections::BTreeSet;

use throughline_xtask::{manifest, markdown, report, source, tree};

/// Names of the first column of the tables under a heading of DEPENDENCIES.md.
fn reasons(heading: &str) -> BTreeSet<String> {
    let text = tree::read("DEPENDENCIES.md");
    let rows = markdown::rows(markdown::section(&text, heading));
    rows.iter().flat_map(|row| row.first().map(|cell| markdown::quoted(cell)).unwrap_or_default()).collect()
}

/// The lines of a plain list; `#` begins a comment, and what follows a name with `=`, `<`, `>` or `[` is its version.
fn list(path: &str) -> BTreeSet<String> {
    let text = tree::read(path);
    let names = text
        .lines()
        .map(|line| line.split(['#', '=', '<', '>', '[', '~']).next().unwrap_or_default().trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

fn compare(heading: &str, used: &BTreeSet<String>) {
    let reasons = reasons(heading);
    let mut findings: Vec<String> = used.difference(&reasons).map(|name| format!("{name}: has no line")).collect();
    findings.extend(reasons.difference(used).map(|name| format!("{name}: has a line, but nothing uses it")));
    report::none(
        &format!("DEPENDENCIES.md, {heading:?}, names what is used and nothing else"),
        "add a line that says why this one and not the next one, or take the line out",
        &findings,
    );
}

#[test]
fn rust() {
    let manifests = manifest::crates();
    let ours: BTreeSet<&String> = manifests.iter().map(|manifest| &manifest.name).collect();
    let every = manifests.iter().flat_map(|manifest| manifest.every_dependency());
    compare("## Rust", &every.filter(|name| !ours.contains(name)).cloned().collect());
}

#[test]
fn javascript() {
    compare("## JavaScript", &manifest::npm_dependencies().into_iter().map(|(name, _)| name).collect());
}

#[test]
fn python() {
    compare("## Python", &list("tests/requirements.txt"));
}

#[test]
fn debian() {
    compare("## Debian", &list("tests/debian-packages.txt"));
}

#[test]
fn every_workspace_dependency_is_used() {
    let manifests = manifest::crates();
    let mut used: BTreeSet<String> =
        manifests.iter().flat_map(|manifest| manifest.every_dependency().cloned()).collect();
    used.extend(manifests.iter().map(|manifest| manifest.name.clone()));
    let unused: Vec<String> = manifest::workspace_dependencies().difference(&used).cloned().collect();
    report::none("Cargo.toml lists no dependency in vain", "take it out", &unused);
}

#[test]
fn crates_obey_the_workspace() {
    let mut findings = Vec::new();
    for manifest in manifest::crates().into_iter().filter(|manifest| manifest.path.starts_with("crates/")) {
        let lints = manifest.table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            findings.push(format!("{}: lacks [lints] workspace = true", manifest.path));
        }
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.table.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    findings.push(format!("{}: {name} does not take its version from the workspace", manifest.path));
                }
            }
        }
    }
    report::none("one place decides on lints and versions", "write `workspace = true`", &findings);
}

#[test]
fn every_crate_uses_what_it_depends_on() {
    let sources = tree::files_with(&["rs"]);
    let mut findings = Vec::new();
    for manifest in manifest::crates() {
        let folder = format!("{}/", manifest.folder());
        let code: String =
            sources.iter().filter(|file| file.path.starts_with(&folder)).map(|file| file.text.as_str()).collect();
        for name in &manifest.dependencies {
            if source::lines_with(&code, &name.replace('-', "_")).is_empty() {
                findings.push(format!("{}: nothing in {folder} names {name}", manifest.path));
            }
        }
    }
    report::none("no crate depends on something in vain", "take it out of the manifest", &findings);
}
