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

/// Appends one poll's answer up to its messages: the line that numbers it and says how many follow, by which an answer is known
/// to be whole.
pub fn write_answer_line(number: u64, messages: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"answer\",\"number\":");
    write_decimal(number, out);
    out.extend_from_slice(b",\"messages\":");
    write_decimal(messages, out);
    out.extend_from_slice(b"}\n");
}

/// Appends the answer to a piece.
pub fn write_taken(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"taken\",\"n\":");
    write_decimal(number, out);
    out.push(b'}');
}

fn write_decimal(number: u64, out: &mut Vec<u8>) {
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
}
