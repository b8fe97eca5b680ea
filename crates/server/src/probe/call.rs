//! The parameters of probes.

use std::time::Duration;

use throughline_wire::http::Form;

use super::Kind;
use crate::http::answer::Fault;
use crate::http::request::Query;

/// Seconds that a poll is held at most.
const HOLD_S_MAX: u64 = 60;
/// Messages of a stream at most.
const MESSAGES_MAX: u64 = 1_000;
/// Milliseconds between two messages at most.
const GAP_MS_MAX: u64 = 60_000;
/// Milliseconds that all gaps of a stream may come to.
const GAPS_MS_MAX: u64 = 120_000;

/// What a stream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) form: Form,
    pub(super) count: u64,
    pub(super) gap: Duration,
    /// Bytes of a message's JSON.
    pub(super) size: usize,
}

impl Plan {
    pub(super) fn of(query: &Query<'_>) -> Result<Plan, Fault> {
        let form = match query.get("type").unwrap_or("chunk") {
            "chunk" => Form::Lines,
            "sse" => Form::EventStream,
            "iframe" => Form::Script,
            other => return Err(Fault::bad_request(format!("type={other:?}: expected chunk, sse or iframe"))),
        };
        let count = number(query, "n", 1, MESSAGES_MAX, 10)?;
        let gap_ms = number(query, "gap", 0, GAP_MS_MAX, 200)?;
        let size = number(query, "size", 64, 16_384, 64)?;
        let gaps = (count - 1) * gap_ms;
        if gaps > GAPS_MS_MAX {
            let text =
                format!("n={count} and gap={gap_ms} come to {gaps} milliseconds; expected at most {GAPS_MS_MAX}");
            return Err(Fault::bad_request(text));
        }
        Ok(Plan { form, count, gap: Duration::from_millis(gap_ms), size: size as usize })
    }
}

/// How long a poll is to be held.
pub(super) fn hold(query: &Query<'_>) -> Result<Duration, Fault> {
    number(query, "hold", 0, HOLD_S_MAX, 12).map(Duration::from_secs)
}

/// True for what a page of any site could load into a frame and gain by it.
pub(super) fn is_embedded(kind: Kind, query: &Query<'_>) -> bool {
    kind == Kind::Stream && query.get("type") == Some("iframe")
}

fn number(query: &Query<'_>, name: &str, min: u64, max: u64, default: u64) -> Result<u64, Fault> {
    let Some(text) = query.get(name) else { return Ok(default) };
    let value = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok());
    value
        .filter(|value| (min..=max).contains(value))
        .ok_or_else(|| Fault::bad_request(format!("{name}={text:?}: expected a number from {min} to {max}")))
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::http::request::Parts;

    use super::*;

    fn head(query: &str) -> Parts {
        Request::get(format!("/throughline/v1/probe/stream?{query}")).body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_is_missing_has_its_default() {
        let head = head("u=1");
        let plan = Plan::of(&Query::lenient(&head).unwrap()).unwrap();
        assert_eq!(plan, Plan { form: Form::Lines, count: 10, gap: Duration::from_millis(200), size: 64 });
        assert_eq!(hold(&Query::lenient(&head).unwrap()).unwrap(), Duration::from_secs(12));
    }

    #[test]
    fn bounds_are_in_and_what_is_beyond_is_named() {
        for good in ["n=1", "n=1000&gap=0", "gap=60000&n=3", "size=64", "size=16384", "type=sse", "type=iframe"] {
            assert!(Plan::of(&Query::lenient(&head(good)).unwrap()).is_ok(), "{good}");
        }
        let cases = [
            ("n=0", "n=\"0\": expected a number from 1 to 1000"),
            ("n=1001", "from 1 to 1000"),
            ("n=+1", "from 1 to 1000"),
            ("n=", "from 1 to 1000"),
            ("n=99999999999999999999999", "from 1 to 1000"),
            ("gap=60001&n=1", "from 0 to 60000"),
            ("gap=-1", "from 0 to 60000"),
            ("size=63", "from 64 to 16384"),
            ("size=16385", "from 64 to 16384"),
            ("type=lines", "expected chunk, sse or iframe"),
            ("n=4&gap=40001", "come to 120003 milliseconds; expected at most 120000"),
        ];
        for (bad, part) in cases {
            let head = head(bad);
            let fault = Plan::of(&Query::lenient(&head).unwrap()).unwrap_err();
            assert!(fault.error().message.contains(part), "{bad}: {}", fault.error().message);
        }
        for bad in ["hold=61", "hold=1.5", "hold=x"] {
            assert!(hold(&Query::lenient(&head(bad)).unwrap()).is_err(), "{bad}");
        }
    }
}
