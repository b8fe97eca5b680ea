//! Trials of streamed answers.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::super::observations::Trial;
use super::PATIENCE_MS;
use super::requests::{Ask, Talk, unique};
use super::way::{Way, fail, ms_since};

/// What `probe/stream` calls its framings.
pub(super) const KINDS: [&str; 3] = ["chunk", "sse", "iframe"];
/// Messages of a stream, the pause between them in milliseconds, and their size in bytes: some blocks of 16 KiB.
const MESSAGES: u64 = 36;
const GAP_MS: u64 = 100;
const SIZE: u64 = 1024;
/// Reads that follow one another so closely belong together, milliseconds.
const TOGETHER_MS: u64 = 4;

/// One stream, and when its messages come.
pub(super) async fn trial(way: Way, kind: &'static str) -> Trial {
    let mut trial = Trial { kind: Some(kind.to_owned()), size: Some(SIZE), ..way.trial("stream") };
    let resource = format!("/probe/stream?type={kind}&n={MESSAGES}&gap={GAP_MS}&size={SIZE}");
    let ask = ask(&way, kind, &resource);
    receive(&way, &ask, MESSAGES, MESSAGES * GAP_MS, &mut trial).await;
    trial
}

/// Longest pause that `probe/stream` makes, seconds.
const PAUSE_S_MAX: u64 = 60;

/// A stream that says nothing for a while.
pub(super) async fn idle(way: Way, idle_s: u64) -> Trial {
    let idle_s = idle_s.min(PAUSE_S_MAX);
    let kind = Some("stream".to_owned());
    let mut trial = Trial { kind, idle_s: Some(idle_s), ..way.trial("idle") };
    let gap_ms = idle_s * 1000;
    let ask = ask(&way, "chunk", &format!("/probe/stream?n=2&gap={gap_ms}"));
    receive(&way, &ask, 2, gap_ms, &mut trial).await;
    trial.arrivals.clear();
    trial
}

fn ask(way: &Way, kind: &str, resource: &str) -> Ask {
    let mut ask = Ask::get(unique(resource));
    if kind == "iframe" {
        // As the frame of a page says whose it is; without another origin it is a page of the realm's own.
        let origin = way.origin.clone().unwrap_or_else(|| way.own_origin());
        ask.resource.push_str(&format!("&origin={}", crate::http::query(&origin)));
        ask.headers.push(("Referer", format!("{origin}/")));
        if way.origin.is_none() {
            ask.headers.push(("Sec-Fetch-Site", "same-origin".to_owned()));
        }
    }
    ask
}

/// Reads a stream of so many messages, which takes `lasts_ms`.
async fn receive(way: &Way, ask: &Ask, count: u64, lasts_ms: u64, trial: &mut Trial) {
    let Some(mut talk) = Talk::open(way, trial).await else { return };
    let begin = Instant::now();
    let end = begin + Duration::from_millis(lasts_ms + PATIENCE_MS);
    // Whoever holds an answer back to its end may hold its head back too.
    let Some(mut body) = talk.ask(way, ask, trial, lasts_ms + PATIENCE_MS).await else { return };
    let mut scan = Scan::default();
    let whole = |trial: &Trial| trial.arrivals.len() as u64 >= count;
    while !whole(trial) {
        match timeout_at(end, next(&mut body)).await {
            Ok(Some(data)) => {
                let came = ms_since(begin);
                trial.first_ms = trial.first_ms.or(Some(came));
                let together = scan.last.filter(|last| came.saturating_sub(*last) <= TOGETHER_MS);
                let came = together.unwrap_or(came);
                scan.last = Some(came);
                scan.feed(&data, |at| trial.arrivals.push((at, came)));
            }
            Ok(None) => return fail(trial, "cut", begin),
            Err(_) => {
                let fault = if trial.arrivals.is_empty() { "mute" } else { "silent" };
                return fail(trial, fault, begin);
            }
        }
    }
}

async fn next(body: &mut Incoming) -> Option<bytes::Bytes> {
    body.frame().await?.ok().map(|frame| frame.into_data().unwrap_or_default())
}

/// Finds the member `at` of the messages in whatever framing: quoted or not, cut anywhere.
#[derive(Default)]
struct Scan {
    text: Vec<u8>,
    last: Option<u64>,
}

/// What stands in front of the number.
const AT: &[u8] = b"\"at\":";

impl Scan {
    fn feed(&mut self, data: &[u8], mut found: impl FnMut(u64)) {
        self.text.extend(data.iter().filter(|byte| **byte != b'\\'));
        let mut start = 0;
        while let Some(rest) = self.text.get(start..) {
            let Some(place) = rest.windows(AT.len()).position(|window| window == AT) else { break };
            let digits = rest.get(place + AT.len()..).unwrap_or_default();
            let Some(len) = digits.iter().position(|byte| !byte.is_ascii_digit()) else {
                start += place;
                self.text.drain(..start);
                return;
            };
            let number = digits.get(..len).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
            number.into_iter().for_each(&mut found);
            start += place + AT.len() + len;
        }
        let keep = self.text.len().saturating_sub(AT.len()).max(start).min(self.text.len());
        self.text.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let text = br#"   {"type":"probe","n":1,"at":0,"of":3,"pad":"aa"}<script>m("{\"type\":\"probe\",\"n\":2,\"at\":101,"of":3})"at":2345,"#;
        for size in 1..text.len() {
            let (mut scan, mut found) = (Scan::default(), Vec::new());
            text.chunks(size).for_each(|chunk| scan.feed(chunk, |at| found.push(at)));
            assert_eq!(found, [0, 101, 2345], "{size}");
        }
    }
}
