//! Heads of requests and answers, in two pieces, and what the handshake makes of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::ws::Versions;
use throughline_wire::ws::deflate::Settings;
use throughline_wire::ws::handshake::{ClientHandshake, accept, parse_request_head, wants_websocket};

const CLIENT: ClientHandshake<'_> =
    ClientHandshake { host: "a", path: "/", key: [0; 16], subprotocol: true, origin: None, deflate: true };

/// What a prefix already gives, the whole must give too.
fn is_stable<T: PartialEq, E: PartialEq>(part: Result<Option<T>, E>, whole: &Result<Option<T>, E>) -> bool {
    matches!(part, Ok(None)) || part == *whole
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = input;
    let at = usize::from(throughline_fuzz::byte(&mut bytes)) * 256 + usize::from(throughline_fuzz::byte(&mut bytes));
    let part = bytes.get(..at).unwrap_or(bytes);
    let head = parse_request_head(bytes);
    assert!(is_stable(parse_request_head(part), &head));
    if let Ok(Some(head)) = head {
        let headers = || head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let settings = Settings { client_context_takeover: at % 2 == 0 };
        if let Ok(accepted) = accept(&head.method, headers(), Versions::ALL, Some(&settings)) {
            assert!(wants_websocket(headers()));
            let bits = accepted.deflate.map_or(15, |agreed| agreed.server_max_window_bits);
            assert!((9..=15).contains(&bits));
            let answer = accepted.response_head();
            assert_eq!(answer.windows(4).position(|end| end == b"\r\n\r\n"), Some(answer.len() - 4));
        }
    }
    if let Ok(Some(answer)) = CLIENT.check(bytes) {
        assert_eq!(CLIENT.check(&bytes[..answer.len]), Ok(Some(answer)));
    }
});
