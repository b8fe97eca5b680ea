//! The examples of RFC 6455 section 5.7 and RFC 7692 section 7.2.3, byte for byte.

use throughline_wire::ws::deflate::{Compressor, Inflater};
use throughline_wire::ws::{
    Decoder, Message, Opcode, Role, write_close, write_frame, write_header, write_masked_close, write_masked_frame,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What a decoder makes of `bytes`, in words.
fn decode(role: Role, inflater: Option<&mut Inflater>, bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(role, inflater.is_some());
    let mut bytes = bytes.to_vec();
    let mut input = bytes.as_mut_slice();
    let mut inflater = inflater;
    let mut messages = Vec::new();
    while let Some(message) = decoder.decode(&mut input, inflater.as_deref_mut(), 1 << 20).expect("good frames") {
        messages.push(format!("{message:?}"));
    }
    messages
}

#[test]
fn frames_of_rfc_6455() {
    let hello = [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F];
    let masked = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    let mut out = Vec::new();
    write_frame(&mut out, Opcode::Text, false, b"Hello");
    assert_eq!(out, hello);
    out.clear();
    write_masked_frame(&mut out, Opcode::Text, false, b"Hello", KEY);
    assert_eq!(out, masked);
    assert_eq!(decode(Role::Client, None, &hello), ["Text(\"Hello\")"]);
    assert_eq!(decode(Role::Server, None, &masked), ["Text(\"Hello\")"]);
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F];
    assert_eq!(decode(Role::Client, None, &fragmented), ["Text(\"Hello\")"]);
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F];
    assert_eq!(decode(Role::Client, None, &ping), ["Ping([72, 101, 108, 108, 111])"]);
    let pong = [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    assert_eq!(decode(Role::Server, None, &pong), ["Pong([72, 101, 108, 108, 111])"]);
}

#[test]
fn lengths_are_written_in_their_shortest_form() {
    let cases: [(usize, &[u8]); 5] = [
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (256, &[0x82, 0x7E, 0x01, 0x00]),
        (65_535, &[0x82, 126, 0xFF, 0xFF]),
        (65_536, &[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    for (length, header) in cases {
        let mut out = Vec::new();
        write_header(&mut out, Opcode::Binary, false, length);
        assert_eq!(out, header, "{length}");
        out.resize(header.len() + length, 7);
        let mut decoder = Decoder::new(Role::Client, false);
        let payload = vec![7; length];
        let message = decoder.decode(&mut out.as_mut_slice(), None, length).expect("fits the limit");
        assert_eq!(message, Some(Message::Binary(&payload)));
    }
}

#[test]
fn close_frames_carry_code_and_reason() {
    let mut out = Vec::new();
    write_close(&mut out, 1000, "bye");
    assert_eq!(out, [0x88, 5, 0x03, 0xE8, b'b', b'y', b'e']);
    assert_eq!(decode(Role::Client, None, &out), ["Close(Some((1000, \"bye\")))"]);
    out.clear();
    write_masked_close(&mut out, 4200, &"ü".repeat(100), KEY);
    assert_eq!(decode(Role::Server, None, &out), [format!("Close(Some((4200, {:?})))", "ü".repeat(61))]);
    assert_eq!(decode(Role::Client, None, &[0x88, 0]), ["Close(None)"]);
}

#[test]
fn messages_of_rfc_7692() {
    let mut alone = Inflater::new(15, false);
    let one_block = [0xC1, 0x07, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    assert_eq!(decode(Role::Client, Some(&mut alone), &one_block), ["Text(\"Hello\")"]);
    let fragmented = [0x41, 0x03, 0xF2, 0x48, 0xCD, 0x80, 0x04, 0xC9, 0xC9, 0x07, 0x00];
    assert_eq!(decode(Role::Client, Some(&mut alone), &fragmented), ["Text(\"Hello\")"]);
    let stored = [0xC1, 0x0B, 0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
    assert_eq!(decode(Role::Client, Some(&mut alone), &stored), ["Text(\"Hello\")"]);
    let last_block = [0xC1, 0x08, 0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
    assert_eq!(decode(Role::Client, Some(&mut alone), &last_block), ["Text(\"Hello\")"]);
    let two_blocks = [0xC1, 0x0D, 0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
    assert_eq!(decode(Role::Client, Some(&mut alone), &two_blocks), ["Text(\"Hello\")"]);
    let refers_back = [&one_block[..], &[0xC1, 0x05, 0xF2, 0x00, 0x11, 0x00, 0x00]].concat();
    let mut window = Inflater::new(15, true);
    assert_eq!(decode(Role::Client, Some(&mut window), &refers_back), ["Text(\"Hello\")", "Text(\"Hello\")"]);
}

#[test]
fn compression_leaves_off_the_tail() {
    let mut compressor = Compressor::new(15);
    for _ in 0..2 {
        let mut out = vec![9];
        compressor.compress(b"Hello", &mut out);
        assert_eq!(out, [9, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]);
    }
    let mut out = Vec::new();
    compressor.compress(b"", &mut out);
    assert_eq!(out, [0x00]);
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 32);
}
