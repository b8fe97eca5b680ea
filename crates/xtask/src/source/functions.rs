//! Functions of a source file and their lengths.

use super::{Language, blank_comments_and_strings};

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of its head, from one.
    pub line: usize,
    /// Lines from its head to its closing brace.
    pub lines: usize,
}

/// Words that stand before a bracket and a block without being a function's name.
const NOT_FUNCTIONS: [&str; 9] = ["if", "for", "while", "switch", "catch", "return", "do", "new", "else"];
/// Words that may stand before a method's or a function's name.
const MODIFIERS: [&str; 10] =
    ["export", "default", "public", "private", "protected", "static", "async", "override", "get", "set"];

/// Every function with a body. Closures count with the function that they stand in.
pub fn functions(text: &str, language: Language) -> Vec<Function> {
    let code = blank_comments_and_strings(text, language);
    let lines: Vec<&str> = code.lines().collect();
    let named = lines.iter().enumerate().filter_map(|(index, line)| {
        let name = match language {
            Language::Rust => rust_name(line),
            Language::Script => script_name(line),
        }?;
        Some((index, name.to_owned()))
    });
    named
        .filter_map(|(index, name)| Some(Function { name, line: index + 1, lines: body_lines(&lines[index..])? }))
        .collect()
}

fn rust_name(line: &str) -> Option<&str> {
    let at = line.match_indices("fn ").find(|(at, _)| {
        line[..*at].chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '(' | ')' | '"' | ':' | '_'))
            && line[..*at].chars().next_back().is_none_or(|c| c == ' ')
    })?;
    identifier(&line[at.0 + 3..])
}

fn script_name(line: &str) -> Option<&str> {
    let mut rest = line.trim();
    while let Some((word, after)) = rest.split_once(' ') {
        if !MODIFIERS.contains(&word) {
            break;
        }
        rest = after.trim_start();
    }
    if let Some(after) = rest.strip_prefix("function") {
        return identifier(after.trim_start_matches(['*', ' ']));
    }
    if rest.starts_with("const ") || rest.starts_with("let ") {
        let name = identifier(rest.split_once(' ')?.1)?;
        return rest.ends_with("=> {").then_some(name);
    }
    let name = identifier(rest.trim_start_matches('#'))?;
    let after = rest.trim_start_matches('#')[name.len()..].chars().next();
    let head = matches!(after, Some('(' | '<')) && !rest.ends_with(';') && !rest.ends_with(',');
    (head && !NOT_FUNCTIONS.contains(&name)).then_some(name)
}

fn identifier(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// Lines from the head to the closing brace; nothing when a semicolon ends the head.
fn body_lines(lines: &[&str]) -> Option<usize> {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (index, line) in lines.iter().enumerate() {
        for c in line.chars() {
            match c {
                '(' | '[' if braces == 0 => brackets += 1,
                ')' | ']' if braces == 0 => brackets -= 1,
                ';' if braces == 0 && brackets == 0 => return None,
                '{' if brackets == 0 => braces += 1,
                '}' if brackets == 0 => {
                    braces -= 1;
                    if braces <= 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
    }
    None
}
