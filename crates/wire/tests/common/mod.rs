//! Runs a decoder over bytes that come in pieces.

use throughline_wire::ws::deflate::Inflater;
use throughline_wire::ws::{Decoder, Message, Role, Rule};

/// A message that owns its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Owned {
        match message {
            Message::Text(text) => Owned::Text(text.to_owned()),
            Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
            Message::Close(reason) => Owned::Close(reason.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

/// What a decoder gave out, and the rule that ended it.
pub(crate) type Outcome = (Vec<Owned>, Option<Rule>);

/// Decodes `pieces` as they come from a connection; `takeover` is given when compression was agreed.
pub(crate) fn decode<'a>(
    role: Role,
    takeover: Option<bool>,
    message_bytes_max: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut inflater = takeover.map(|takeover| Inflater::new(15, takeover));
    let mut decoder = Decoder::new(role, takeover.is_some());
    let mut messages = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        loop {
            match decoder.decode(&mut input, inflater.as_mut(), message_bytes_max) {
                Ok(Some(message)) => messages.push(message.into()),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation.rule())),
            }
        }
        assert!(input.is_empty(), "a decoder that wants more has taken everything");
    }
    (messages, None)
}

/// Cuts `bytes` into pieces whose lengths go round `lengths`.
pub(crate) fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() || lengths.iter().all(|length| *length == 0) {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}
