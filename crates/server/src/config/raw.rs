//! The first stage: what was written, where, and by whom. Nothing is judged here but TOML itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::de::{DeInteger, DeTable, DeValue};

use super::settings::{SETTINGS, Setting};
use super::suggest::nearest;
use super::value::{Rule, Value};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Text(String),
    /// `None`: negative, or beyond 64 bits.
    Number(Option<u64>),
    Boolean(bool),
    List(Vec<Raw>),
    /// Anything that no setting can be.
    Other,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) raw: Raw,
    /// As it was written, for messages.
    pub(super) shown: String,
    pub(super) place: String,
}

/// What is wrong with a configuration: every fault, with its place and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    pub(super) fn internal(text: &str) -> ConfigError {
        ConfigError { problems: vec![format!("a fault of the server: {text}")] }
    }

    /// One text for each fault.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// The entries of one table, by their names.
pub(super) type Entries = BTreeMap<String, Located>;

/// A `[[channel]]` and where it begins.
#[derive(Debug)]
pub(super) struct ChannelEntry {
    pub(super) entries: Entries,
    pub(super) place: String,
}

/// A file, flattened, and the flags that go before it.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    values: Entries,
    channels: Vec<ChannelEntry>,
    problems: Vec<String>,
}

impl RawConfig {
    /// Reads a file's text; `file` is its name for messages.
    pub(super) fn parse(file: &str, text: &str) -> RawConfig {
        let mut config = RawConfig::default();
        let source = Source { file, text };
        match DeTable::parse(text) {
            Ok(table) => config.flatten(&source, "", table.get_ref()),
            Err(e) => {
                let place = source.place(e.span().map_or(0, |span| span.start));
                config.problems.push(format!("{place}: {}", e.message()));
            }
        }
        config
    }

    fn flatten(&mut self, source: &Source<'_>, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            match value.get_ref() {
                DeValue::Array(items) if path == "channel" => {
                    for item in items.iter() {
                        self.channel(source, item.get_ref(), item.span().start);
                    }
                }
                DeValue::Table(inner) if is_table(&path) => self.flatten(source, &path, inner),
                other => {
                    if Setting::find(&path).is_none() {
                        self.problems.push(unknown(&source.place(key.span().start), &path));
                        continue;
                    }
                    let located = source.locate(other, value.span());
                    self.values.insert(path, located);
                }
            }
        }
    }

    fn channel(&mut self, source: &Source<'_>, value: &DeValue<'_>, start: usize) {
        let place = source.place(start);
        let DeValue::Table(table) = value else {
            self.problems
                .push(format!("{place}: \"channel\" is a list of tables: write [[channel]] and name = \"...\""));
            return;
        };
        let located = |value: &toml::Spanned<DeValue<'_>>| source.locate(value.get_ref(), value.span());
        let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), located(value))).collect();
        self.channels.push(ChannelEntry { entries, place });
    }

    /// Puts a flag's value before the file's.
    pub(super) fn set(&mut self, path: &str, text: &str) {
        let place = format!("--{path}");
        let Some(setting) = Setting::find(path) else {
            self.problems.push(unknown(&place, path));
            return;
        };
        let parsed = match setting.rule {
            Rule::Text | Rule::Words(_) => None,
            _ => parse_value(text),
        };
        let raw = parsed.unwrap_or_else(|| Raw::Text(text.to_owned()));
        self.values.insert(path.to_owned(), Located { raw, shown: text.to_owned(), place });
    }
}

/// True when a path is a table, or holds one.
fn is_table(path: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown(place: &str, path: &str) -> String {
    let paths = SETTINGS.iter().map(|setting| setting.path).chain(["channel"]);
    let hint = match nearest(path, paths) {
        Some("channel") => "each channel is a [[channel]], in two pairs of brackets".to_owned(),
        Some(path) => format!("did you mean {path:?}?"),
        None => "docs/configuration.md lists all settings".to_owned(),
    };
    format!("{place}: unknown setting {path:?}; {hint}")
}

/// A value in TOML's notation.
fn parse_value(text: &str) -> Option<Raw> {
    DeValue::parse(text).ok().map(|value| raw(value.get_ref()))
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => Raw::Number(natural(number)),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Raw::Other,
    }
}

fn natural(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A file's name and text, to tell places.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, at: usize) -> String {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{} line {line}", self.file)
    }

    fn locate(&self, value: &DeValue<'_>, span: std::ops::Range<usize>) -> Located {
        let shown = self.text.get(span.clone()).unwrap_or_default().to_owned();
        Located { raw: raw(value), shown, place: self.place(span.start) }
    }
}

/// The second stage's view of the first: hands out typed values and gathers what is wrong.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    config: &'a RawConfig,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(config: &'a RawConfig) -> Reader<'a> {
        Reader { config, problems: config.problems.clone() }
    }

    /// The value of a setting, from flag, file or default. `path` may be a raw identifier's name.
    pub(super) fn setting<T: Value>(&mut self, path: &str) -> Option<T> {
        let setting = Setting::find(path)?;
        match self.config.values.get(path) {
            Some(located) => self.value(path, setting, located),
            None => T::read(&parse_value(setting.default)?, &setting.rule).ok(),
        }
    }

    /// A value that has to obey the rule of `setting`.
    pub(super) fn value<T: Value>(&mut self, name: &str, setting: &Setting, located: &Located) -> Option<T> {
        match T::read(&located.raw, &setting.rule) {
            Ok(value) => Some(value),
            Err(text) => {
                self.fault(&located.place, format!("{name} = {}: {text}", located.shown));
                None
            }
        }
    }

    pub(super) fn fault(&mut self, place: &str, text: impl fmt::Display) {
        self.problems.push(format!("{place}: {text}"));
    }

    /// Where a setting was given.
    pub(super) fn given(&self, path: &str) -> Option<&'a str> {
        self.config.values.get(path).map(|located| located.place.as_str())
    }

    /// The same, or that it is the default.
    pub(super) fn place(&self, path: &str) -> &'a str {
        self.given(path).unwrap_or("default")
    }

    pub(super) fn channels(&self) -> &'a [ChannelEntry] {
        &self.config.channels
    }

    /// Members of a table that are none of `known`.
    pub(super) fn unknown_members(&mut self, entries: &Entries, known: &[&'static str], what: &str) {
        let known: BTreeSet<_> = known.iter().copied().collect();
        for (name, located) in entries.iter().filter(|(name, _)| !known.contains(name.as_str())) {
            let hint = nearest(name, known.iter().copied()).map(|near| format!("; did you mean {near:?}?"));
            self.fault(&located.place, format!("{what} has no {name:?}{}", hint.unwrap_or_default()));
        }
    }

    /// Nothing, or every fault.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.problems }) }
    }
}
