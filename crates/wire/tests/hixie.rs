//! The drafts before version numbers: their own examples, and the split of bytes.

use proptest::prelude::*;
use throughline_wire::hixie::{self, Draft, Refusal};
use throughline_wire::ws::{Message, Rule};

type Headers = [(&'static str, &'static [u8])];

/// The request of section 1.2 of draft 76.
const REQUEST_76: &Headers = &[
    ("Host", b"example.com"),
    ("Connection", b"Upgrade"),
    ("Sec-WebSocket-Key2", b"12998 5 Y3 1  .P00"),
    ("Sec-WebSocket-Protocol", b"sample"),
    ("Upgrade", b"WebSocket"),
    ("Sec-WebSocket-Key1", b"4 @1  46546xW%0l 1 5"),
    ("Origin", b"http://example.com"),
];
/// What every handshake has.
const UPGRADE: [(&str, &[u8]); 2] = [("Upgrade", b"WebSocket"), ("Connection", b"Upgrade")];
const REQUEST_75: &Headers = &[
    ("Upgrade", b"WebSocket"),
    ("Connection", b"Upgrade"),
    ("Host", b"example.com"),
    ("Origin", b"http://example.com"),
    ("WebSocket-Protocol", b"throughline.v1"),
];

fn accept(draft: Draft, headers: &Headers, secure: bool) -> Result<hixie::Accepted, Refusal> {
    hixie::accept(draft, "GET", "/demo?x=1", headers.iter().copied(), secure)
}

#[test]
fn the_handshake_of_draft_76() {
    assert_eq!(hixie::detect(REQUEST_76.iter().copied()), Some(Draft::Hixie76));
    let accepted = accept(Draft::Hixie76, REQUEST_76, false).expect("the draft's own request");
    let head = "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Origin: http://example.com\r\nSec-WebSocket-Location: ws://example.com/demo?x=1\r\n\
        Sec-WebSocket-Protocol: sample\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&accepted.head), head);
    assert_eq!(&accepted.digest(*b"^n:ds[4U"), b"8jKS'y:G*Co,Wxa-");
}

#[test]
fn the_handshake_of_draft_75() {
    assert_eq!(hixie::detect(REQUEST_75.iter().copied()), Some(Draft::Hixie75));
    let accepted = accept(Draft::Hixie75, REQUEST_75, true).expect("a good request");
    let head = "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
        WebSocket-Origin: http://example.com\r\nWebSocket-Location: wss://example.com/demo?x=1\r\n\
        WebSocket-Protocol: throughline.v1\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&accepted.head), head);
}

#[test]
fn a_subprotocol_is_answered_in_the_drafts_own_header() {
    let answer = |name, value: &'static [u8]| {
        let asked =
            REQUEST_76.iter().copied().filter(|(name, _)| *name != "Sec-WebSocket-Protocol").chain([(name, value)]);
        let accepted = hixie::accept(Draft::Hixie76, "GET", "/", asked, false).expect("a good request");
        String::from_utf8_lossy(&accepted.head)
            .lines()
            .find_map(|l| l.strip_prefix("Sec-WebSocket-Protocol: ").map(str::to_owned))
    };
    assert_eq!(answer("Sec-WebSocket-Protocol", b"other throughline.v1").as_deref(), Some("throughline.v1"));
    assert_eq!(answer("WebSocket-Protocol", b"other").as_deref(), Some("other"));
    assert_eq!(answer("X", b"other"), None);
}

#[test]
fn versions_with_a_number_and_ordinary_requests_are_none_of_the_drafts() {
    let numbered: &Headers = &[("Upgrade", b"websocket"), ("Connection", b"Upgrade"), ("Sec-WebSocket-Version", b"8")];
    let keys: &Headers = &[("Host", b"h"), ("Sec-WebSocket-Key1", b"1 2"), ("Sec-WebSocket-Key2", b"1 2")];
    assert_eq!(hixie::detect(numbered.iter().copied()), None);
    assert_eq!(hixie::detect([("Host", b"h".as_slice())].into_iter()), None);
    assert_eq!(hixie::detect(keys.iter().copied()), Some(Draft::Hixie76));
}

#[test]
fn bad_keys_and_hosts_are_refused() {
    for key in [&b""[..], b"123", b"no digits", b"1 2 3 4", b"99999999999 9", b"99999999999999999999999 "] {
        let keys = [("Host", &b"h"[..]), ("Sec-WebSocket-Key1", key), ("Sec-WebSocket-Key2", b"1 2")];
        let refused = hixie::accept(Draft::Hixie76, "GET", "/", UPGRADE.into_iter().chain(keys), false);
        assert_eq!(refused, Err(Refusal::Key), "{key:?}");
    }
    for host in [&b""[..], b"a b", b"a\r\nX: y"] {
        let refused = hixie::accept(Draft::Hixie75, "GET", "/", UPGRADE.into_iter().chain([("Host", host)]), false);
        assert_eq!(refused, Err(Refusal::Host), "{host:?}");
    }
    let post = hixie::accept(Draft::Hixie75, "POST", "/", [("Host", &b"h"[..])].into_iter(), false);
    assert_eq!(post, Err(Refusal::Method));
    for gone in ["Upgrade", "Connection"] {
        let left = REQUEST_76.iter().copied().filter(|(name, _)| *name != gone);
        let refused = hixie::accept(Draft::Hixie76, "GET", "/", left, false);
        assert_eq!(refused, Err(Refusal::UpgradeRemoved), "{gone}");
    }
}

#[test]
fn no_body_but_the_key_bytes() {
    let with = |draft, name, value: &'static [u8]| {
        let base = if draft == Draft::Hixie76 { REQUEST_76 } else { REQUEST_75 };
        hixie::accept(draft, "GET", "/", base.iter().copied().chain([(name, value)]), false).err()
    };
    assert_eq!(with(Draft::Hixie76, "Content-Length", b"8"), None);
    assert_eq!(with(Draft::Hixie75, "Content-Length", b"0"), None);
    for (draft, name, value) in [
        (Draft::Hixie76, "Content-Length", &b"0"[..]),
        (Draft::Hixie76, "Content-Length", b"9"),
        (Draft::Hixie76, "Transfer-Encoding", b"chunked"),
        (Draft::Hixie75, "Content-Length", b"8"),
        (Draft::Hixie75, "Transfer-Encoding", b"chunked"),
    ] {
        assert_eq!(with(draft, name, value), Some(Refusal::Body), "{draft:?} {name}");
    }
}

#[test]
fn spaces_at_the_ends_of_a_key_count() {
    let head =
        b"GET / HTTP/1.1\r\nSec-WebSocket-Key1:  1 2 \r\nsec-websocket-key2:12\r\nX: Sec-WebSocket-Key1: 7\r\n\r\n";
    assert_eq!(hixie::untrimmed(head, "Sec-WebSocket-Key1"), Some(&b" 1 2 "[..]));
    assert_eq!(hixie::untrimmed(head, "Sec-WebSocket-Key2"), Some(&b"12"[..]));
    assert_eq!(hixie::untrimmed(head, "Sec-WebSocket-Key"), None);
    let digest = |first: &'static [u8]| {
        let keys = [("Host", &b"h"[..]), ("Sec-WebSocket-Key1", first), ("Sec-WebSocket-Key2", b"1 2")];
        let accepted = hixie::accept(Draft::Hixie76, "GET", "/", UPGRADE.into_iter().chain(keys), false);
        accepted.map(|accepted| accepted.digest([0; 8]))
    };
    // 12 / 3, as one who counts them all has it.
    assert_eq!(digest(b" 1 2 "), digest(b"4 "));
    assert_ne!(digest(b" 1 2 "), digest(b"1 2"));
}

/// What a decoder makes of `pieces`, in words, up to the first fault.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>, max: usize) -> Vec<String> {
    let mut decoder = hixie::Decoder::new();
    let mut said = Vec::new();
    for piece in pieces {
        let mut input = piece;
        loop {
            match decoder.decode(&mut input, max) {
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

#[test]
fn frames() {
    let mut out = Vec::new();
    hixie::write_text(&mut out, "Grüße".as_bytes());
    assert_eq!(out, [&[0x00], "Grüße".as_bytes(), &[0xFF]].concat());
    // Text, a type that is passed over, one with a length of 130, and the close.
    let mut bytes = [out.as_slice(), &[0x05, 1, 2, 0xFF], &[0x81, 0x81, 0x02]].concat();
    bytes.extend([7; 130]);
    bytes.extend(hixie::CLOSE);
    assert_eq!(decode([bytes.as_slice()].into_iter(), 200), ["Text(\"Grüße\")", "Close(None)"]);
}

#[test]
fn faults_of_frames() {
    let mut decoder = hixie::Decoder::new();
    let fault = |bytes: &[u8], decoder: &mut hixie::Decoder| {
        let mut input = bytes;
        decoder.decode(&mut input, 4).err()
    };
    assert_eq!(fault(&[0, 0xC3, 0x28, 0xFF], &mut decoder), Some(Rule::Utf8.into()));
    assert_eq!(fault(b"\0abcde", &mut hixie::Decoder::new()), Some(Rule::TooBig(4).into()));
    assert_eq!(fault(b"\0abcde\xFF", &mut hixie::Decoder::new()), Some(Rule::TooBig(4).into()));
    assert_eq!(fault(&[0x80, 5], &mut hixie::Decoder::new()), Some(Rule::TooBig(4).into()));
    let endless = [[0x80].as_slice(), &[0xFF; 12]].concat();
    assert_eq!(fault(&endless, &mut hixie::Decoder::new()), Some(Rule::LengthOverflow.into()));
    let mut rest = &b"\0abcd\xFF"[..];
    assert_eq!(hixie::Decoder::new().decode(&mut rest, 4), Ok(Some(Message::Text("abcd"))));
}

proptest! {
    #[test]
    fn the_split_changes_nothing(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xFF), Just(0x80), Just(b'a'), any::<u8>()], 0..80),
        size in 1usize..9,
    ) {
        let whole = decode([bytes.as_slice()].into_iter(), 16);
        prop_assert_eq!(decode(bytes.chunks(size), 16), whole.clone());
        prop_assert_eq!(decode(bytes.chunks(1), 16), whole);
    }
}
