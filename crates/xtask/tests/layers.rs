//! Layers and rules of absence.

use throughline_xtask::source::{self, Language};
use throughline_xtask::tree::File;
use throughline_xtask::{manifest, report, tree};

/// What each crate may depend on among ours, and what it may do.
struct Layer {
    name: &'static str,
    imports: &'static [&'static str],
    no_std: bool,
    asynchronous: bool,
    clock: bool,
    io: bool,
}

const fn layer(name: &'static str, imports: &'static [&'static str]) -> Layer {
    Layer { name, imports, no_std: false, asynchronous: false, clock: false, io: false }
}

const EVERY: &[&str] = &["wire", "session", "engine", "store", "server", "client", "sim"];

/// Lowest first. A crate without a row here fails the first test.
const LAYERS: [Layer; 11] = [
    Layer { no_std: true, ..layer("wire", &[]) },
    Layer { no_std: true, ..layer("session", &["wire"]) },
    layer("engine", &["wire"]),
    Layer { io: true, ..layer("store", &["wire", "engine"]) },
    Layer { asynchronous: true, clock: true, io: true, ..layer("server", &["wire", "session", "engine", "store"]) },
    Layer { asynchronous: true, clock: true, io: true, ..layer("client", &["wire", "session"]) },
    Layer { asynchronous: true, io: true, ..layer("throughline", &["wire", "engine", "store", "server", "client"]) },
    Layer { clock: true, io: true, ..layer("sim", EVERY) },
    Layer { asynchronous: true, clock: true, io: true, ..layer("xtask", EVERY) },
    Layer { asynchronous: true, clock: true, io: true, ..layer("bench", EVERY) },
    Layer { clock: true, io: true, ..layer("fuzz", EVERY) },
];

fn short(package: &str) -> &str {
    package.strip_prefix("throughline-").unwrap_or(package)
}

fn layer_of(package: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == short(package))
}

/// The Rust files of a crate that are compiled for its users.
fn sources(crate_folder: &str) -> Vec<File> {
    let prefix = format!("{crate_folder}/src/");
    tree::files_with(&["rs"]).into_iter().filter(|file| file.path.starts_with(&prefix) && !file.is_test()).collect()
}

/// Places where a crate that lacks a permission uses one of the words.
fn uses(permitted: impl Fn(&Layer) -> bool, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in manifest::crates() {
        if layer_of(&manifest.name).is_none_or(&permitted) {
            continue;
        }
        for file in sources(manifest.folder()) {
            let code = source::production(&file.text);
            for word in words {
                let lines = source::lines_with(&code, word);
                findings.extend(lines.iter().map(|line| format!("{}:{line}: {word}", file.path)));
            }
        }
    }
    findings
}

fn permitted(may: fn(&Layer) -> bool) -> String {
    LAYERS.iter().filter(|layer| may(layer)).map(|layer| layer.name).collect::<Vec<_>>().join(", ")
}

#[test]
fn imports_point_upward_only() {
    let mut findings = Vec::new();
    let manifests = manifest::crates();
    assert!(manifests.len() >= 10, "only {} crates were found", manifests.len());
    for manifest in &manifests {
        let Some(layer) = layer_of(&manifest.name) else {
            findings.push(format!("{}: {} has no row in LAYERS of this test", manifest.path, manifest.name));
            continue;
        };
        for dependency in manifest.dependencies.iter().filter(|name| manifests.iter().any(|m| m.name == **name)) {
            if !layer.imports.contains(&short(dependency)) {
                findings.push(format!("{}: {} may not depend on {dependency}", manifest.path, manifest.name));
            }
        }
    }
    report::none(
        "crates import only from the layers below them",
        "move the code to the layer that may see both, or pass the value as an argument",
        &findings,
    );
}

#[test]
fn wire_and_session_are_no_std() {
    let mut findings = Vec::new();
    for layer in LAYERS.iter().filter(|layer| layer.no_std) {
        let folder = format!("crates/{}", layer.name);
        if !tree::read(&format!("{folder}/src/lib.rs")).contains("#![no_std]") {
            findings.push(format!("{folder}/src/lib.rs: lacks #![no_std]"));
        }
        for file in sources(&folder) {
            let code = source::production(&file.text);
            for word in ["std::", "extern crate std"] {
                let lines = source::lines_with(&code, word);
                findings.extend(lines.iter().map(|line| format!("{}:{line}: {word}", file.path)));
            }
        }
    }
    report::none("wire and session stand without std", "use core and alloc", &findings);
}

#[test]
fn async_functions_only_where_bytes_meet_sockets() {
    let findings = uses(|layer| layer.asynchronous, &["async fn", "async move", ".await"]);
    let allowed = permitted(|layer| layer.asynchronous);
    report::none(
        &format!("async code stands only in {allowed}"),
        "decide in plain code below, and await in the layer above",
        &findings,
    );
}

#[test]
fn clocks_are_read_only_at_the_edge() {
    let findings = uses(|layer| layer.clock, &["Instant::now", "SystemTime::now", "UNIX_EPOCH", ".elapsed"]);
    let allowed = permitted(|layer| layer.clock);
    report::none(&format!("a clock is read only in {allowed}"), "take `now` as an argument", &findings);
}

#[test]
fn input_and_output_only_at_the_edge() {
    let words = ["std::net", "std::fs", "tokio::net", "tokio::fs", "std::process", "fs::", "TcpStream", "TcpListener"];
    let findings = uses(|layer| layer.io, &words);
    let allowed = permitted(|layer| layer.io);
    report::none(&format!("files and sockets are touched only in {allowed}"), "hand over bytes or a trait", &findings);
}

#[test]
fn the_engine_knows_no_transport() {
    let mut findings = Vec::new();
    for file in sources("crates/engine") {
        let code = source::blank_comments(&file.text, Language::Rust).to_lowercase();
        for (index, line) in code.lines().enumerate() {
            for word in
                ["websocket", "http", "event_source", "long_poll", "jsonp", "iframe", "tokio", "hyper", "socket"]
            {
                if line.contains(word) {
                    findings.push(format!("{}:{}: {word}", file.path, index + 1));
                }
            }
        }
    }
    report::none("the engine names no transport", "let the server translate", &findings);
}
