//! Words for the person at the terminal: standard error.

use std::fmt;
use std::io::{IsTerminal as _, Write};

use throughline_client::session::describe_loss;
use throughline_client::{PathSummary, Session, State};

/// Prints a line on standard error.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Tells of lost and regained connections, each cause once, until dropped.
pub(crate) struct Narrator(tokio::task::JoinHandle<()>);

impl Narrator {
    /// `say` gets each line.
    pub(crate) fn start(session: &Session, say: impl Fn(&str) + Send + 'static) -> Narrator {
        let mut states = session.state();
        Narrator(tokio::spawn(async move {
            let mut told: Option<String> = None;
            loop {
                let state = states.borrow_and_update().clone();
                match state {
                    State::Waiting { cause: Some(loss) } => {
                        let text = describe_loss(&loss);
                        if told.as_ref() != Some(&text) {
                            say(&format!("{text}; trying again"));
                            told = Some(text);
                        }
                    }
                    State::Open if told.take().is_some() => say("connected again"),
                    State::Closed { .. } => return,
                    _ => {}
                }
                if states.changed().await.is_err() {
                    return;
                }
            }
        }))
    }
}

/// Tells what carries the session, at first and at every change, if a person reads standard error; until dropped.
pub(crate) struct Guide(Option<tokio::task::JoinHandle<()>>);

impl Guide {
    /// `what` is what the session does, as in "receiving prices".
    pub(crate) fn start(session: &Session, what: String) -> Guide {
        if !std::io::stderr().is_terminal() {
            return Guide(None);
        }
        let mut paths = session.path_changes();
        Guide(Some(tokio::spawn(async move {
            let mut told = None;
            loop {
                let path = paths.borrow_and_update().clone();
                if path.transport.is_some() && path.transport != told {
                    say(format_args!("{what} {}", way(&path)));
                    told = path.transport;
                }
                if paths.changed().await.is_err() {
                    return;
                }
            }
        })))
    }
}

impl Drop for Guide {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// What carries a session, and why nothing better does.
fn way(path: &PathSummary) -> String {
    let Some(transport) = path.transport else { return "over nothing".to_owned() };
    let better = path.failures.iter().rev().find(|report| report.transport < transport);
    let why = better.map(|report| {
        let detail = report.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!(" ({} failed, {}{detail})", report.transport, report.failure)
    });
    format!("over {transport}{}", why.unwrap_or_default())
}

impl Drop for Narrator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a session is closed, if it is.
pub(crate) fn closed_reason(session: &Session) -> Option<String> {
    match &*session.state().borrow() {
        State::Closed { reason, .. } => Some(reason.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throughline_client::{Failure, Report, Transport};

    #[test]
    fn ways_in_words() {
        let report = Report {
            transport: Transport::WebSocket,
            failure: Failure::Refused,
            after: 3,
            detail: Some("status 403".into()),
        };
        let mut path = PathSummary {
            transport: Some(Transport::LongPoll),
            rtt: None,
            network: None,
            heartbeat: None,
            failures: vec![report],
        };
        assert_eq!(way(&path), "over long-poll (websocket failed, refused: status 403)");
        path.transport = Some(Transport::WebSocket);
        assert_eq!(way(&path), "over websocket");
    }
}
