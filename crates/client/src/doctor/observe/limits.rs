//! The longest header and the longest address that pass.

use super::super::observations::Trial;
use super::PATIENCE_MS;
use super::requests::{Ask, Talk, unique};
use super::way::Way;

/// Lengths of a header that are tried, bytes.
const HEADERS: [usize; 4] = [2 << 10, 4 << 10, 8 << 10, 16 << 10];
/// Lengths of an address that are tried, bytes.
const ADDRESSES: [usize; 3] = [2_000, 4_000, 8_000];

pub(super) async fn header(way: Way) -> Trial {
    let asks = HEADERS.map(|size| {
        let headers = vec![("X-Padding", "x".repeat(size - "X-Padding".len()))];
        (size, Ask { headers, ..Ask::get(unique("/probe/inspect")) })
    });
    longest(&way, "header", &asks).await
}

pub(super) async fn address(way: Way) -> Trial {
    let asks = ADDRESSES.map(|size| {
        let mut resource = unique("/probe/inspect");
        resource.push_str("&pad=");
        let rest = size.saturating_sub(way.url.path(&resource).len());
        resource.push_str(&"x".repeat(rest));
        (size, Ask::get(resource))
    });
    longest(&way, "address", &asks).await
}

/// Asks for ever more until it is refused. What the realm itself refuses is no matter of the path.
async fn longest(way: &Way, what: &str, asks: &[(usize, Ask)]) -> Trial {
    let mut trial = way.trial(what);
    for (size, ask) in asks {
        let mut longer = way.trial(what);
        let answered = match Talk::open(way, &mut longer).await {
            Some(mut talk) => talk.ask_whole(way, ask, &mut longer, PATIENCE_MS).await.is_some(),
            None => false,
        };
        let passed = trial.passed;
        if answered {
            trial = Trial { passed: Some(*size as u64), ..longer };
        } else if passed.is_some() && longer.answer.as_ref().is_some_and(|answer| answer.ours) {
            return trial;
        } else {
            let failed = passed.map(|_| *size as u64);
            return Trial { passed, failed, ..longer };
        }
    }
    trial
}
