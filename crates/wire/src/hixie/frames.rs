//! Frames of the drafts (section 4 of both): `00`, text in UTF-8, `FF`; and `FF 00` to close.

use alloc::vec::Vec;
use core::{mem, str};

use crate::ws::{Message, Rule, Violation};

/// Closes a connection, and answers the peer's close.
pub const CLOSE: [u8; 2] = [0xFF, 0x00];

const BEGIN: u8 = 0x00;
const END: u8 = 0xFF;
/// Set in the type of a frame that begins with its length.
const WITH_LENGTH: u8 = 0x80;

/// Appends a text message. UTF-8 never holds the byte that ends it.
pub fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(BEGIN);
    out.extend_from_slice(text);
    out.push(END);
}

/// Takes bytes as they come and gives out messages: [`Message::Text`], and [`Message::Close`] without code. Frames of
/// other types are passed over, as the drafts ask.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The text so far.
    text: Vec<u8>,
    given: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Ready,
    /// Within a frame that ends with `FF`; `kept` when it is text.
    Delimited { kept: bool, seen: usize },
    /// Within the length of a frame; `closing` when its type was `FF`.
    Length { closing: bool, length: u64 },
    /// Within the data of a frame with a length.
    Skipping { left: u64 },
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    pub const fn new() -> Decoder {
        Decoder { state: State::Ready, text: Vec::new(), given: false }
    }

    /// Memory that the beginning of a message takes, bytes.
    pub const fn partial_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Takes the next message from the front of `input`; `Ok(None)` means that all of it was taken. Messages over
    /// `message_bytes_max` bytes are refused. How the bytes are split between calls changes neither messages nor errors.
    pub fn decode<'m, 'input: 'm>(
        &'m mut self,
        input: &mut &'input [u8],
        message_bytes_max: usize,
    ) -> Result<Option<Message<'m>>, Violation> {
        if mem::take(&mut self.given) {
            self.text = Vec::new();
        }
        loop {
            if matches!(self.state, State::Ready)
                && let Some(text) = whole(input, message_bytes_max)
            {
                return Ok(Some(Message::Text(str::from_utf8(text).map_err(|_| Rule::Utf8)?)));
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            match self.state {
                State::Ready => {
                    *input = rest;
                    self.state = begin(*byte);
                }
                State::Delimited { kept, seen } => {
                    if self.delimited(input, kept, seen, message_bytes_max)? && kept {
                        self.given = true;
                        return Ok(Some(Message::Text(str::from_utf8(&self.text).map_err(|_| Rule::Utf8)?)));
                    }
                }
                State::Length { closing, length } => {
                    *input = rest;
                    let length = length.checked_mul(128).ok_or(Rule::LengthOverflow)? + u64::from(byte & 0x7F);
                    if byte & WITH_LENGTH != 0 {
                        self.state = State::Length { closing, length };
                    } else if closing && length == 0 {
                        self.state = State::Ready;
                        return Ok(Some(Message::Close(None)));
                    } else if length > message_bytes_max as u64 {
                        return Err(Rule::TooBig(message_bytes_max).into());
                    } else {
                        self.state = State::Skipping { left: length };
                    }
                }
                State::Skipping { left } => {
                    let count = left.min(input.len() as u64);
                    *input = input.get(count as usize..).unwrap_or_default();
                    self.state = if left == count { State::Ready } else { State::Skipping { left: left - count } };
                }
            }
        }
    }

    /// Takes data up to the end of the frame; true when the end was there.
    fn delimited(&mut self, input: &mut &[u8], kept: bool, seen: usize, max: usize) -> Result<bool, Violation> {
        let end = input.iter().position(|b| *b == END);
        let data = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        let seen = seen.saturating_add(data.len());
        if seen > max {
            return Err(Rule::TooBig(max).into());
        }
        if kept {
            self.text.extend_from_slice(data);
        }
        *input = input.get(end.map_or(input.len(), |at| at + 1)..).unwrap_or_default();
        self.state = if end.is_some() { State::Ready } else { State::Delimited { kept, seen } };
        Ok(end.is_some())
    }
}

fn begin(kind: u8) -> State {
    match kind {
        END => State::Length { closing: true, length: 0 },
        kind if kind & WITH_LENGTH != 0 => State::Length { closing: false, length: 0 },
        kind => State::Delimited { kept: kind == BEGIN, seen: 0 },
    }
}

/// A text frame that lies whole at the front of the input.
fn whole<'a>(input: &mut &'a [u8], max: usize) -> Option<&'a [u8]> {
    let (_, data) = input.split_first().filter(|(kind, _)| **kind == BEGIN)?;
    let end = data.iter().position(|b| *b == END).filter(|end| *end <= max)?;
    let (text, rest) = data.split_at_checked(end)?;
    *input = rest.get(1..)?;
    Some(text)
}
