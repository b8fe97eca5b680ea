//! The drafts before version numbers: handshakes, and frames in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::hixie::{self, Decoder, KEY3_BYTES};
use throughline_wire::ws::handshake::parse_request_head;

/// What a decoder makes of the pieces, up to the first fault.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut said = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece, limit) {
                Ok(Some(message)) => said.push(format!("{message:?}")),
                Ok(None) => break,
                Err(violation) => {
                    said.push(format!("{violation:?}"));
                    return said;
                }
            }
        }
    }
    said
}

fn frames(mut input: &[u8]) {
    let limit = usize::from(throughline_fuzz::byte(&mut input));
    let lengths = throughline_fuzz::lengths(&mut input);
    let whole = decode([input], limit);
    assert_eq!(decode(throughline_fuzz::pieces(input, &lengths), limit), whole);
    assert_eq!(decode(throughline_fuzz::pieces(input, &[1]), limit), whole);
}

fn handshake(bytes: &[u8]) {
    let Ok(Some(head)) = parse_request_head(bytes) else { return };
    let untrimmed = |name: &str| hixie::untrimmed(&bytes[..head.len], name);
    let headers = || head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    for (name, value) in headers() {
        if let Some(raw) = untrimmed(name) {
            let first = headers().find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or(value, |(_, value)| value);
            assert_eq!(raw.trim_ascii(), first.trim_ascii());
        }
    }
    let Some(draft) = hixie::detect(headers()) else { return };
    if let Ok(accepted) = hixie::accept(draft, &head.method, &head.target, headers(), true) {
        assert_eq!(accepted.head.windows(4).position(|end| end == b"\r\n\r\n"), Some(accepted.head.len() - 4));
        assert_eq!(accepted.digest([1; KEY3_BYTES]), accepted.digest([1; KEY3_BYTES]));
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    match throughline_fuzz::byte(&mut input) % 2 {
        0 => frames(input),
        _ => handshake(input),
    }
});
