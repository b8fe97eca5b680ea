//! Where requests begin and end: what can be read in one way only is passed, however it is cut, and nothing else is.

use proptest::prelude::*;
use throughline_wire::http1::{Ambiguity, Gate, HEAD_BYTES_MAX, check_head};

/// What is passed of bytes that come in pieces of such sizes, and why no more.
fn pass(bytes: &[u8], mut size: impl FnMut() -> usize) -> (Vec<u8>, Option<Ambiguity>, bool) {
    let mut gate = Gate::default();
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size().clamp(1, rest.len()));
        held.extend_from_slice(piece);
        let n = gate.pass(&held);
        passed.extend(held.drain(..n));
        rest = later;
    }
    (passed, gate.refused(), gate.is_upgrade())
}

fn whole(text: &str) -> (String, Option<Ambiguity>, bool) {
    let (passed, refused, upgrade) = pass(text.as_bytes(), || usize::MAX);
    assert_eq!(pass(text.as_bytes(), || 1), (passed.clone(), refused, upgrade), "byte by byte: {text:?}");
    (String::from_utf8(passed).expect("text"), refused, upgrade)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: a\r\n";

#[test]
fn good_requests_pass_whole() {
    let cases = [
        GET.to_owned(),
        format!("\r\n\r\n{GET}\r\n{GET}"),
        format!("{POST}Content-Length: 5\r\n\r\nhello{GET}"),
        format!("{POST}content-length:0\r\n\r\n{GET}"),
        format!("{POST}Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00a;name=\"v\"\r\n0123456789\r\n0\r\n\r\n{GET}"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n{GET}"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET /?q=\u{e9} HTTP/1.1\r\nHost: a\r\nX: \u{e9}\ttab \r\nEmpty:\r\n\r\n".to_owned(),
    ];
    for text in cases {
        assert_eq!(whole(&text), (text.clone(), None, false));
    }
}

#[test]
fn heads_that_can_be_read_in_two_ways_do_not_pass() {
    let cases = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Ambiguity::LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Ambiguity::LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Ambiguity::Encoding),
        ("Transfer-Encoding: chunked\r\ntransfer-encoding: identity", Ambiguity::Encoding),
        ("Transfer-Encoding: identity, chunked", Ambiguity::Encoding),
        ("Transfer-Encoding: xchunked", Ambiguity::Encoding),
        ("Transfer-Encoding: \"chunked\"", Ambiguity::Encoding),
        ("Transfer-Encoding:\u{b}chunked", Ambiguity::Header),
        ("Transfer-Encoding", Ambiguity::Header),
        ("Transfer-Encoding : chunked", Ambiguity::Header),
        ("Transfer Encoding: chunked", Ambiguity::Header),
        ("Content-Length: 5\r\nContent-Length: 6", Ambiguity::Length),
        ("Content-Length: 5\r\nContent-Length: 5", Ambiguity::Length),
        ("Content-Length: 5, 5", Ambiguity::Length),
        ("Content-Length: +5", Ambiguity::Length),
        ("Content-Length: -5", Ambiguity::Length),
        ("Content-Length: 0x5", Ambiguity::Length),
        ("Content-Length:", Ambiguity::Length),
        ("Content-Length: 99999999999999999999", Ambiguity::Length),
        ("X: a\r\n b", Ambiguity::Fold),
        ("X: a\r\n\tTransfer-Encoding: chunked", Ambiguity::Fold),
        ("X: a\nContent-Length: 5", Ambiguity::LineEnd),
        ("X: a\rContent-Length: 5", Ambiguity::LineEnd),
        ("X: a\r", Ambiguity::LineEnd),
        ("X: a\r\r\nY: b", Ambiguity::LineEnd),
        ("X: a\0b", Ambiguity::Header),
        ("X\0: a", Ambiguity::Header),
        (": a", Ambiguity::Header),
        ("Upgrade: websocket\r\nContent-Length: 5", Ambiguity::UpgradeBody),
        ("Upgrade: WebSocket\r\nTransfer-Encoding: chunked", Ambiguity::UpgradeBody),
        ("Upgrade: websocket\r\nContent-Length: 8", Ambiguity::UpgradeBody),
    ];
    for (lines, ambiguity) in cases {
        let text = format!("{GET}{POST}{lines}\r\n\r\n{GET}");
        assert_eq!(whole(&text), (GET.to_owned(), Some(ambiguity), false), "{lines:?}");
    }
    let lines = [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / HTTP/2.0",
        "GET /",
        "G(T / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
    ];
    for line in lines {
        assert_eq!(whole(&format!("{line}\r\nHost: a\r\n\r\n")).1, Some(Ambiguity::RequestLine), "{line:?}");
    }
    assert_eq!(pass(b"GET /\xff HTTP/1.1\r\n\r\n", || usize::MAX).1, Some(Ambiguity::RequestLine));
    assert_eq!(whole("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").1, Some(Ambiguity::Encoding));
    assert_eq!(whole("GET / HTTP/1.1\nHost: a\n\n").1, Some(Ambiguity::LineEnd));
    assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\n\n").1, Some(Ambiguity::LineEnd));
    assert_eq!(whole(&format!("{POST}X: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX))).1, Some(Ambiguity::TooLong));
}

#[test]
fn chunks_have_plain_sizes_and_ends() {
    let cases = [
        ("+5\r\nhello\r\n", Ambiguity::Chunk),
        ("-1\r\n", Ambiguity::Chunk),
        ("0x5\r\nhello\r\n", Ambiguity::Chunk),
        (" 5\r\nhello\r\n", Ambiguity::Chunk),
        ("5 \r\nhello\r\n", Ambiguity::Chunk),
        ("\r\nhello\r\n", Ambiguity::Chunk),
        ("00000000000000005\r\nhello\r\n", Ambiguity::Chunk),
        ("fffffffffffffffff\r\n", Ambiguity::Chunk),
        ("5;a\nb\r\nhello\r\n", Ambiguity::LineEnd),
        ("5;a\rb\r\nhello\r\n", Ambiguity::LineEnd),
        ("5\nhello\r\n", Ambiguity::LineEnd),
        ("5;\0\r\nhello\r\n", Ambiguity::Chunk),
        ("5\r\nhello!\r\n", Ambiguity::Chunk),
        ("5\r\nhello\n", Ambiguity::Chunk),
        ("5\r\nhello\r!", Ambiguity::Chunk),
        ("0\r\nX y: z\r\n\r\n", Ambiguity::Header),
        ("0\r\nX: y\r\n z\r\n\r\n", Ambiguity::Fold),
        ("0\r\n\n", Ambiguity::LineEnd),
    ];
    for (chunks, ambiguity) in cases {
        let (passed, refused, _) = whole(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}{GET}{GET}"));
        assert_eq!(refused, Some(ambiguity), "{chunks:?}");
        assert!(!passed.contains("GET"), "{chunks:?}");
    }
    for endless in ["5;".to_owned() + &"x".repeat(300), "0\r\nX: ".to_owned() + &"y".repeat(5000)] {
        assert_eq!(whole(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n{endless}")).1, Some(Ambiguity::Chunk));
    }
}

#[test]
fn nothing_passes_behind_an_upgrade() {
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: x, WebSocket\r\n";
    let hixie = format!("{upgrade}Sec-WebSocket-Key1: 1 2\r\nContent-Length: 8\r\n\r\n");
    for head in [format!("{upgrade}\r\n"), format!("{upgrade}Content-Length: 0\r\n\r\n"), hixie] {
        assert_eq!(whole(&format!("{head}{GET}")), (head.clone(), None, true));
        assert!(check_head(head.as_bytes()).is_ok_and(|framing| framing.is_upgrade()));
    }
}

/// Parts of requests, good and bad, that meet in any order.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        GET,
        POST,
        "\r\n",
        "\n",
        "\r",
        " ",
        ":",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
        "Upgrade: websocket\r\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "hello",
        ";e=f",
        "\0",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn cuts_change_nothing(bytes in parts(), sizes in prop::collection::vec(1_usize..9, 1..20)) {
        let mut at = 0;
        let size = || { at += 1; sizes[at % sizes.len()] };
        prop_assert_eq!(pass(&bytes, size), pass(&bytes, || usize::MAX));
    }

    #[test]
    fn what_passes_is_read_the_same_by_the_library(bytes in parts()) {
        let (passed, ..) = pass(&bytes, || usize::MAX);
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        if !passed.is_empty() && passed.iter().any(|b| !matches!(b, b'\r' | b'\n')) {
            let len = match request.parse(&passed) {
                Ok(httparse::Status::Complete(len)) => len,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert!(check_head(&passed[..len]).is_ok());
        }
    }
}
