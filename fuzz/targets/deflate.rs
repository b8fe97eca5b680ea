//! Inflating anything stays below the limit; compressing and inflating gives back what was there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::ws::deflate::{Compressor, Inflater};
use throughline_wire::ws::{Decoder, Message, Opcode, Role, Rule, write_frame};

fn inflate(inflater: &mut Inflater, payload: &[u8], limit: usize) -> Result<Vec<u8>, Rule> {
    let mut frame = Vec::new();
    write_frame(&mut frame, Opcode::Binary, true, payload);
    let mut decoder = Decoder::new(Role::Client, true);
    match decoder.decode(&mut frame.as_mut_slice(), Some(inflater), limit) {
        Ok(Some(Message::Binary(bytes))) => Ok(bytes.to_vec()),
        Ok(other) => panic!("a whole frame gave {other:?}"),
        Err(violation) => Err(violation.rule()),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = input;
    let window_bits = 9 + throughline_fuzz::byte(&mut bytes) % 7;
    let limit = usize::from(throughline_fuzz::byte(&mut bytes)) * 256;
    let mut shared = Inflater::new(15, false);
    match inflate(&mut shared, bytes, limit) {
        Ok(message) => assert!(message.len() <= limit),
        Err(rule) => assert!(matches!(rule, Rule::Deflate | Rule::TooBig(_))),
    }
    let mut compressed = Vec::new();
    Compressor::new(window_bits).compress(bytes, &mut compressed);
    // What was refused before leaves no trace in the inflater that all connections share.
    assert_eq!(inflate(&mut shared, &compressed, bytes.len().max(1 << 12)).as_deref(), Ok(bytes));
    let mut own = Inflater::new(window_bits, true);
    for _ in 0..2 {
        assert_eq!(inflate(&mut own, &compressed, bytes.len().max(1 << 12)).as_deref(), Ok(bytes));
    }
});
