//! What the manifests say.

use std::collections::BTreeSet;

use crate::tree;

/// A crate of ours.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Path of its `Cargo.toml` from the root.
    pub path: String,
    /// Package name.
    pub name: String,
    /// Names under `[dependencies]` and `[build-dependencies]`.
    pub dependencies: BTreeSet<String>,
    /// Names under `[dev-dependencies]`.
    pub dev_dependencies: BTreeSet<String>,
    /// The whole file.
    pub table: toml::Table,
}

impl Manifest {
    /// The folder of the crate, from the root.
    pub fn folder(&self) -> &str {
        self.path.trim_end_matches("Cargo.toml").trim_end_matches('/')
    }

    /// Everything it depends on, for tests or not.
    pub fn every_dependency(&self) -> impl Iterator<Item = &String> {
        self.dependencies.iter().chain(&self.dev_dependencies)
    }
}

/// Every package manifest, in the workspace and beside it.
pub fn crates() -> Vec<Manifest> {
    let manifests = tree::files().into_iter().filter(|file| file.name() == "Cargo.toml");
    manifests.filter_map(|file| parse(file.path, &file.text)).collect()
}

/// The names under `[workspace.dependencies]`.
pub fn workspace_dependencies() -> BTreeSet<String> {
    let table: toml::Table = tree::read("Cargo.toml").parse().unwrap_or_else(|e| panic!("Cargo.toml: {e}"));
    names(table.get("workspace").and_then(|workspace| workspace.get("dependencies")))
}

/// Names of the packages that `package.json` files ask for, with the file that asks.
pub fn npm_dependencies() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for file in tree::files().into_iter().filter(|file| file.name() == "package.json") {
        let value: serde_json::Value =
            serde_json::from_str(&file.text).unwrap_or_else(|e| panic!("{}: {e}", file.path));
        for kind in ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"] {
            let names = value.get(kind).and_then(|table| table.as_object()).into_iter().flat_map(|table| table.keys());
            found.extend(names.map(|name| (name.clone(), file.path.clone())));
        }
    }
    found
}

/// The names of our own npm packages.
pub fn npm_packages() -> BTreeSet<String> {
    let files = tree::files().into_iter().filter(|file| file.name() == "package.json");
    let values = files.filter_map(|file| serde_json::from_str::<serde_json::Value>(&file.text).ok());
    values.filter_map(|value| value.get("name")?.as_str().map(str::to_owned)).collect()
}

fn parse(path: String, text: &str) -> Option<Manifest> {
    let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    let mut dependencies = names(table.get("dependencies"));
    dependencies.extend(names(table.get("build-dependencies")));
    for target in table.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values) {
        dependencies.extend(names(target.get("dependencies")));
    }
    let dev_dependencies = names(table.get("dev-dependencies"));
    Some(Manifest { path, name, dependencies, dev_dependencies, table })
}

fn names(table: Option<&toml::Value>) -> BTreeSet<String> {
    table.and_then(toml::Value::as_table).map(|table| table.keys().cloned().collect()).unwrap_or_default()
}
