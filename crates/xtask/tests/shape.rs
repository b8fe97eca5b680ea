//! House numbers, held by a ratchet.
//!
//! `crates/xtask/ratchet.toml` lists what is over a number today. An entry may only shrink, and it goes when it is no
//! longer needed; nothing new gets in.

use std::collections::BTreeMap;

use throughline_xtask::source::{self, Language};
use throughline_xtask::{report, tree};

/// Lines of a file above which it needs an entry.
const FILE_LINES: usize = 500;
/// Lines of a file that no entry excuses.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function above which it needs an entry.
const FUNCTION_LINES: usize = 70;
/// Lines of a `lib.rs`: crate documentation, module list, re-exports.
const LIBRARY_LINES_MAX: usize = 150;
/// How far an entry may lie above the truth before it must be lowered.
const SLACK_LINES: usize = 10;

const CODE: [&str; 8] = ["rs", "ts", "js", "mjs", "py", "sh", "css", "html"];

/// Built output: its source is measured instead.
fn is_built(path: &str) -> bool {
    path.starts_with("crates/server/assets/")
}

fn language(extension: &str) -> Option<Language> {
    match extension {
        "rs" => Some(Language::Rust),
        "ts" | "js" | "mjs" => Some(Language::Script),
        _ => None,
    }
}

/// Compares what is over a limit with the entries of one table of the ratchet.
fn ratchet(table: &str, over: &BTreeMap<String, usize>) -> Vec<String> {
    let text = tree::read("crates/xtask/ratchet.toml");
    let ratchet: BTreeMap<String, BTreeMap<String, usize>> =
        toml::from_str(&text).unwrap_or_else(|e| panic!("crates/xtask/ratchet.toml: {e}"));
    let entries = ratchet.get(table).cloned().unwrap_or_default();
    let mut findings = Vec::new();
    for (name, lines) in over {
        match entries.get(name) {
            None => findings.push(format!("{name}: {lines} lines, and no entry excuses it: split it")),
            Some(entry) if lines > entry => {
                findings.push(format!("{name}: grew from {entry} to {lines} lines: shorten it"))
            }
            Some(entry) if lines + SLACK_LINES < *entry => {
                findings.push(format!("{name}: shrank from {entry} to {lines} lines: lower its entry"));
            }
            Some(_) => {}
        }
    }
    let gone = entries.keys().filter(|name| !over.contains_key(*name));
    findings.extend(gone.map(|name| format!("{name}: no longer over the limit: take its entry out")));
    findings
}

#[test]
fn files_stay_short() {
    let mut over = BTreeMap::new();
    let mut findings = Vec::new();
    for file in tree::files_with(&CODE).into_iter().filter(|file| !is_built(&file.path)) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings
                .push(format!("{}: {lines} lines, more than the {FILE_LINES_MAX} that no entry excuses", file.path));
        } else if lines > FILE_LINES {
            over.insert(file.path.clone(), lines);
        }
        if file.name() == "lib.rs" && lines > LIBRARY_LINES_MAX {
            findings.push(format!("{}: {lines} lines; a lib.rs holds at most {LIBRARY_LINES_MAX}", file.path));
        }
    }
    findings.extend(ratchet("files", &over));
    report::none(&format!("a file has at most {FILE_LINES} lines"), "split it by the state that it owns", &findings);
}

#[test]
fn functions_stay_short() {
    let mut over = BTreeMap::new();
    let mut seen = 0;
    for file in tree::files_with(&["rs", "ts", "js", "mjs"]) {
        let Some(language) = language(file.extension()).filter(|_| !is_built(&file.path)) else { continue };
        for function in source::functions(&file.text, language) {
            seen += 1;
            if function.lines > FUNCTION_LINES {
                over.insert(format!("{} {}", file.path, function.name), function.lines);
            }
        }
    }
    assert!(seen > 100, "only {seen} functions were found: the scanner is broken");
    report::none(
        &format!("a function has at most {FUNCTION_LINES} lines"),
        "keep the decision in the parent and move each branch into a function of its own",
        &ratchet("functions", &over),
    );
}

#[test]
fn the_scanner_measures_functions() {
    let text = "impl A {\n    pub const fn a(x: [u8; 4]) -> u8 {\n        b(\"}\", '}')\n    }\n}\nfn c();\n";
    let found = source::functions(text, Language::Rust);
    assert_eq!(found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect::<Vec<_>>(), [("a", 2, 3)]);
    let text = "export class A {\n  async read(x: number): Promise<void> {\n    if (x) {\n    }\n  }\n}\nconst f = () => {\n};\n";
    let found = source::functions(text, Language::Script);
    assert_eq!(
        found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect::<Vec<_>>(),
        [("read", 2, 4), ("f", 7, 2)]
    );
}

#[test]
fn the_scanner_tells_code_from_strings_and_tests() {
    let text = "use a; // std::fs\nlet s = r#\"std::fs \" \"#;\n#[cfg(test)]\nmod tests { use std::fs; }\nfn f<'a>(c: char) {}\n";
    let production = source::production(text);
    assert!(!production.contains("std::fs"), "{production}");
    assert!(production.contains("fn f<'a>(c: char) {}") && production.lines().count() == text.lines().count());
    assert!(source::tests_only(text).contains("use std::fs;"));
    let script = "const a = /[\"']/; const b = `x${`y`}`; // z\nf(\"k\");";
    let code = source::blank_comments_and_strings(script, Language::Script);
    assert!(code.contains("const b =") && !code.contains('y') && !code.contains('z') && code.contains("f("), "{code}");
}
