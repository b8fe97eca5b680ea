//! One trial in few words, for a table.

use super::super::observations::Trial;
use super::answers::{Flow, flow};
use super::draft::words;

/// How a trial ended, in few words.
pub fn outcome(trial: &Trial) -> String {
    if let Some(passed) = trial.passed.filter(|_| matches!(&*trial.what, "header" | "address" | "post")) {
        return match trial.failed {
            Some(failed) => format!("up to {passed} bytes, not {failed} ({})", words(trial)),
            None => format!("up to {passed} bytes"),
        };
    }
    if trial.fault.is_some() {
        let refused =
            trial.fault.as_deref() == Some("answered") && trial.answer.as_ref().is_some_and(|answer| answer.ours);
        return format!("{}{}", words(trial), if refused { " by the realm" } else { "" });
    }
    if trial.what == "http2" {
        return match trial.extended_connect {
            Some(true) => "works, with extended CONNECT".to_owned(),
            Some(false) => "works, no extended CONNECT".to_owned(),
            None => "HTTP/1.1 is agreed on".to_owned(),
        };
    }
    match flow(trial) {
        _ if trial.what != "stream" => "works".to_owned(),
        Flow::Live => "works, one by one".to_owned(),
        Flow::Delayed { ms } => format!("works, up to {ms} ms late"),
        Flow::Blocks { bytes } => format!("blocks of {bytes} bytes"),
        Flow::Held => "held to the end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::observations::Answer;
    use super::*;

    #[test]
    fn the_realm_is_named_only_where_it_answered() {
        let answer = Some(Answer { status: 200, ours: true, server: Some("nginx".to_owned()), ..Answer::default() });
        let cut = Trial { fault: Some("cut".to_owned()), answer, ..Trial::default() };
        assert_eq!(outcome(&cut), "the connection is cut");
        let answer = Some(Answer { status: 404, ours: true, ..Answer::default() });
        let refused = Trial { fault: Some("answered".to_owned()), answer, ..Trial::default() };
        assert_eq!(outcome(&refused), "status 404 by the realm");
    }
}
