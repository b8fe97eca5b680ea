//! A source file without its strings, comments and tests; its functions and their lengths.
//!
//! Not a parser: it knows enough of Rust and TypeScript to tell code from strings and comments and to pair brackets.

mod blank;
mod functions;

pub use blank::{Language, blank_comments, blank_comments_and_strings};
pub use functions::{Function, functions};

/// Code of a Rust file without comments, strings and what is compiled for tests only. Line numbers stay.
pub fn production(text: &str) -> String {
    let mut code: Vec<char> = blank_comments_and_strings(text, Language::Rust).chars().collect();
    let attribute: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut at = 0;
    while at + attribute.len() <= code.len() {
        if code[at..at + attribute.len()] == attribute[..] {
            let end = item_end(&code, at + attribute.len());
            code[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
            at = end;
        } else {
            at += 1;
        }
    }
    code.into_iter().collect()
}

/// What is left when [`production`] is taken away: the code compiled for tests only. Line numbers stay.
pub fn tests_only(text: &str) -> String {
    let all = blank_comments_and_strings(text, Language::Rust);
    all.chars()
        .zip(production(text).chars())
        .map(|(all, kept)| if all == kept && all != '\n' { ' ' } else { all })
        .collect()
}

/// Numbers, from one, of the lines that hold `word` with no letter, digit or underscore beside it.
pub fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let holds = code.lines().enumerate().filter(|(_, line)| has_word(line, word));
    holds.map(|(index, _)| index + 1).collect()
}

/// True when `word` stands in the line with no letter, digit or underscore beside it.
pub fn has_word(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (part(word.chars().next()), part(word.chars().next_back()));
    line.match_indices(word).any(|(at, _)| {
        let before = first && part(line[..at].chars().next_back());
        let after = last && part(line[at + word.len()..].chars().next());
        !before && !after
    })
}

/// End of the item that begins at `from`: after its semicolon, or after the brace that closes its body.
fn item_end(code: &[char], from: usize) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth <= 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}
