//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours: built, fetched, or recorded by tools.
const SKIPPED_FOLDERS: [&str; 9] =
    [".git", "target", "node_modules", "dist", "__pycache__", "fuzz/corpus", "fuzz/artifacts", "fuzz/found", "data"];

/// A file of the repository.
#[derive(Clone, Debug)]
pub struct File {
    /// Path from the root, with forward slashes.
    pub path: String,
    /// Its text; empty when it is not UTF-8.
    pub text: String,
}

impl File {
    /// The ending after the last dot of the name, or "" without one.
    pub fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, ending)| ending)
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// True for files that exist only for tests, examples or measurements.
    pub fn is_test(&self) -> bool {
        let in_folder = |folder: &str| self.path.split('/').rev().skip(1).any(|part| part == folder);
        ["tests", "test", "examples", "benches", "fuzz"].into_iter().any(in_folder)
            || self.name() == "tests.rs"
            || self.name().ends_with("_tests.rs")
            || self.name().contains(".test.")
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap_or_else(|e| panic!("repository root: {e}"))
}

/// Every file of the repository, in order of path, with its text.
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The files with one of these endings.
pub fn files_with(extensions: &[&str]) -> Vec<File> {
    files().into_iter().filter(|file| extensions.contains(&file.extension())).collect()
}

/// The text of one file that must exist.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// True when the path, from the root, exists. A `*` stands for the rest of a name.
pub fn exists(path: &str) -> bool {
    let Some((fixed, _)) = path.split_once('*') else { return root().join(path).exists() };
    let (folder, prefix) = fixed.rsplit_once('/').unwrap_or(("", fixed));
    fs::read_dir(root().join(folder))
        .is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with(prefix))))
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<File>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().unwrap_or_else(|e| panic!("{path}: {e}"));
        if kind.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_str()) && !SKIPPED_FOLDERS.contains(&path.as_str()) {
                walk(&entry.path(), &path, found);
            }
        } else if kind.is_file() && name != ".git" {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            found.push(File { path, text: String::from_utf8(bytes).unwrap_or_default() });
        }
    }
}
