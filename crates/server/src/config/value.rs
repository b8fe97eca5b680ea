//! The types of settings: how each is read and what a wrong value is told.

use std::fmt;
use std::str::FromStr;

use throughline_engine::ChannelKind;
use throughline_wire::forwarded::Family;
use throughline_wire::ws::{Version, Versions};

use super::networks::Range;
use super::origins::OriginRule;
use super::public::{BadPublicUrl, HostName, PublicUrl};
use super::raw::Raw;

/// What values a setting may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A whole number within bounds.
    Number {
        /// What is counted.
        unit: &'static str,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// A text that is not empty.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of these words.
    Several(&'static [&'static str]),
    /// A list of texts that are not empty.
    Texts,
    /// A list of origins.
    Origins,
    /// A list of ranges of addresses.
    Ranges,
    /// A list of host names.
    Hosts,
    /// An address that pages are loaded from, or nothing.
    Url,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Number { unit, min, max } => write!(f, "a whole number of {unit}, {min} to {max}"),
            Rule::Flag => f.write_str("true or false"),
            Rule::Text => f.write_str("a text in quotes"),
            Rule::Words(words) => write!(f, "one of {}", quoted(words)),
            Rule::Several(words) => write!(f, "a list of some of {}", quoted(words)),
            Rule::Texts => f.write_str("a list of texts in quotes"),
            Rule::Ranges => f.write_str("a list of addresses in quotes, such as [\"10.0.0.0/8\", \"::1\"]"),
            Rule::Hosts => f.write_str("a list of host names in quotes, such as [\"realm.example.com\"]"),
            Rule::Url => f.write_str("an address in quotes, such as \"https://example.com/live\", or \"\" for none"),
            Rule::Origins => f.write_str("a list of origins in quotes, such as [\"https://app.example.com\"]"),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A type that settings can have.
pub(super) trait Value: Sized {
    /// The value, or what is wrong with it.
    fn read(raw: &Raw, rule: &Rule) -> Result<Self, String>;
}

fn expected<T>(rule: &Rule) -> Result<T, String> {
    Err(format!("expected {rule}"))
}

impl Value for u64 {
    fn read(raw: &Raw, rule: &Rule) -> Result<u64, String> {
        let (Raw::Number(number), Rule::Number { unit, min, max }) = (raw, rule) else { return expected(rule) };
        let value = number.ok_or_else(|| format!("expected {rule}"))?;
        if value < *min {
            return Err(format!("too small: at least {min} {unit} are needed"));
        }
        if value > *max {
            return Err(format!("too large: at most {max} {unit} are allowed"));
        }
        Ok(value)
    }
}

impl Value for bool {
    fn read(raw: &Raw, rule: &Rule) -> Result<bool, String> {
        if let Raw::Boolean(value) = raw { Ok(*value) } else { expected(rule) }
    }
}

impl Value for String {
    fn read(raw: &Raw, rule: &Rule) -> Result<String, String> {
        match raw {
            Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
            _ => expected(rule),
        }
    }
}

impl Value for Vec<String> {
    fn read(raw: &Raw, rule: &Rule) -> Result<Vec<String>, String> {
        let Raw::List(items) = raw else { return expected(rule) };
        let entry = |item: &Raw| match item {
            Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
            _ => expected(rule),
        };
        items.iter().map(entry).collect()
    }
}

fn word<T: FromStr>(raw: &Raw, rule: &Rule) -> Result<T, String> {
    let value = if let Raw::Text(text) = raw { text.parse().ok() } else { None };
    value.ok_or_else(|| format!("expected {rule}"))
}

impl Value for ChannelKind {
    fn read(raw: &Raw, rule: &Rule) -> Result<ChannelKind, String> {
        word(raw, rule)
    }
}

impl Value for LogLevel {
    fn read(raw: &Raw, rule: &Rule) -> Result<LogLevel, String> {
        word(raw, rule)
    }
}

impl Value for Versions {
    fn read(raw: &Raw, rule: &Rule) -> Result<Versions, String> {
        let Raw::List(items) = raw else { return expected(rule) };
        items.iter().map(|item| word::<Version>(item, rule)).collect()
    }
}

/// A list of texts, each of which says what is wrong with it.
fn parsed<T: FromStr<Err: fmt::Display>>(raw: &Raw, rule: &Rule) -> Result<Vec<T>, String> {
    let Raw::List(items) = raw else { return expected(rule) };
    let entry = |item: &Raw| match item {
        Raw::Text(text) => text.parse().map_err(|e| format!("{text:?}: {e}")),
        _ => expected(rule),
    };
    items.iter().map(entry).collect()
}

impl Value for Vec<OriginRule> {
    fn read(raw: &Raw, rule: &Rule) -> Result<Vec<OriginRule>, String> {
        parsed(raw, rule)
    }
}

impl Value for Vec<Range> {
    fn read(raw: &Raw, rule: &Rule) -> Result<Vec<Range>, String> {
        parsed(raw, rule)
    }
}

impl Value for Vec<HostName> {
    fn read(raw: &Raw, rule: &Rule) -> Result<Vec<HostName>, String> {
        parsed(raw, rule)
    }
}

impl Value for Option<PublicUrl> {
    fn read(raw: &Raw, rule: &Rule) -> Result<Option<PublicUrl>, String> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            Raw::Text(text) => text.parse().map(Some).map_err(|e: BadPublicUrl| e.to_string()),
            _ => expected(rule),
        }
    }
}

impl Value for Family {
    fn read(raw: &Raw, rule: &Rule) -> Result<Family, String> {
        word(raw, rule)
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What broke.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what the realm does.
    Info,
    /// And what single connections do.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The words in the file.
    pub const NAMES: &'static [&'static str] = &["error", "warn", "info", "debug", "trace"];
    const ALL: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// The level as the `tracing` crate has it.
    pub const fn tracing(self) -> tracing::Level {
        match self {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }
    }
}

/// A word that names no log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    fn from_str(s: &str) -> Result<LogLevel, UnknownLevel> {
        let at = LogLevel::NAMES.iter().position(|name| *name == s).ok_or(UnknownLevel)?;
        LogLevel::ALL.get(at).copied().ok_or(UnknownLevel)
    }
}
