//! Every rule that a peer can break, each refused the same way however the bytes arrive.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::{Owned, cut, decode};
use throughline_wire::close::CloseCode;
use throughline_wire::ws::{Decoder, Role, Rule};

const LIMIT: usize = 1000;

/// Decodes at once, byte by byte and cut in two at every place; all have to agree.
fn outcome(role: Role, takeover: Option<bool>, bytes: &[u8]) -> (Vec<Owned>, Option<Rule>) {
    let whole = decode(role, takeover, LIMIT, [bytes]);
    assert_eq!(decode(role, takeover, LIMIT, cut(bytes, &[1])), whole, "{bytes:02x?} byte by byte");
    for at in 0..bytes.len() {
        let (front, back) = bytes.split_at(at);
        assert_eq!(decode(role, takeover, LIMIT, [front, back]), whole, "{bytes:02x?} cut at {at}");
    }
    whole
}

fn check(cases: &[(&[u8], Rule)], role: Role, takeover: Option<bool>) {
    for (bytes, rule) in cases {
        assert_eq!(outcome(role, takeover, bytes), (Vec::new(), Some(*rule)), "{bytes:02x?}");
    }
}

#[test]
fn headers() {
    let cases: &[(&[u8], Rule)] = &[
        (&[0xC1, 0x00], Rule::ReservedBit),
        (&[0xA1, 0x00], Rule::ReservedBit),
        (&[0x91, 0x00], Rule::ReservedBit),
        (&[0xC9, 0x00], Rule::ReservedBit),
        (&[0x83, 0x00], Rule::ReservedOpcode(3)),
        (&[0x87, 0x00], Rule::ReservedOpcode(7)),
        (&[0x8B, 0x00], Rule::ReservedOpcode(11)),
        (&[0x8F, 0x00], Rule::ReservedOpcode(15)),
        (&[0x08, 0x00], Rule::FragmentedControl),
        (&[0x09, 0x00], Rule::FragmentedControl),
        (&[0x0A, 0x00], Rule::FragmentedControl),
        (&[0x89, 126, 0, 126], Rule::ControlTooLong),
        (&[0x88, 127, 0, 0, 0, 0, 0, 1, 0, 0], Rule::ControlTooLong),
        (&[0x80, 0x00], Rule::NothingToContinue),
        (&[0x00, 0x00], Rule::NothingToContinue),
        (&[0x01, 0x01, b'a', 0x81, 0x00], Rule::MessageUnfinished),
        (&[0x02, 0x00, 0x02, 0x00], Rule::MessageUnfinished),
        (&[0x81, 0x80, 0, 0, 0, 0], Rule::Masked),
        (&[0x82, 126, 0, 125], Rule::LengthNotMinimal),
        (&[0x82, 126, 0, 0], Rule::LengthNotMinimal),
        (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Rule::LengthNotMinimal),
        (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Rule::LengthOverflow),
        (&[0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0], Rule::TooBig(LIMIT)),
        (&[0x82, 126, 0x03, 0xE9], Rule::TooBig(LIMIT)),
    ];
    check(cases, Role::Client, None);
    check(&[(&[0x81, 0x00], Rule::Unmasked), (&[0x89, 0x00], Rule::Unmasked)], Role::Server, None);
    check(
        &[(&[0x41, 0x00, 0xC0, 0x00], Rule::ReservedBit), (&[0xC8, 0x00], Rule::ReservedBit)],
        Role::Client,
        Some(false),
    );
}

#[test]
fn close_frames() {
    let mut bad = vec![(vec![0x88, 1, 3], Rule::CloseLength), (vec![0x88, 3, 3, 232, 0xFF], Rule::Utf8)];
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        bad.push(([&[0x88, 2], &code.to_be_bytes()[..]].concat(), Rule::CloseCode(code)));
    }
    let bad: Vec<(&[u8], Rule)> = bad.iter().map(|(bytes, rule)| (&bytes[..], *rule)).collect();
    check(&bad, Role::Client, None);
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        let bytes = [&[0x88, 2], &code.to_be_bytes()[..]].concat();
        assert_eq!(outcome(Role::Client, None, &bytes), (vec![Owned::Close(Some((code, String::new())))], None));
    }
}

#[test]
fn text_that_is_not_utf8() {
    let bad: [&[u8]; 9] = [
        b"\xFF",
        b"a\x80",
        b"\xC0\xAF",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xE2\x82",
        b"\xC3",
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited",
    ];
    for text in bad {
        let whole = [&[0x81, text.len() as u8], text].concat();
        assert_eq!(outcome(Role::Client, None, &whole), (Vec::new(), Some(Rule::Utf8)), "{text:02x?}");
        for at in 0..=text.len() {
            let (front, back) = text.split_at(at);
            let frames = [&[0x01, front.len() as u8], front, &[0x89, 0], &[0x80, back.len() as u8], back].concat();
            let (messages, rule) = outcome(Role::Client, None, &frames);
            assert_eq!(rule, Some(Rule::Utf8), "{text:02x?} at {at}");
            assert!(messages.len() <= 1);
        }
    }
}

#[test]
fn bad_text_is_refused_before_its_frame_ends() {
    // The frame announces 100 bytes; the seventh cannot be part of any UTF-8.
    let bytes = [0x81, 100, b'g', b'o', b'o', b'd', 0xED, 0xA0];
    assert_eq!(decode(Role::Client, None, LIMIT, [&bytes[..7]]), (Vec::new(), None));
    assert_eq!(decode(Role::Client, None, LIMIT, [&bytes[..]]), (Vec::new(), Some(Rule::Utf8)));
}

#[test]
fn fragments_count_together() {
    let part = [&[0x02, 126, 1, 244], &[7; 500][..]].concat();
    let more = [&[0x00, 126, 1, 244], &[7; 500][..]].concat();
    let full = [&part[..], &more, &[0x80, 0]].concat();
    assert_eq!(outcome(Role::Client, None, &full), (vec![Owned::Binary(vec![7; 1000])], None));
    let over = [&part[..], &more, &[0x80, 1, 7]].concat();
    assert_eq!(outcome(Role::Client, None, &over), (Vec::new(), Some(Rule::TooBig(LIMIT))));
}

#[test]
fn messages_before_a_violation_are_given_out() {
    let bytes = [0x81, 1, b'a', 0x01, 1, b'b', 0x89, 1, b'c', 0x80, 1, b'd', 0x83, 0];
    let expected = vec![Owned::Text("a".into()), Owned::Ping(b"c".to_vec()), Owned::Text("bd".into())];
    assert_eq!(outcome(Role::Client, None, &bytes), (expected, Some(Rule::ReservedOpcode(3))));
}

#[test]
fn broken_compression() {
    check(&[(&[0xC2, 1, 0x06], Rule::Deflate), (&[0xC2, 2, 0xFF, 0xFF], Rule::Deflate)], Role::Client, Some(false));
}

#[test]
fn a_violation_becomes_a_close_reason() {
    let cases: [(&[u8], CloseCode, &str); 3] = [
        (&[0x83, 0], CloseCode::Protocol, "opcode 0x3 is reserved (RFC 6455 section 5.2)"),
        (&[0x81, 1, 0xFF], CloseCode::InvalidPayload, "text is not UTF-8 (RFC 6455 section 8.1)"),
        (&[0x82, 126, 255, 255], CloseCode::TooBig, "message exceeds message_bytes_max, 1000 bytes"),
    ];
    for (bytes, code, reason) in cases {
        let mut decoder = Decoder::new(Role::Client, false);
        let mut bytes = bytes.to_vec();
        let violation = decoder.decode(&mut bytes.as_mut_slice(), None, LIMIT).expect_err("a violation");
        let close = violation.close();
        assert_eq!((close.code, close.reason.as_str()), (code, reason));
    }
}

#[test]
fn a_close_of_a_client_that_lacks_its_mask_is_a_close() {
    // As Caddy 2.6 sends it to both ends when it stops.
    let mut bytes = *b"\x88\x04\x03\xe9no";
    let mut decoder = Decoder::new(Role::Server, false);
    let message = decoder.decode(&mut &mut bytes[..], None, 1024);
    assert!(matches!(message, Ok(Some(throughline_wire::ws::Message::Close(Some((1001, "no")))))), "{message:?}");
}
