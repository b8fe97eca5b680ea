//! House rules as ordinary tests: `cargo test -p throughline-xtask`.
//!
//! The rules stand in `tests/`, one file per kind. This library reads the tree for them by walking the files, so
//! that a rule also holds for what is not committed yet:
//!
//! - [`tree`]: the files of the repository
//! - [`source`]: a source file without its strings, comments and tests; its functions and their lengths
//! - [`manifest`]: what the `Cargo.toml` and `package.json` files say
//! - [`markdown`]: tables, links and quoted names of a document
//! - [`report`]: how a broken rule is told

pub mod manifest;
pub mod markdown;
pub mod report;
pub mod source;
pub mod tree;
