//! Who waits for the outcome of a command.

use throughline_engine::store::{Done, StoreError};

use crate::progress::{Progress, Watch};
use crate::queue::{Command, Reply};

/// Someone to be told of the outcome, and the outcome where it does not depend on the commit.
pub(crate) struct Answer {
    pub to: To,
    pub refused: Option<StoreError>,
}

pub(crate) enum To {
    Append(Done),
    Record(Done),
    Caller(Reply),
    /// Told that those before it have been told, whatever that was.
    Settled(Reply),
}

impl Answer {
    /// An event that the commit holds.
    pub(crate) fn is_event(&self) -> bool {
        self.refused.is_none() && matches!(self.to, To::Append(_))
    }

    pub(crate) fn tell(self, outcome: &Result<(), StoreError>, watch: &mut Watch) {
        let outcome = match self.to {
            To::Settled(_) => Ok(()),
            _ => self.refused.map_or_else(|| outcome.clone(), Err),
        };
        if let Err(error) = &outcome {
            watch(Progress::Failed(error));
        }
        self.to.tell(outcome);
    }
}

impl To {
    pub(crate) fn tell(self, outcome: Result<(), StoreError>) {
        match self {
            To::Append(done) | To::Record(done) => done(outcome),
            // A caller that has gone needs no answer.
            To::Caller(reply) | To::Settled(reply) => drop(reply.send(outcome)),
        }
    }
}

/// Who is to be told of a command, if anybody is.
pub(crate) fn answer(command: Command, refused: Option<StoreError>) -> Option<Answer> {
    let to = match command {
        Command::Append(append) => To::Append(append.done),
        Command::PutChannel(_, done) => To::Record(done),
        Command::Settle(reply) => To::Settled(reply),
        Command::DeleteChannel(_, reply) | Command::Forget(_, _, reply) | Command::Stop(reply) => To::Caller(reply),
        Command::Trim(..) | Command::Drop(..) => return None,
    };
    Some(Answer { to, refused })
}
