//! Words that do not belong into what lands.

use throughline_xtask::source::{self, Language};
use throughline_xtask::tree::File;
use throughline_xtask::{report, tree};

/// Written in two halves, so that this file does not hold what it forbids.
const LEFT_OVERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

const IGNORED_RUST: [&str; 1] = [concat!("#[ign", "ore")];
const IGNORED_SCRIPT: [&str; 7] = [
    concat!(".on", "ly("),
    concat!(".sk", "ip("),
    concat!("xi", "t("),
    concat!("xdescr", "ibe("),
    concat!("fi", "t("),
    concat!("it.to", "do("),
    concat!("test.to", "do("),
];

const MACHINE: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("../sha", "red"),
    concat!("registry.npm", "js.org"),
    concat!("registry.yarn", "pkg.com"),
    concat!("index.crates", ".io"),
    concat!("python", "hosted.org"),
    concat!("deb.deb", "ian.org"),
];

const SLEEPS: [&str; 6] = [
    concat!("thread::sl", "eep"),
    concat!("time::sl", "eep"),
    concat!("time.sl", "eep"),
    concat!("asyncio.sl", "eep"),
    concat!("timers/pro", "mises"),
    concat!("waitForTim", "eout("),
];

/// Files whose text is ours. Lock files and built assets are written by tools.
fn ours() -> Vec<File> {
    let built = |path: &str| path.starts_with("crates/server/assets/") || path.ends_with(".lock");
    tree::files().into_iter().filter(|file| !built(&file.path) && file.name() != "package-lock.json").collect()
}

fn script(file: &File) -> bool {
    matches!(file.extension(), "ts" | "js" | "mjs")
}

fn findings<'a>(files: impl IntoIterator<Item = &'a File>, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for word in words {
            let lines = source::lines_with(&file.text, word);
            findings.extend(lines.iter().map(|line| format!("{}:{line}: {word}", file.path)));
        }
    }
    findings
}

#[test]
fn nothing_is_left_over() {
    report::none("no left-overs land", "finish it, or file an issue", &findings(&ours(), &LEFT_OVERS));
}

#[test]
fn no_test_is_ignored() {
    let files = ours();
    let mut found = findings(files.iter().filter(|file| file.extension() == "rs"), &IGNORED_RUST);
    found.extend(findings(files.iter().filter(|file| script(file)), &IGNORED_SCRIPT));
    report::none("every test runs and says what it expects", "mend the test, or take it out", &found);
}

#[test]
fn no_machine_and_no_registry_is_named() {
    let mut files = ours();
    files.extend(tree::files().into_iter().filter(|file| file.name() == "package-lock.json"));
    report::none(
        "nothing names a path of one machine or the host of a registry",
        "use a path from the root, a temporary directory, or the client's own configuration",
        &findings(&files, &MACHINE),
    );
}

#[test]
fn no_test_sleeps() {
    let mut found = Vec::new();
    for file in ours() {
        let text = match file.extension() {
            "rs" if file.is_test() => source::blank_comments_and_strings(&file.text, Language::Rust),
            "rs" => source::tests_only(&file.text),
            "ts" | "js" | "mjs" | "py" | "sh" if file.is_test() => file.text.clone(),
            _ => continue,
        };
        found.extend(findings(&[File { path: file.path, text }], &SLEEPS));
    }
    report::none("no test sleeps", "await the condition, or use virtual time", &found);
}

#[test]
fn every_file_ends_with_a_newline_and_has_no_trailing_blanks() {
    let mut found = Vec::new();
    let text = ["rs", "ts", "js", "mjs", "py", "sh", "toml", "css", "html", "md"];
    for file in ours().iter().filter(|file| text.contains(&file.extension())) {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            found.push(format!("{}: no newline at the end", file.path));
        }
        let blank = file.text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t']));
        found.extend(blank.map(|(index, _)| format!("{}:{}: blanks at the end of the line", file.path, index + 1)));
    }
    report::none("text is clean", "take the blanks out", &found);
}
