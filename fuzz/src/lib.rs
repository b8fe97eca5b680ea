//! What several fuzz targets share. Every target takes the pieces in which bytes arrive from its input as well,
//! since no result may depend on them.

#[path = "../../crates/wire/tests/common/mod.rs"]
mod common;

use std::fmt::Debug;

use common::{cut, decode};
use throughline_wire::message::{Carriage, MessageKind};
use throughline_wire::ws::Role;

/// Takes one byte of the input; zero at its end.
pub fn byte(input: &mut &[u8]) -> u8 {
    let Some((first, rest)) = input.split_first() else { return 0 };
    *input = rest;
    *first
}

/// Takes a list of lengths of pieces.
pub fn lengths(input: &mut &[u8]) -> Vec<usize> {
    let count = byte(input) % 8 + 1;
    (0..count).map(|_| byte(input).into()).collect()
}

/// Cuts input into pieces of these lengths, which begin anew at their end.
pub fn pieces<'a>(input: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    cut(input, lengths)
}

/// Decodes frames at once, in pieces, and byte by byte.
pub fn frames(role: Role, mut input: &[u8]) {
    let takeover = [None, Some(false), Some(true)][usize::from(byte(&mut input) % 3)];
    let limit = usize::from(byte(&mut input)) * 64;
    let lengths = lengths(&mut input);
    let whole = decode(role, takeover, limit, [input]);
    assert_eq!(decode(role, takeover, limit, cut(input, &lengths)), whole);
    assert_eq!(decode(role, takeover, limit, cut(input, &[1])), whole);
}

/// Decodes a message, and encodes and decodes what was understood.
pub fn message<M, E>(
    mut input: &[u8],
    decode: impl Fn(Carriage<'_>) -> Result<M, E>,
    encode: impl Fn(&M, &mut Vec<u8>) -> MessageKind,
) where
    M: Debug + PartialEq,
    E: Debug,
{
    let carriage = if byte(&mut input) % 2 == 0 { Carriage::Text(input) } else { Carriage::Binary(input) };
    let Ok(message) = decode(carriage) else { return };
    let mut out = Vec::new();
    let again = match encode(&message, &mut out) {
        MessageKind::Text => decode(Carriage::Text(&out)),
        MessageKind::Binary => decode(Carriage::Binary(&out)),
    };
    assert_eq!(again.expect("an encoder writes what its decoder reads"), message);
}
