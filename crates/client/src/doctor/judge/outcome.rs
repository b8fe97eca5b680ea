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
        let by = trial.answer.as_ref().filter(|answer| answer.ours).map_or("", |_| " by the realm");
        return format!("{}{by}", words(trial));
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
