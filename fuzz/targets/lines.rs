//! An uplink's lines: the same whatever the pieces, and never more held than the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::http::{LineTooLong, Lines};

/// The lines, and how the stream ended.
fn gather(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, Result<(), LineTooLong>) {
    let (mut lines, mut given) = (Lines::new(), Vec::new());
    for piece in pieces {
        let outcome = lines.push(piece, limit, |line| given.push(line.to_vec()));
        if outcome.is_err() {
            return (given, outcome);
        }
    }
    (given, Ok(()))
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let limit = usize::from(throughline_fuzz::byte(&mut input));
    let lengths = throughline_fuzz::lengths(&mut input);
    let whole = gather(&[input], limit);
    assert!(whole.0.iter().all(|line| line.len() <= limit));
    assert_eq!(gather(&throughline_fuzz::pieces(input, &lengths), limit), whole);
    assert_eq!(gather(&throughline_fuzz::pieces(input, &[1]), limit), whole);
});
