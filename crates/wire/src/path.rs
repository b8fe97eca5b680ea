//! Words for the ways between a client and a realm: transports, and how they fail. PROTOCOL.md sections 1 and 4.1.

use core::fmt;

/// A way to carry a session, in order of preference: the best one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Transport {
    /// RFC 6455.
    WebSocket,
    /// A streamed answer of lines, read by `fetch` or `XMLHttpRequest`.
    HttpStream,
    /// Server-sent events.
    EventSource,
    /// A document in a hidden frame that never ends.
    IframeStream,
    /// One answer after another.
    LongPoll,
    /// The same through script elements.
    JsonpPoll,
}

/// Transports that fail in the same ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// WebSocket.
    WebSocket,
    /// One answer without an end.
    Streams,
    /// Answers that are ended at once.
    Polls,
}

impl Transport {
    /// Every transport, the best one first.
    pub const ALL: [Transport; 6] = [
        Transport::WebSocket,
        Transport::HttpStream,
        Transport::EventSource,
        Transport::IframeStream,
        Transport::LongPoll,
        Transport::JsonpPoll,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::HttpStream => "http-stream",
            Transport::EventSource => "event-source",
            Transport::IframeStream => "iframe-stream",
            Transport::LongPoll => "long-poll",
            Transport::JsonpPoll => "jsonp-poll",
        }
    }

    /// The transport of that name.
    pub fn from_name(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Its place in the order of preference, 0 for the best.
    pub const fn rank(self) -> u8 {
        self as u8
    }

    /// Which others fail in the same ways.
    pub const fn group(self) -> Group {
        match self {
            Transport::WebSocket => Group::WebSocket,
            Transport::HttpStream | Transport::EventSource | Transport::IframeStream => Group::Streams,
            Transport::LongPoll | Transport::JsonpPoll => Group::Polls,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an attempt failed, or a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Answered by an error, or reset, at once.
    Refused,
    /// No answer to the handshake.
    Silent,
    /// Ended after it was open: before it was proven, or within 10 s of that.
    Cut,
    /// Open, and no message came.
    Swallowed,
    /// A stream was open and its client was answered elsewhere, and no message came.
    Buffered,
    /// Died of silence, or was ended after more than 10 s.
    Idle,
    /// A stream or poll that ended in good order after more than 10 s, neither side having ended it.
    Rotated,
    /// 401 or 407: somebody under way wants a name and a password.
    Authentication,
    /// The realm does not serve pages of this origin.
    Origin,
    /// Not even the simplest request got through.
    Unreachable,
}

impl Failure {
    /// Every failure.
    pub const ALL: [Failure; 10] = [
        Failure::Refused,
        Failure::Silent,
        Failure::Cut,
        Failure::Swallowed,
        Failure::Buffered,
        Failure::Idle,
        Failure::Rotated,
        Failure::Authentication,
        Failure::Origin,
        Failure::Unreachable,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Silent => "silent",
            Failure::Cut => "cut",
            Failure::Swallowed => "swallowed",
            Failure::Buffered => "buffered",
            Failure::Idle => "idle",
            Failure::Rotated => "rotated",
            Failure::Authentication => "authentication",
            Failure::Origin => "origin",
            Failure::Unreachable => "unreachable",
        }
    }

    /// The failure of that name.
    pub fn from_name(name: &str) -> Option<Failure> {
        Failure::ALL.into_iter().find(|f| f.name() == name)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_one_thing_each() {
        for transport in Transport::ALL {
            assert_eq!(Transport::from_name(transport.name()), Some(transport));
            assert_eq!(Transport::ALL.get(usize::from(transport.rank())), Some(&transport));
        }
        for failure in Failure::ALL {
            assert_eq!(Failure::from_name(failure.name()), Some(failure));
        }
        assert_eq!((Transport::from_name("of_tomorrow"), Failure::from_name("")), (None, None));
    }
}
