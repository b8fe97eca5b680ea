//! Text inside scripts: forever frames and JSONP.

use alloc::vec::Vec;

/// Longest name of a callback, bytes.
pub const CALLBACK_BYTES_MAX: usize = 64;

/// Appends `text` as a string literal that is safe in any script: `<` is escaped, so that neither `</script` nor `<!--`
/// can occur, and so are U+2028 and U+2029, which end a line in older scripts. It is a JSON string as well.
pub fn write_script_string(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let special = |b: &u8| *b < 0x20 || matches!(b, b'"' | b'\\' | b'<' | 0x7f | 0xe2);
    let mut rest = text;
    while let Some(at) = rest.iter().position(special) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = tail.split_first() else { break };
        rest = after;
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            // The first byte of U+2028 and U+2029, and of many harmless characters.
            0xe2 => match tail.get(..3) {
                Some([_, 0x80, last @ (0xa8 | 0xa9)]) => {
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    rest = tail.get(3..).unwrap_or_default();
                }
                _ => out.push(0xe2),
            },
            b => {
                let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(b >> 4), digit(b)]);
            }
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// True for a name that a JSONP answer may call: at most [`CALLBACK_BYTES_MAX`] of `A-Z a-z 0-9 _ $ .`, the first neither
/// a digit nor a dot.
pub fn is_callback(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$');
    let first = name.bytes().next().is_some_and(|b| word(b) && !b.is_ascii_digit());
    first && name.len() <= CALLBACK_BYTES_MAX && name.bytes().all(|b| word(b) || b == b'.')
}

/// Appends a script that calls `callback`, which has to be one by [`is_callback`], with `text`. The comment in front keeps
/// the answer from beginning with bytes that the caller chose.
pub fn write_jsonp(callback: &str, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"/**/");
    out.extend_from_slice(callback.as_bytes());
    out.push(b'(');
    write_script_string(text, out);
    out.extend_from_slice(b");");
}
