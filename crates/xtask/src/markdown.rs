//! Tables, links and quoted names of a document.

/// The part of a document from the heading that begins with `heading` to the next heading of the same or a higher rank.
pub fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let at = text.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no heading {heading:?}")) + 1;
    let rank = heading.chars().take_while(|c| *c == '#').count();
    let body = at + text[at..].find('\n').unwrap_or(0);
    let mut end = text.len();
    for (offset, line) in lines(&text[body..]) {
        let hashes = line.chars().take_while(|c| *c == '#').count();
        if (1..=rank).contains(&hashes) && line[hashes..].starts_with(' ') {
            end = body + offset;
            break;
        }
    }
    &text[body..end]
}

/// The rows of every table, as trimmed cells; separator rows are left out, head rows are not.
pub fn rows(text: &str) -> Vec<Vec<String>> {
    let rows =
        text.lines().map(str::trim).filter(|line| line.starts_with('|') && line.ends_with('|') && line.len() > 1);
    let cells =
        rows.map(|line| line[1..line.len() - 1].split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.filter(|cells| !cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':')))).collect()
}

/// What stands between single backquotes outside of code blocks.
pub fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    found
}

/// Targets of `[text](target)` links outside of code blocks.
pub fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| target.to_owned()));
    }
    found
}

/// The lines outside of code blocks.
pub fn prose(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            found.push(line);
        }
    }
    found
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut offset = 0;
    text.split_inclusive('\n').map(move |line| {
        let at = offset;
        offset += line.len();
        (at, line)
    })
}
