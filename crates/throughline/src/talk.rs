//! Words for the person at the terminal: standard error.

use std::fmt;
use std::io::Write;

use throughline_client::session::describe_loss;
use throughline_client::{Session, State};

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
