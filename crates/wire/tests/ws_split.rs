//! Random frames in random pieces: what comes out is what went in, and what another implementation makes of it.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use std::io::{self, Read, Write};

use common::{Owned, cut, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use throughline_wire::ws::deflate::Compressor;
use throughline_wire::ws::{Opcode, Role, write_close, write_frame, write_masked_frame};
use tokio_tungstenite::tungstenite::protocol::Role as TheirRole;
use tokio_tungstenite::tungstenite::{self, WebSocket};

const LIMIT: usize = 1 << 20;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z\u{e9}\u{20ac}\u{1f600}]{0,40}", "[ -~]{100,400}"]
}

fn control() -> impl Strategy<Value = Owned> {
    let payload = || vec(any::<u8>(), 0..126);
    prop_oneof![payload().prop_map(Owned::Ping), payload().prop_map(Owned::Pong)]
}

fn data() -> impl Strategy<Value = Owned> {
    prop_oneof![
        4 => text().prop_map(Owned::Text),
        4 => vec(any::<u8>(), 0..300).prop_map(Owned::Binary),
        1 => (65_530_usize..65_540).prop_map(|length| Owned::Binary(vec![5; length])),
    ]
}

/// A message, the lengths of its first frames, and what comes after each.
type Planned = (Owned, Vec<(usize, Option<Owned>)>);

/// A message with the places where it is cut into frames, and what comes between them.
fn message() -> impl Strategy<Value = Planned> {
    (data(), vec((0_usize..60, proptest::option::of(control())), 0..4))
}

fn content(message: &Owned) -> (Opcode, &[u8]) {
    match message {
        Owned::Text(text) => (Opcode::Text, text.as_bytes()),
        Owned::Binary(bytes) => (Opcode::Binary, bytes),
        Owned::Ping(bytes) => (Opcode::Ping, bytes),
        Owned::Pong(bytes) => (Opcode::Pong, bytes),
        Owned::Close(_) => (Opcode::Close, &[]),
    }
}

/// Appends a frame, masked if there is a key; without `fin` its first bit is taken away again.
fn frame(out: &mut Vec<u8>, key: Option<[u8; 4]>, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) {
    let at = out.len();
    match key {
        Some(key) => write_masked_frame(out, opcode, rsv1, payload, key),
        None => write_frame(out, opcode, rsv1, payload),
    }
    if !fin {
        out[at] &= 0x7F;
    }
}

/// Writes messages as frames; gives what a receiver has to see, in order.
fn write(messages: &[Planned], key: Option<[u8; 4]>, mut compressor: Option<Compressor>) -> (Vec<u8>, Vec<Owned>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for (message, cuts) in messages {
        let (mut opcode, payload) = content(message);
        let mut packed = Vec::new();
        let mut rest = match &mut compressor {
            Some(compressor) => {
                compressor.compress(payload, &mut packed);
                &packed[..]
            }
            None => payload,
        };
        let mut rsv1 = compressor.is_some();
        for (length, between) in cuts {
            let (part, tail) = rest.split_at((*length).min(rest.len()));
            frame(&mut out, key, opcode, false, rsv1, part);
            (opcode, rsv1, rest) = (Opcode::Continuation, false, tail);
            if let Some(control) = between {
                let (opcode, payload) = content(control);
                frame(&mut out, key, opcode, true, false, payload);
                expected.push(control.clone());
            }
        }
        frame(&mut out, key, opcode, true, rsv1, rest);
        expected.push(message.clone());
    }
    (out, expected)
}

/// A connection that only brings bytes.
struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of the bytes, up to the first fault or the end.
fn theirs(role: TheirRole, bytes: &[u8]) -> Vec<Owned> {
    let mut socket = WebSocket::from_raw_socket(Bytes(bytes), role, None);
    let mut messages = Vec::new();
    while let Ok(message) = socket.read() {
        messages.push(match message {
            tungstenite::Message::Text(text) => Owned::Text(text.to_string()),
            tungstenite::Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
            tungstenite::Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
            tungstenite::Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
            tungstenite::Message::Close(close) => {
                Owned::Close(close.map(|close| (close.code.into(), close.reason.to_string())))
            }
            tungstenite::Message::Frame(_) => unreachable!("never read"),
        });
    }
    messages
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(0_usize..200, 1..8)
}

proptest! {
    #[test]
    fn round_trip_in_any_pieces(messages in vec(message(), 0..6), key: Option<[u8; 4]>, lengths in lengths()) {
        let (mut bytes, mut expected) = write(&messages, key, None);
        if key.is_none() {
            write_close(&mut bytes, 4000, "drain");
            expected.push(Owned::Close(Some((4000, "drain".into()))));
        }
        let (role, their_role) = match key {
            Some(_) => (Role::Server, TheirRole::Server),
            None => (Role::Client, TheirRole::Client),
        };
        prop_assert_eq!(&decode(role, None, LIMIT, [&bytes[..]]), &(expected.clone(), None));
        prop_assert_eq!(&decode(role, None, LIMIT, cut(&bytes, &lengths)), &(expected.clone(), None));
        prop_assert_eq!(theirs(their_role, &bytes), expected);
    }

    #[test]
    fn compressed_round_trip_in_any_pieces(
        messages in vec(message(), 0..6), key: [u8; 4], lengths in lengths(), window_bits in 9_u8..=15, takeover: bool,
    ) {
        let (bytes, expected) = write(&messages, Some(key), Some(Compressor::new(window_bits)));
        let outcome = decode(Role::Server, Some(takeover), LIMIT, cut(&bytes, &lengths));
        prop_assert_eq!(outcome, (expected, None));
    }

    #[test]
    fn damaged_bytes_have_one_outcome(
        messages in vec(message(), 1..4), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        lengths in lengths(), compressed: bool, takeover: Option<bool>, limit in 0_usize..500,
    ) {
        let (mut bytes, _) = write(&messages, Some([9; 4]), compressed.then(|| Compressor::new(15)));
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for role in [Role::Server, Role::Client] {
            let whole = decode(role, takeover, limit, [&bytes[..]]);
            prop_assert_eq!(&decode(role, takeover, limit, cut(&bytes, &lengths)), &whole);
            prop_assert_eq!(&decode(role, takeover, limit, cut(&bytes, &[1])), &whole);
        }
    }

    #[test]
    fn noise_has_one_outcome(bytes in vec(any::<u8>(), 0..200), lengths in lengths(), takeover: Option<bool>) {
        for role in [Role::Server, Role::Client] {
            let whole = decode(role, takeover, 100, [&bytes[..]]);
            prop_assert_eq!(decode(role, takeover, 100, cut(&bytes, &lengths)), whole);
        }
    }
}
