//! Where requests begin and end: the same however the bytes are cut, and what passes is a head to the library as well.

#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::http1::{Ambiguity, Gate};
use throughline_wire::ws::handshake::{BadHead, parse_request_head};

fn pass<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Ambiguity>, bool) {
    let mut gate = Gate::default();
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let n = gate.pass(&held);
        passed.extend(held.drain(..n));
    }
    (passed, gate.refused(), gate.is_upgrade())
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let lengths = throughline_fuzz::lengths(&mut input);
    let whole = pass([input]);
    assert_eq!(pass(throughline_fuzz::pieces(input, &lengths)), whole);
    assert_eq!(pass(throughline_fuzz::pieces(input, &[1])), whole);
    let (passed, ..) = whole;
    match parse_request_head(&passed) {
        Ok(Some(_)) | Err(BadHead::TooLong | BadHead::TooManyHeaders) => {}
        Ok(None) => assert!(passed.iter().all(|b| matches!(b, b'\r' | b'\n'))),
        Err(BadHead::Malformed(e)) => panic!("{e}"),
    }
});
