//! PROXY headers: what a prefix already gives, the whole gives too, and nothing is read past a header's end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::proxy_protocol::{begins, parse};

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    for at in 0..input.len() {
        let part = parse(&input[..at]);
        assert!(matches!(part, Ok(None)) || part == whole, "cut at {at}");
    }
    if let Ok(Some(header)) = whole {
        assert_eq!(begins(input), Some(true));
        assert_eq!(parse(&input[..header.len]), Ok(Some(header)));
    }
});
