//! How a command ends that does not succeed.

use std::fmt;
use std::io;

/// Why a command ended; each has an exit status of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Status 1: what was asked for could not be done.
    Failed(String),
    /// Status 2: what was asked for makes no sense.
    Usage(String),
    /// Status 0: nobody reads the output any more.
    OutputClosed,
}

impl Failure {
    pub(crate) fn failed(why: impl fmt::Display) -> Failure {
        Failure::Failed(why.to_string())
    }

    pub(crate) fn usage(why: impl fmt::Display) -> Failure {
        Failure::Usage(why.to_string())
    }

    /// An error of writing to standard output.
    pub(crate) fn output(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::OutputClosed
        } else {
            Failure::Failed(format!("standard output cannot be written: {error}"))
        }
    }
}
