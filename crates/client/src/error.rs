//! What can go wrong between a client and a realm, with the way out.

use std::fmt;
use std::io;

use crate::url::BadUrl;

/// An answer that did not come from a realm, or that refused: enough of it to see who spoke.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The `Server` header.
    pub server: Option<String>,
    /// The `Via` header.
    pub via: Option<String>,
    /// The beginning of the body, in one line.
    pub body: String,
}

/// What a forward proxy answered to `CONNECT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyAnswer {
    /// The answer.
    pub answer: Answer,
    /// Its `Proxy-Authenticate` headers.
    pub challenges: Vec<String>,
    /// It was shown credentials, and does not take them.
    pub credentials_refused: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(server) = &self.server {
            write!(f, ", Server: {server}")?;
        }
        if let Some(via) = &self.via {
            write!(f, ", Via: {via}")?;
        }
        if !self.body.is_empty() {
            write!(f, ", {:?}", self.body)?;
        }
        Ok(())
    }
}

/// Why something of the realm could not be reached.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is no realm's.
    Url(BadUrl),
    /// The host's name could not be resolved.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No TCP connection.
    Connect {
        /// Host and port.
        authority: String,
        /// What the system said.
        source: io::Error,
    },
    /// A forward proxy leads nowhere.
    Proxy {
        /// Which one.
        proxy: String,
        /// What it did, and the way out.
        fault: String,
        /// Its answer to `CONNECT`, where it refused.
        answer: Option<Box<ProxyAnswer>>,
    },
    /// No TLS with who answers there.
    Tls {
        /// Host and port.
        authority: String,
        /// What is wrong, and the way out.
        fault: String,
    },
    /// Nothing came in time.
    TimedOut {
        /// Host and port.
        authority: String,
        /// What was waited for.
        waited_for: &'static str,
        /// How long, milliseconds.
        after_ms: u64,
    },
    /// The connection broke before the answer was complete.
    Broken {
        /// Host and port.
        authority: String,
        /// What happened.
        fault: String,
    },
    /// Something answered that is no realm.
    NotARealm {
        /// Host and port.
        authority: String,
        /// What answered.
        answer: Answer,
    },
    /// The realm itself refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// Code of PROTOCOL.md section 9.4.
        code: String,
        /// The realm's own words.
        message: String,
        /// The `Retry-After` header, milliseconds.
        retry_after_ms: Option<u64>,
    },
}

impl ConnectError {
    /// True when another attempt may succeed without anybody changing anything here.
    pub fn is_temporary(&self) -> bool {
        match self {
            ConnectError::Url(_) | ConnectError::Tls { .. } => false,
            ConnectError::Proxy { answer: Some(answer), .. } if answer.credentials_refused => false,
            ConnectError::Resolve { .. }
            | ConnectError::Connect { .. }
            | ConnectError::Proxy { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::Broken { .. } => true,
            ConnectError::NotARealm { answer, .. } => answer.status >= 500,
            ConnectError::Refused { status, .. } => *status >= 500 || *status == 429,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Url(bad) => bad.fmt(f),
            ConnectError::Resolve { host, source } => {
                write!(f, "the name {host:?} cannot be resolved ({source}); check the address")
            }
            ConnectError::Connect { authority, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
                write!(
                    f,
                    "nothing listens on {authority} (connection refused); start a realm there with `throughline serve`, or check the address"
                )
            }
            ConnectError::Connect { authority, source } => {
                write!(f, "cannot connect to {authority}: {source}; check the address and the network")
            }
            ConnectError::Proxy { proxy, fault, .. } => write!(f, "{proxy}: {fault}"),
            ConnectError::Tls { authority, fault } => write!(f, "no TLS with {authority}: {fault}"),
            ConnectError::TimedOut { authority, waited_for, after_ms } => {
                write!(f, "{authority}: no {waited_for} within {after_ms} ms; check the address and the network")
            }
            ConnectError::Broken { authority, fault } => {
                write!(f, "{authority}: the connection broke before the answer came: {fault}")
            }
            ConnectError::NotARealm { authority, answer } => write!(
                f,
                "what answered at {authority} is not a Throughline realm ({answer}); check the address and the path prefix"
            ),
            ConnectError::Refused { status, code, message, .. } => {
                write!(f, "the realm refused: {message} ({code}, status {status})")
            }
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Url(bad) => Some(bad),
            ConnectError::Resolve { source, .. } | ConnectError::Connect { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<BadUrl> for ConnectError {
    fn from(bad: BadUrl) -> ConnectError {
        ConnectError::Url(bad)
    }
}

/// The first line of a foreign body, cut so that it fits an error message.
pub(crate) fn excerpt(body: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 120;
    let text = String::from_utf8_lossy(body.get(..1024).unwrap_or(body));
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(CHARACTERS_MAX).collect()
}
