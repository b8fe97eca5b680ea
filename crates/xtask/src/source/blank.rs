//! Blanks strings and comments, so that what is left is code.

/// How strings and comments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Nested block comments, raw strings, lifetimes.
    Rust,
    /// TypeScript and JavaScript: three kinds of quotes and regular expressions.
    Script,
}

/// The text with every comment replaced by spaces.
pub fn blank_comments(text: &str, language: Language) -> String {
    Blanker::new(text, language).run(false)
}

/// The text with every comment and the inside of every string replaced by spaces.
pub fn blank_comments_and_strings(text: &str, language: Language) -> String {
    Blanker::new(text, language).run(true)
}

struct Blanker {
    text: Vec<char>,
    at: usize,
    language: Language,
    out: String,
}

impl Blanker {
    fn new(text: &str, language: Language) -> Blanker {
        Blanker { text: text.chars().collect(), at: 0, language, out: String::with_capacity(text.len()) }
    }

    fn run(mut self, strings: bool) -> String {
        while let Some(c) = self.peek(0) {
            if let Some(end) = self.comment(c) {
                self.copy(end, true);
            } else if let Some(end) = self.string(c) {
                self.copy(end, strings);
            } else {
                self.copy(self.at + 1, false);
            }
        }
        self.out
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn copy(&mut self, end: usize, blank: bool) {
        let end = end.min(self.text.len());
        let piece = &self.text[self.at..end];
        self.out.extend(piece.iter().map(|c| if blank && *c != '\n' { ' ' } else { *c }));
        self.at = end;
    }

    /// End of the comment that begins here.
    fn comment(&self, c: char) -> Option<usize> {
        match (c, self.peek(1)) {
            ('/', Some('/')) => {
                Some(self.text[self.at..].iter().position(|c| *c == '\n').map_or(self.text.len(), |n| self.at + n))
            }
            ('/', Some('*')) => Some(self.block_comment_end()),
            _ => None,
        }
    }

    fn block_comment_end(&self) -> usize {
        let (mut at, mut depth) = (self.at + 2, 1);
        while depth > 0 && at < self.text.len() {
            match (self.text[at], self.text.get(at + 1)) {
                ('*', Some('/')) => {
                    depth -= 1;
                    at += 2;
                }
                ('/', Some('*')) if self.language == Language::Rust => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        at
    }

    /// End of the string, character or regular expression that begins here.
    fn string(&self, c: char) -> Option<usize> {
        match (self.language, c) {
            (_, '"') => Some(self.quoted_end(self.at + 1, '"')),
            (Language::Rust, 'r') => self.raw_string_end(),
            (Language::Rust, '\'') => self.character_end(),
            (Language::Script, '\'') => Some(self.quoted_end(self.at + 1, '\'')),
            (Language::Script, '`') => Some(self.template_end(self.at + 1)),
            (Language::Script, '/') if self.expression_may_begin() => Some(self.regular_expression_end()),
            _ => None,
        }
    }

    fn quoted_end(&self, from: usize, quote: char) -> usize {
        let mut at = from;
        while at < self.text.len() {
            match self.text[at] {
                '\\' => at += 2,
                c if c == quote => return at + 1,
                _ => at += 1,
            }
        }
        at
    }

    fn raw_string_end(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).map(|at| self.text[at]);
        if before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_') {
            return None;
        }
        let hashes = self.text[self.at + 1..].iter().take_while(|c| **c == '#').count();
        if self.peek(1 + hashes) != Some('"') {
            return None;
        }
        let mut at = self.at + 2 + hashes;
        while at < self.text.len() {
            let closes = self.text[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
            if self.text[at] == '"' && closes {
                return Some(at + 1 + hashes);
            }
            at += 1;
        }
        Some(at)
    }

    /// A quote that begins no character begins a lifetime.
    fn character_end(&self) -> Option<usize> {
        match (self.peek(1), self.peek(2)) {
            (Some('\\'), Some(_)) => Some(self.quoted_end(self.at + 3, '\'')),
            (Some(_), Some('\'')) => Some(self.at + 3),
            _ => None,
        }
    }

    fn template_end(&self, from: usize) -> usize {
        let (mut at, mut depth) = (from, 0);
        while at < self.text.len() {
            match (self.text[at], depth) {
                ('\\', _) => at += 1,
                ('`', 0) => return at + 1,
                ('`', _) => at = self.template_end(at + 1) - 1,
                ('$', 0) if self.text.get(at + 1) == Some(&'{') => {
                    depth = 1;
                    at += 1;
                }
                ('{', 1..) => depth += 1,
                ('}', 1..) => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        at
    }

    fn expression_may_begin(&self) -> bool {
        let before = self.text[..self.at].iter().rev().find(|c| !matches!(c, ' ' | '\n'));
        before.is_none_or(|c| "(,=:[!&|?{};+>".contains(*c))
    }

    fn regular_expression_end(&self) -> usize {
        let (mut at, mut class) = (self.at + 1, false);
        while at < self.text.len() && self.text[at] != '\n' {
            match self.text[at] {
                '\\' => at += 1,
                '[' => class = true,
                ']' => class = false,
                '/' if !class => return at + 1,
                _ => {}
            }
            at += 1;
        }
        at
    }
}
