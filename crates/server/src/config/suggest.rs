//! Guesses what a misspelt name was meant to be.

/// The known name nearest to `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |name: &str, candidate: &str| Some(distance(name, candidate)).filter(|d| *d <= 1 + name.len() / 4);
    let measure = |candidate: &'a str| {
        // A right name in the wrong table is a likely slip, but less so than a misspelt one in the right table.
        let across = near(&last(name), &last(candidate)).map(|d| d + 1);
        let found = [near(name, candidate), across].into_iter().flatten().min()?;
        Some((found, candidate))
    };
    known.into_iter().filter_map(measure).min().map(|(_, candidate)| candidate)
}

/// Insertions, removals and replacements that make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let Some(first) = row.first_mut() else { break };
        *first = left;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["listen", "limits.event_bytes_max", "timeouts.head_ms"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("limits.event_byte_max", known), Some("limits.event_bytes_max"));
        assert_eq!(nearest("event_bytes_max", known), Some("limits.event_bytes_max"));
        assert_eq!(nearest("limits.head_ms", known), Some("timeouts.head_ms"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("channels.retained", ["http2.enabled"]), None, "its own name is too different");
    }
}
