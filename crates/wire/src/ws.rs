//! WebSocket, RFC 6455, from bytes to messages and back; permessage-deflate of RFC 7692 in [`deflate`].
//!
//! [`Decoder`] takes bytes as they come and gives out whole messages; the `write_` functions append whole frames.
//! Nothing here does I/O. [`handshake`] turns HTTP heads into agreements on both sides.

mod decoder;
pub mod deflate;
pub mod handshake;
mod mask;
mod version;
mod violation;

pub use decoder::{Decoder, Message, Role};
pub use version::{UnknownVersion, Version, Versions};
pub use violation::{Rule, Violation};

use alloc::vec::Vec;

use crate::message::CloseReason;

/// Most payload bytes of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Most bytes in front of a payload: two, eight of length, four of mask (RFC 6455 section 5.2).
pub const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0x0,
    /// A message in UTF-8, or its beginning.
    Text = 0x1,
    /// A message of bytes, or its beginning.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// To be answered by a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    /// True for close, ping and pong, which may stand between the frames of a message.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

fn header(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload_len: usize, masked: u8) {
    let first = FIN | if rsv1 { RSV1 } else { 0 } | opcode as u8;
    if payload_len < 126 {
        out.extend_from_slice(&[first, masked | payload_len as u8]);
    } else if let Ok(short) = u16::try_from(payload_len) {
        let [high, low] = short.to_be_bytes();
        out.extend_from_slice(&[first, masked | 126, high, low]);
    } else {
        out.extend_from_slice(&[first, masked | 127]);
        out.extend_from_slice(&(payload_len as u64).to_be_bytes());
    }
}

/// Appends the header of an unmasked frame that is a whole message; the payload has to follow.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload_len: usize) {
    header(out, opcode, rsv1, payload_len, 0);
}

/// Appends an unmasked frame that is a whole message, as servers send them.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload: &[u8]) {
    header(out, opcode, rsv1, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a masked frame that is a whole message, as clients send them. The key has to be random (RFC 6455 section 10.3).
pub fn write_masked_frame(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload: &[u8], key: [u8; 4]) {
    header(out, opcode, rsv1, payload.len(), MASKED);
    out.extend_from_slice(&key);
    let at = out.len();
    out.extend_from_slice(payload);
    if let Some(payload) = out.get_mut(at..) {
        mask::apply(payload, key, 0);
    }
}

/// The payload of a close frame; the reason is cut to what fits.
fn close_payload(code: u16, reason: &str) -> ([u8; CONTROL_BYTES_MAX], usize) {
    let mut end = reason.len().min(CloseReason::BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = [0; CONTROL_BYTES_MAX];
    let bytes = code.to_be_bytes().into_iter().chain(reason.bytes().take(end));
    payload.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    (payload, 2 + end)
}

/// Appends an unmasked close frame. A reason over 123 bytes is cut at a character's boundary.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let (payload, length) = close_payload(code, reason);
    write_frame(out, Opcode::Close, false, payload.get(..length).unwrap_or_default());
}

/// Appends a masked close frame, as [`write_close`] does an unmasked one.
pub fn write_masked_close(out: &mut Vec<u8>, code: u16, reason: &str, key: [u8; 4]) {
    let (payload, length) = close_payload(code, reason);
    write_masked_frame(out, Opcode::Close, false, payload.get(..length).unwrap_or_default(), key);
}
