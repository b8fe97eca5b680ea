//! Makes `docs/configuration.md` from the list of settings.

use std::fmt::{self, Write};

use super::settings::{SECTIONS, Section, Setting};
use super::value::Rule;

const INTRODUCTION: &str = "# Configuration

<!-- Made from crates/server/src/config/settings.rs by the server's tests; run them with UPDATE=1 to make it anew. -->

A realm needs no configuration: `throughline serve` runs with the defaults below. Settings come from one
[TOML](https://toml.io) file, given with `--config`; those marked with a flag can be given on the command line, which goes before
the file. An unknown name, a value of the wrong type or one out of bounds is an error that names the line and the way out, and
the realm does not start. The file is read at the start only: SIGHUP has certificates read again, and nothing else. Names end
with their unit.
";

const CHANNELS: &str = "## `[[channel]]`

Channels that exist from the realm's start on. Give one such table for each. What is left out comes from
`channels.defaults`; the types and bounds are the same. A channel that is on disk already takes the limits
given here; when it is there as another type, the realm does not start. Taking a table away deletes nothing from the disk.

| Member | Value |
|---|---|
| `name` | the channel's name: 1 to 128 characters of `A-Z a-z 0-9 _ - . : /` |
| `type` | as `channels.defaults.type` |
| `capacity` | as `channels.defaults.capacity`; 0 means no limit |
| `bytes` | as `channels.defaults.bytes`; 0 means no limit |
| `ttl_ms` | as `channels.defaults.ttl_ms`; 0 means for ever |

```toml
[[channel]]
name = \"orders/new\"
type = \"persistent\"
capacity = 1000000
ttl_ms = 604800000

[[channel]]
name = \"prices\"
type = \"reliable\"
capacity = 1000
```
";

/// The text of `docs/configuration.md`.
pub fn render() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in SECTIONS {
        // Writing into a String cannot fail.
        let _ = render_section(&mut out, section);
    }
    out.push('\n');
    out.push_str(CHANNELS);
    out
}

fn render_section(out: &mut String, section: &Section) -> fmt::Result {
    match section.table {
        "" => writeln!(out, "\n## The realm\n\n{}", reflow(section.doc))?,
        table => writeln!(out, "\n## `[{table}]`\n\n{}", reflow(section.doc))?,
    }
    for setting in section.settings {
        render_setting(out, section, setting)?;
    }
    Ok(())
}

fn render_setting(out: &mut String, section: &Section, setting: &Setting) -> fmt::Result {
    let name = setting.path.strip_prefix(section.table).unwrap_or(setting.path).trim_start_matches('.');
    writeln!(out, "\n### `{}`\n\n{}\n", setting.path, reflow(setting.doc))?;
    write!(out, "- Default: `{}`\n- Values: {}\n", setting.default, values(&setting.rule))?;
    if setting.flag {
        writeln!(out, "- Flag: `--{}`", setting.path)?;
    }
    out.push_str("\n```toml\n");
    if !section.table.is_empty() {
        writeln!(out, "[{}]", section.table)?;
    }
    writeln!(out, "{name} = {}\n```", setting.example)
}

fn values(rule: &Rule) -> String {
    match rule {
        Rule::Words(words) => quoted(words),
        Rule::Several(words) => format!("a list of some of {}", quoted(words)),
        Rule::Number { unit, min, max } => format!("{unit}, {min} to {max}"),
        Rule::Flag => "`true`, `false`".to_owned(),
        Rule::Text => "text".to_owned(),
        Rule::Texts => "a list of texts".to_owned(),
        Rule::Origins => "a list of origins".to_owned(),
        Rule::Hosts => "a list of host names".to_owned(),
        Rule::Url => "an address, or nothing".to_owned(),
        Rule::Ranges => "a list of addresses and ranges of addresses".to_owned(),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
}

/// Words of a comment in lines of at most 120 columns.
fn reflow(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 120 {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}
