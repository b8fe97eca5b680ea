//! Close codes, in ranges that say whether to come back: PROTOCOL.md section 7.

use core::fmt;

/// Why a link was closed. The number goes into the WebSocket close frame (RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// Finished on purpose.
    Normal = 1000,
    /// The page or the program goes away.
    GoingAway = 1001,
    /// WebSocket framing was broken.
    Protocol = 1002,
    /// A kind of data that the receiver does not understand.
    Unsupported = 1003,
    /// Text that is not UTF-8, or broken compressed data.
    InvalidPayload = 1007,
    /// A message over the limit.
    TooBig = 1009,
    /// The server is stopping.
    Drain = 4000,
    /// Nothing was heard for too long.
    Heartbeat = 4001,
    /// A limit on connections was reached.
    Overloaded = 4100,
    /// A fault of the server.
    Internal = 4101,
    /// No `connect` came in time.
    ConnectTimeout = 4102,
    /// A message that breaks the protocol.
    BadMessage = 4200,
    /// No common protocol version.
    Version = 4201,
    /// `connect` was missing or came twice.
    ConnectExpected = 4202,
}

/// What a client does after a link was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// At once, with jitter.
    Now,
    /// With growing delay.
    Later,
    /// Never: the same would happen again.
    Never,
}

impl CloseCode {
    /// Every code, for tables and tests.
    pub const ALL: [CloseCode; 14] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Unsupported,
        CloseCode::InvalidPayload,
        CloseCode::TooBig,
        CloseCode::Drain,
        CloseCode::Heartbeat,
        CloseCode::Overloaded,
        CloseCode::Internal,
        CloseCode::ConnectTimeout,
        CloseCode::BadMessage,
        CloseCode::Version,
        CloseCode::ConnectExpected,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// A short name, for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            CloseCode::Normal => "normal",
            CloseCode::GoingAway => "going_away",
            CloseCode::Protocol => "protocol",
            CloseCode::Unsupported => "unsupported",
            CloseCode::InvalidPayload => "invalid_payload",
            CloseCode::TooBig => "too_big",
            CloseCode::Drain => "drain",
            CloseCode::Heartbeat => "heartbeat",
            CloseCode::Overloaded => "overloaded",
            CloseCode::Internal => "internal",
            CloseCode::ConnectTimeout => "connect_timeout",
            CloseCode::BadMessage => "bad_message",
            CloseCode::Version => "version",
            CloseCode::ConnectExpected => "connect_expected",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

/// What a client does after close code `code`, which may be one that this version does not know.
pub const fn reconnect_after(code: u16) -> Reconnect {
    match code {
        // A proxy may make 1000 of a connection that broke; after an end that it asked for no client reads this.
        1000 | 1001 | 4000..=4099 => Reconnect::Now,
        1002 | 1003 | 1007 | 1009 | 4200..=4299 => Reconnect::Never,
        _ => Reconnect::Later,
    }
}
