//! Handshakes that are taken and refused: RFC 6455 section 4, RFC 7692 section 7.1, PROTOCOL.md section 2.

use throughline_wire::ws::deflate::{Agreed, Settings};
use throughline_wire::ws::handshake::{
    BadHead, ClientHandshake, HandshakeError, Refusal, accept, accept_connect, parse_request_head, wants_websocket,
};
use throughline_wire::ws::{Version, Versions};

const ALL: Versions = Versions::ALL;

/// Headers to replace, with their values.
type Changes<'a> = &'a [(&'static str, &'a [&'static str])];
type Headers = Vec<(&'static str, &'static str)>;

fn iter(headers: &Headers) -> impl Iterator<Item = (&str, &[u8])> + Clone {
    headers.iter().map(|(name, value)| (*name, value.as_bytes()))
}

/// The handshake of RFC 6455 section 1.3, with the headers named in `changed` replaced.
fn request(changed: Changes<'_>) -> Headers {
    let base = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let kept = base.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    let added = changed.iter().flat_map(|(name, values)| values.iter().map(|value| (*name, *value)));
    kept.chain(added).collect()
}

#[test]
fn the_example_of_the_rfc() {
    let headers = request(&[("Sec-WebSocket-Protocol", &["chat", "a,throughline.v1"])]);
    let accepted = accept("GET", iter(&headers), ALL, None).expect("a good handshake");
    assert!(accepted.subprotocol);
    let head = String::from_utf8(accepted.response_head()).expect("text");
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(head.contains("\r\nSec-WebSocket-Protocol: throughline.v1\r\n"));
    assert!(head.ends_with("\r\n\r\n"));
}

#[test]
fn token_lists_and_letter_case() {
    let good: [Changes<'_>; 5] = [
        &[("Upgrade", &["WebSocket"])],
        &[("Upgrade", &["h2c, websocket"])],
        &[("Connection", &["close, upgrade"])],
        &[("Connection", &["keep-alive", "Upgrade"])],
        &[("Sec-WebSocket-Version", &[" 13 "])],
    ];
    for changed in good {
        assert!(accept("GET", iter(&request(changed)), ALL, None).is_ok(), "{changed:?}");
    }
}

#[test]
fn refusals() {
    let cases: [(Changes<'_>, Refusal, u16); 11] = [
        (&[("Upgrade", &[])], Refusal::UpgradeRemoved, 426),
        (&[("Upgrade", &["websockets"])], Refusal::UpgradeRemoved, 426),
        (&[("Connection", &["keep-alive"])], Refusal::UpgradeRemoved, 426),
        (&[("Sec-WebSocket-Version", &["9"])], Refusal::Version, 426),
        (&[("Sec-WebSocket-Version", &[])], Refusal::Version, 426),
        (&[("Sec-WebSocket-Version", &["13", "13"])], Refusal::Version, 426),
        (&[("Sec-WebSocket-Key", &[])], Refusal::Key, 400),
        (&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ"])], Refusal::Key, 400),
        (&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZSE="])], Refusal::Key, 400),
        (&[("Sec-WebSocket-Key", &["!!!!IHNhbXBsZSBub25jZQ=="])], Refusal::Key, 400),
        (&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="])], Refusal::Key, 400),
    ];
    for (changed, refusal, status) in cases {
        assert_eq!(accept("GET", iter(&request(changed)), ALL, None), Err(refusal), "{changed:?}");
        assert_eq!(refusal.status(), status);
    }
    assert_eq!(accept("POST", iter(&request(&[])), ALL, None), Err(Refusal::Method));
    let plain = vec![("Host", "a")];
    assert_eq!(accept("GET", iter(&plain), ALL, None), Err(Refusal::NotAnUpgrade));
    assert!(!wants_websocket(iter(&plain)));
    assert!(wants_websocket(iter(&request(&[("Upgrade", &[])]))));
}

#[test]
fn versions() {
    let asked = |value: &'static str, versions| {
        accept("GET", iter(&request(&[("Sec-WebSocket-Version", &[value])])), versions, None).map(|a| a.version)
    };
    for (value, version) in [("13", Version::V13), ("8", Version::V8), ("7", Version::V7)] {
        assert_eq!(asked(value, ALL), Ok(version));
        let others = Version::ALL.into_iter().filter(|v| *v != version).collect();
        assert_eq!(asked(value, others), Err(Refusal::Version), "{value}");
    }
    for (version, key, good) in
        [("13", "OC0xNzAwMDAwMDAwMDAw", false), ("8", "OC0xNzAwMDAwMDAwMDAw", true), ("8", "!", false)]
    {
        let headers = request(&[("Sec-WebSocket-Version", &[version]), ("Sec-WebSocket-Key", &[key])]);
        assert_eq!(accept("GET", iter(&headers), ALL, None).is_ok(), good, "{version} {key}");
    }
    for value in ["hixie-76", "hixie-75", "6", "14", "013", "", "13, 8"] {
        assert_eq!(asked(value, ALL), Err(Refusal::Version), "{value}");
    }
    let told = |refusal: Refusal, versions| refusal.headers(versions).into_iter().map(|(_, v)| v).collect::<Vec<_>>();
    assert_eq!(told(Refusal::Version, ALL), ["13, 8, 7"]);
    assert_eq!(told(Refusal::UpgradeRemoved, [Version::V13].into_iter().collect()), ["websocket", "Upgrade", "13"]);
    assert_eq!(told(Refusal::Version, [Version::Hixie76].into_iter().collect()), [""; 0]);
    assert_eq!(Version::ALL.into_iter().collect::<Versions>(), ALL);
}

/// RFC 8441 section 5.1: neither key nor upgrade.
#[test]
fn handshakes_within_http_2() {
    let offer = ("sec-websocket-extensions", "permessage-deflate");
    let headers = vec![("sec-websocket-version", "13"), ("sec-websocket-protocol", "throughline.v1"), offer];
    let accepted = accept_connect(iter(&headers), ALL, Some(&Settings::default())).expect("a good handshake");
    assert_eq!((accepted.version, accepted.deflate.is_some()), (Version::V13, true));
    let names: Vec<_> = accepted.negotiated().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Throughline"]);
    for versions in [&[][..], &["8"], &["12"], &["13", "13"]] {
        let headers: Headers = versions.iter().map(|version| ("sec-websocket-version", *version)).collect();
        assert_eq!(accept_connect(iter(&headers), ALL, None), Err(Refusal::Version), "{versions:?}");
    }
}

#[test]
fn compression_offers() {
    let takeover = Settings { client_context_takeover: true };
    let frugal = Settings::default();
    let agreed = |server_max_window_bits, client_context_takeover| {
        Some(Agreed { server_max_window_bits, client_max_window_bits: 15, client_context_takeover })
    };
    let cases: [(&'static str, &Settings, Option<Agreed>); 12] = [
        ("permessage-deflate", &frugal, agreed(15, false)),
        ("permessage-deflate; client_max_window_bits", &takeover, agreed(15, true)),
        ("permessage-deflate; client_no_context_takeover", &takeover, agreed(15, false)),
        ("permessage-deflate; server_max_window_bits=10", &frugal, agreed(10, false)),
        ("permessage-deflate; server_max_window_bits=\"10\"", &frugal, agreed(10, false)),
        ("permessage-deflate; server_max_window_bits=8", &frugal, None),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", &frugal, agreed(15, false)),
        ("permessage-deflate; server_max_window_bits=16", &frugal, None),
        ("permessage-deflate; server_max_window_bits", &frugal, None),
        ("permessage-deflate; server_max_window_bits=09", &frugal, None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", &frugal, None),
        ("x-webkit-deflate-frame, permessage-deflate; colour=\"a,b;c\"", &frugal, None),
    ];
    for (offer, settings, expected) in cases {
        let headers = request(&[("Sec-WebSocket-Extensions", &[offer])]);
        match accept("GET", iter(&headers), ALL, Some(settings)) {
            Ok(accepted) => assert_eq!(accepted.deflate, expected, "{offer}"),
            Err(refusal) => assert_eq!((refusal, expected), (Refusal::Extensions, None), "{offer}"),
        }
    }
}

#[test]
fn heads_are_parsed_when_whole_and_bounded() {
    let head = b"GET /a?b HTTP/1.1\r\nHost: x\r\nA: \xFF\r\n\r\nrest";
    for cut in 0..head.len() - 4 {
        assert_eq!(parse_request_head(&head[..cut]), Ok(None), "{cut}");
    }
    let parsed = parse_request_head(head).expect("HTTP").expect("whole");
    assert_eq!((parsed.method.as_str(), parsed.target.as_str(), parsed.version), ("GET", "/a?b", 1));
    assert_eq!(parsed.len, head.len() - 4);
    assert_eq!(parsed.headers[1], ("A".to_owned(), vec![0xFF]));
    let long = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 20_000]].concat();
    assert_eq!(parse_request_head(&long), Err(BadHead::TooLong));
    let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(101), b"\r\n"].concat();
    assert_eq!(parse_request_head(&many), Err(BadHead::TooManyHeaders));
    assert!(matches!(parse_request_head(b"\x16\x03\x01"), Err(BadHead::Malformed(_))));
}

#[test]
fn client_and_server_agree() {
    let client = ClientHandshake {
        host: "a:9000",
        path: "/throughline/v1/websocket",
        key: [7; 16],
        subprotocol: true,
        origin: Some("http://a"),
        deflate: true,
    };
    let head = parse_request_head(&client.request()).expect("HTTP").expect("whole");
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let accepted = accept(&head.method, headers, ALL, Some(&Settings::default())).expect("a good handshake");
    let mut answer = accepted.response_head();
    let length = answer.len();
    answer.extend_from_slice(b"\x81\x00");
    assert_eq!(client.check(&answer[..length - 1]), Ok(None));
    let checked = client.check(&answer).expect("a good answer").expect("whole");
    assert_eq!((checked.len, checked.subprotocol, checked.deflate), (length, true, accepted.deflate));
    let other = ClientHandshake { key: [8; 16], ..client };
    assert_eq!(other.check(&answer), Err(HandshakeError::Header("Sec-WebSocket-Accept")));
    let asked_less = ClientHandshake { deflate: false, ..client };
    assert_eq!(asked_less.check(&answer), Err(HandshakeError::Header("Sec-WebSocket-Extensions")));
}

#[test]
fn a_refusal_tells_who_answered() {
    let client =
        ClientHandshake { host: "a", path: "/", key: [7; 16], subprotocol: true, origin: None, deflate: false };
    let answer = b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nVia: 1.1 squid\r\n\r\nno route";
    let error = client.check(answer).expect_err("no upgrade");
    assert_eq!(
        error.to_string(),
        "the WebSocket handshake was refused: 502 Bad Gateway; Server: nginx; Via: 1.1 squid; no route"
    );
    let HandshakeError::Unexpected(answer) = error else { panic!("{error:?}") };
    assert!(!answer.from_throughline());
}
