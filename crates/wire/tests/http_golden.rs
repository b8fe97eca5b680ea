//! The HTTP transports' shapes, byte for byte, and properties that hold for any text and any cut.

use proptest::collection::vec;
use proptest::prelude::*;
use throughline_wire::http::{
    CHUNK_END, Form, LineTooLong, Lines, PADDING_BYTES, is_callback, write_answer_line, write_chunk, write_jsonp,
    write_script_string, write_taken,
};

const MESSAGE: &[u8] = br#"{"type":"event","data":"</script><!--\" \u0001"}"#;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("text was written")
}

#[test]
fn messages_in_each_form() {
    let form = |form: Form| written(|out| form.write(MESSAGE, out));
    assert_eq!(form(Form::Lines), "{\"type\":\"event\",\"data\":\"</script><!--\\\" \\u0001\"}\n");
    assert_eq!(form(Form::EventStream), "data: {\"type\":\"event\",\"data\":\"</script><!--\\\" \\u0001\"}\n\n");
    assert_eq!(
        form(Form::Script),
        r#"<script>m("{\"type\":\"event\",\"data\":\"\u003c/script>\u003c!--\\\" \\u0001\"}")</script>"#.to_owned()
            + "\n"
    );
}

#[test]
fn chunks() {
    let chunk = |parts: &[&[u8]]| written(|out| write_chunk(parts, out));
    assert_eq!(chunk(&[b"abc", b"\n"]), "4\r\nabc\n\r\n");
    assert_eq!(chunk(&[&[b'x'; 26]]), format!("1a\r\n{}\r\n", "x".repeat(26)));
    assert_eq!(chunk(&[&[b'x'; 0x100]]), format!("100\r\n{}\r\n", "x".repeat(0x100)));
    assert_eq!(chunk(&[b"", b""]), "", "an empty chunk would end the body");
    assert_eq!(CHUNK_END, b"0\r\n\r\n");
}

#[test]
fn answers() {
    assert_eq!(written(|out| write_answer_line(0, 0, out)), "{\"type\":\"answer\",\"number\":0,\"messages\":0}\n");
    let most = format!("{{\"type\":\"answer\",\"number\":{0},\"messages\":{0}}}\n", u64::MAX);
    assert_eq!(written(|out| write_answer_line(u64::MAX, u64::MAX, out)), most);
    assert_eq!(written(|out| write_taken(1205, out)), "{\"type\":\"taken\",\"n\":1205}");
}

#[test]
fn jsonp_lets_nothing_out_of_its_string() {
    let text = "a\"\\\n\r\t\u{0}</script><!--\u{2028}\u{2029}\u{2027}\u{e2}\u{20ac}\u{7f}ä";
    let expected = "/**/app.on$1(\"a\\\"\\\\\\n\\u000d\\u0009\\u0000\\u003c/script>\\u003c!--\\u2028\\u2029\u{2027}\u{e2}\u{20ac}\\u007fä\");";
    assert_eq!(written(|out| write_jsonp("app.on$1", text.as_bytes(), out)), expected);
}

#[test]
fn names_of_callbacks() {
    for good in ["f", "_", "$", "f1", "a.b.c", "throughline_0$", &"f".repeat(64)] {
        assert!(is_callback(good), "{good}");
    }
    for bad in ["", "1f", ".a", "a(b", "a;b", "a b", "a[0]", "é", "a/**/", "a\n", "a=", &"f".repeat(65)] {
        assert!(!is_callback(bad), "{bad}");
    }
}

#[test]
fn a_body_begins_with_padding_and_no_message() {
    const LINK: &str = "000102030405060708090a0b0c0d0e0f";
    let start = |form: Form| written(|out| form.write_start(LINK, "https://a.example:8443", out));
    assert_eq!(start(Form::Lines), " ".repeat(2047) + "\n");
    assert_eq!(start(Form::EventStream), ":".to_owned() + &" ".repeat(2045) + "\n\n");
    let script = start(Form::Script);
    let document = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>.</title><script>function m(d){{parent.postMessage(\
         {{throughline:\"{LINK}\",data:d}},\"https://a.example:8443\")}}</script>"
    );
    assert_eq!(script.trim_end(), document);
    for form in Form::ALL {
        assert_eq!(start(form).len(), PADDING_BYTES, "{form:?}");
        assert_eq!(Form::named(form.name()), Some(form));
    }
    assert_eq!(Form::named("Lines"), None);
    let hostile = written(|out| Form::Script.write_start(LINK, "https://a\"</script><script>", out));
    assert_eq!(hostile.matches("</script>").count(), 1, "{hostile}");
}

/// What comes out of pieces.
fn lines(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, Result<(), LineTooLong>) {
    let mut all = Vec::new();
    let mut lines = Lines::new();
    for piece in pieces {
        if let Err(e) = lines.push(piece, limit, |line| all.push(line.to_vec())) {
            return (all, Err(e));
        }
    }
    (all, Ok(()))
}

#[test]
fn lines_of_pieces() {
    let texts = |pieces: &[&str], limit: usize| {
        let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let (all, end) = lines(&bytes, limit);
        (all.into_iter().map(|line| String::from_utf8(line).unwrap()).collect::<Vec<_>>(), end.is_ok())
    };
    let whole = |lines: &[&str], ok: bool| (lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), ok);
    assert_eq!(texts(&["a\nb", "c\n", "\n \r\nd"], 10), whole(&["a", "bc"], true));
    assert_eq!(texts(&["", "a", "", "\n"], 1), whole(&["a"], true));
    assert_eq!(texts(&["a\r\nb\n"], 10), whole(&["a", "b"], true));
    assert_eq!(texts(&["ab\nabc"], 2), whole(&["ab"], false), "a line that has begun is bounded, too");
    assert_eq!(texts(&["ab", "c\nd\n"], 2), whole(&[], false));
}

/// The text that a script engine reads from a literal; JSON has the same escapes.
fn read_literal(literal: &[u8]) -> String {
    serde_json::from_slice(literal).expect("a literal")
}

proptest! {
    #[test]
    fn script_strings_hold_any_text_and_end_nothing(text in "[a-z<>!/\\-\\\\\"\u{2028}\u{2029}\u{e2}\u{2027}\u{0}-\u{20}]{0,60}") {
        let mut out = Vec::new();
        write_script_string(text.as_bytes(), &mut out);
        prop_assert_eq!(read_literal(&out), text.clone());
        let literal = std::str::from_utf8(&out).unwrap();
        for harmful in ["<", "\n", "\r", "\u{2028}", "\u{2029}"] {
            prop_assert!(!literal.contains(harmful), "{:?}", literal);
        }
    }

    #[test]
    fn how_lines_are_cut_changes_nothing(
        stream in "[ab\n]{0,80}",
        cuts in vec(0_usize..9, 1..20),
        limit in 1_usize..20,
    ) {
        let mut pieces = Vec::new();
        let mut rest = stream.as_bytes();
        for cut in cuts.iter().cycle().take(200) {
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        pieces.push(rest);
        let (whole, whole_end) = lines(&[stream.as_bytes()], limit);
        let (cut, cut_end) = lines(&pieces, limit);
        prop_assert_eq!(whole, cut);
        prop_assert_eq!(whole_end, cut_end);
    }
}
