//! What a peer did wrong, and the close code that tells it so.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::close::CloseCode;
use crate::message::CloseReason;

/// The peer broke a rule of RFC 6455 or RFC 7692: the connection has to be closed with [`Violation::close`],
/// and its decoder must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    rule: Rule,
}

/// The rules that a peer can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// RSV2 or RSV3 was set, or RSV1 where compression does not allow it.
    ReservedBit,
    /// An opcode that has no meaning; holds it.
    ReservedOpcode(u8),
    /// A close, ping or pong without FIN.
    FragmentedControl,
    /// A close, ping or pong of more than 125 bytes.
    ControlTooLong,
    /// A continuation where no message had begun.
    NothingToContinue,
    /// A new message before the end of the one before.
    MessageUnfinished,
    /// A client sent an unmasked frame.
    Unmasked,
    /// A server sent a masked frame.
    Masked,
    /// A length was not written in its shortest form.
    LengthNotMinimal,
    /// A length of 2^63 or more.
    LengthOverflow,
    /// Text, or the reason of a close, is not UTF-8.
    Utf8,
    /// A close frame with one byte of payload.
    CloseLength,
    /// A close code that must not be sent; holds it.
    CloseCode(u16),
    /// A message over the limit; holds the limit in bytes.
    TooBig(usize),
    /// Compressed data are no valid DEFLATE stream.
    Deflate,
}

impl Rule {
    /// The section that states the rule.
    pub const fn section(self) -> &'static str {
        match self {
            Rule::ReservedBit | Rule::ReservedOpcode(_) | Rule::LengthNotMinimal | Rule::LengthOverflow => {
                "RFC 6455 section 5.2"
            }
            Rule::Unmasked | Rule::Masked => "RFC 6455 section 5.1",
            Rule::NothingToContinue | Rule::MessageUnfinished => "RFC 6455 section 5.4",
            Rule::FragmentedControl | Rule::ControlTooLong => "RFC 6455 section 5.5",
            Rule::CloseLength => "RFC 6455 section 5.5.1",
            Rule::CloseCode(_) => "RFC 6455 section 7.4",
            Rule::Utf8 => "RFC 6455 section 8.1",
            Rule::TooBig(_) => "RFC 6455 section 10.4",
            Rule::Deflate => "RFC 7692 section 7.2.2",
        }
    }

    const fn code(self) -> CloseCode {
        match self {
            Rule::Utf8 | Rule::Deflate => CloseCode::InvalidPayload,
            Rule::TooBig(_) => CloseCode::TooBig,
            _ => CloseCode::Protocol,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::ReservedBit => "a reserved bit is set without an extension that allows it",
            Rule::ReservedOpcode(opcode) => return write!(f, "opcode {opcode:#x} is reserved"),
            Rule::FragmentedControl => "a control frame is fragmented",
            Rule::ControlTooLong => "a control frame has more than 125 bytes",
            Rule::NothingToContinue => "a continuation frame without a message to continue",
            Rule::MessageUnfinished => "a new message before the end of the one before",
            Rule::Unmasked => "a frame of a client is not masked",
            Rule::Masked => "a frame of a server is masked",
            Rule::LengthNotMinimal => "a length is not in its shortest form",
            Rule::LengthOverflow => "a length is 2^63 or more",
            Rule::Utf8 => "text is not UTF-8",
            Rule::CloseLength => "a close frame has a payload of one byte",
            Rule::CloseCode(code) => return write!(f, "close code {code} must not be sent"),
            Rule::TooBig(limit) => return write!(f, "message exceeds message_bytes_max, {limit} bytes"),
            Rule::Deflate => "compressed data are broken",
        })
    }
}

impl Violation {
    pub(super) const fn new(rule: Rule) -> Violation {
        Violation { rule }
    }

    /// The rule that was broken.
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// What to put into the close frame.
    pub fn close(&self) -> CloseReason {
        let reason: String = match self.rule {
            Rule::TooBig(_) => self.rule.to_string(),
            rule => format!("{rule} ({})", rule.section()),
        };
        CloseReason::new(self.rule.code(), reason)
    }
}

impl From<Rule> for Violation {
    fn from(rule: Rule) -> Violation {
        Violation::new(rule)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.rule, self.rule.section())
    }
}

impl core::error::Error for Violation {}
