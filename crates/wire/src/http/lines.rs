//! An uplink: lines out of pieces that were cut anywhere.

use alloc::vec::Vec;
use core::fmt;

/// Gathers the pieces of a byte stream and gives out its lines. Between calls it holds the start of one line at most.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

/// A line longer than the limit: the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit that was passed, bytes.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message is longer than {} bytes", self.limit)
    }
}

impl core::error::Error for LineTooLong {}

impl Lines {
    /// An empty stream.
    pub const fn new() -> Lines {
        Lines { partial: Vec::new() }
    }

    /// Memory that the line takes that has begun, bytes.
    pub const fn partial_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Takes the next piece and calls `line` for each line that it completes, without its end. Blank lines are left out.
    ///
    /// # Errors
    /// When a line, whole or not, is longer than `limit` bytes. What came before it was given out.
    pub fn push(&mut self, piece: &[u8], limit: usize, mut line: impl FnMut(&[u8])) -> Result<(), LineTooLong> {
        let mut rest = piece;
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            let (head, tail) = rest.split_at(at);
            rest = tail.get(1..).unwrap_or_default();
            if self.partial.len() + head.len() > limit {
                return Err(LineTooLong { limit });
            }
            if self.partial.is_empty() {
                give(head, &mut line);
            } else {
                let mut whole = core::mem::take(&mut self.partial);
                whole.extend_from_slice(head);
                give(&whole, &mut line);
            }
        }
        if self.partial.len() + rest.len() > limit {
            return Err(LineTooLong { limit });
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

fn give(line: &[u8], to: &mut impl FnMut(&[u8])) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().all(u8::is_ascii_whitespace) {
        to(line);
    }
}
