//! What the HTTP transports put on the wire: PROTOCOL.md section 10.
//!
//! Messages are JSON text. Downwards they are lines, events of a stream, or script calls ([`Form`]), as bare bytes or
//! as chunks; upwards they are lines of one byte stream, cut anywhere into numbered pieces ([`Lines`]).

mod chunk;
mod form;
mod lines;
mod script;

pub use chunk::{CHUNK_END, write_chunk};
pub use form::{Form, PADDING_BYTES};
pub use lines::{LineTooLong, Lines};
pub use script::{CALLBACK_BYTES_MAX, is_callback, write_jsonp, write_script_string};

use alloc::vec::Vec;

/// Appends one poll's answer up to its messages: the line that numbers it.
pub fn write_answer_line(number: u64, out: &mut Vec<u8>) {
    write_numbered(b"{\"type\":\"answer\",\"number\":", number, out);
    out.push(b'\n');
}

/// Appends the answer to a piece.
pub fn write_taken(number: u64, out: &mut Vec<u8>) {
    write_numbered(b"{\"type\":\"taken\",\"n\":", number, out);
}

fn write_numbered(start: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(start);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
    out.push(b'}');
}
