//! Chunks of RFC 9112 section 7.1.

use alloc::vec::Vec;

/// What ends a chunked body.
pub const CHUNK_END: &[u8] = b"0\r\n\r\n";

/// Appends a chunk whose content is the `parts` in a row; nothing when they are empty, since an empty chunk is the end.
pub fn write_chunk(parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length == 0 {
        return;
    }
    write_hex(length, out);
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_hex(n: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        let digit = (n >> (i * 4) & 15) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}
