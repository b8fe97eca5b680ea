//! Why a realm cannot be opened or a channel cannot be created, and the errors that publishers are answered with.

use std::fmt;

use throughline_wire::event::BadChannelName;
use throughline_wire::message::{ErrorCode, ReplyError};

use crate::store::StoreError;
use crate::types::{ChannelAttributes, ChannelKind};

/// Why an engine could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The disk could not be read or written.
    Store(StoreError),
    /// The name of a configured channel breaks the rules.
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: BadChannelName,
    },
    /// A configured channel cannot be created.
    Channel {
        /// The channel.
        name: String,
        /// Why, and the way out.
        fault: ReplyError,
    },
    /// A channel is configured twice, with different attributes. Holds its name.
    Twice(String),
    /// A configured channel is on disk as another type.
    Kind {
        /// The channel.
        name: String,
        /// Its type on disk.
        stored: ChannelKind,
        /// Its type in the configuration.
        configured: ChannelKind,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Store(error) => error.fmt(f),
            OpenError::Name { name, fault } => write!(f, "configured channel {name:?}: {fault}"),
            OpenError::Channel { name, fault } => write!(f, "configured channel {name:?}: {}", fault.message),
            OpenError::Twice(name) => {
                write!(f, "channel {name:?} is configured twice, with different attributes; remove one")
            }
            OpenError::Kind { name, stored, configured } => write!(
                f,
                "configured channel {name:?} is of type {configured}, but its events on disk are those of type {stored}; \
                 configure it as {stored}, or delete it first, or take another name"
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Name { fault, .. } => Some(fault),
            OpenError::Store(_) | OpenError::Channel { .. } | OpenError::Twice(_) | OpenError::Kind { .. } => None,
        }
    }
}

/// Why a channel was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// It exists with these other attributes.
    Conflict(ChannelAttributes),
    /// Anything else.
    Reply(ReplyError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Conflict(a) => write!(f, "the channel exists as {} with other attributes", a.kind),
            CreateError::Reply(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CreateError {}

impl From<ReplyError> for CreateError {
    fn from(error: ReplyError) -> CreateError {
        CreateError::Reply(error)
    }
}

/// What a publisher is told of a fault of the disk.
pub(crate) fn store_error(error: &StoreError) -> ReplyError {
    let code = match error {
        StoreError::Full(_) => ErrorCode::StoreFull,
        StoreError::Failed(_) => ErrorCode::StoreFailed,
    };
    ReplyError::new(code, error.to_string())
}

pub(crate) fn bad_name(fault: &BadChannelName) -> ReplyError {
    ReplyError::new(ErrorCode::BadChannelName, fault.to_string())
}

pub(crate) fn draining() -> ReplyError {
    ReplyError::new(ErrorCode::Draining, "the realm is stopping; repeat on the next link")
}

pub(crate) fn deleting(name: &str) -> ReplyError {
    ReplyError::new(ErrorCode::Overloaded, format!("channel {name:?} is being deleted; repeat later"))
}

pub(crate) fn deleted(name: &str) -> ReplyError {
    ReplyError::new(ErrorCode::ChannelDeleted, format!("channel {name:?} was deleted"))
}

/// Limits of zero would keep nothing at all, which is what `transient` is for.
pub(crate) fn check_attributes(attributes: &ChannelAttributes) -> Result<(), ReplyError> {
    let limits = [("capacity", attributes.capacity), ("bytes", attributes.bytes), ("ttl", attributes.ttl)];
    match limits.into_iter().find(|(_, value)| *value == Some(0)) {
        None => Ok(()),
        Some((name, _)) => Err(ReplyError {
            code: "bad_request".into(),
            message: format!("{name} is 0; it must be at least 1, or absent for no limit"),
            limit: Some(1),
        }),
    }
}
