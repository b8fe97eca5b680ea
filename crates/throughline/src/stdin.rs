//! Lines of standard input, as they come.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads that may lie ahead of the publisher.
const READS_AHEAD: usize = 4;
/// Longest line, bytes: what follows it could not be published by any realm.
const LINE_BYTES_MAX: usize = 256 << 20;

/// The lines of one read, or why there are no more.
pub(crate) type Batch = Result<Vec<Bytes>, String>;

/// Starts to read on a thread of its own, since standard input cannot be waited for otherwise.
pub(crate) fn lines() -> mpsc::Receiver<Batch> {
    let (sender, receiver) = mpsc::channel(READS_AHEAD);
    std::thread::spawn(move || read(io::stdin().lock(), |batch| sender.blocking_send(batch).is_ok()));
    receiver
}

/// Cuts `input` at line ends, which are not part of the lines. What follows the last one is a line if it is not empty.
fn read(mut input: impl Read, mut give: impl FnMut(Batch) -> bool) {
    let mut chunk = vec![0; READ_BYTES];
    let mut rest = BytesMut::new();
    loop {
        let n = match input.read(&mut chunk) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                give(Err(format!("standard input cannot be read: {e}")));
                return;
            }
        };
        if n == 0 {
            if !rest.is_empty() {
                give(Ok(vec![rest.freeze()]));
            }
            return;
        }
        let batch = cut(&mut rest, chunk.get(..n).unwrap_or_default());
        if !batch.is_empty() && !give(Ok(batch)) {
            return;
        }
        if rest.len() > LINE_BYTES_MAX {
            give(Err(format!("a line has more than {LINE_BYTES_MAX} bytes")));
            return;
        }
    }
}

fn cut(rest: &mut BytesMut, bytes: &[u8]) -> Vec<Bytes> {
    let Some(last) = bytes.iter().rposition(|b| *b == b'\n') else {
        rest.extend_from_slice(bytes);
        return Vec::new();
    };
    let (whole, begun) = bytes.split_at(last + 1);
    rest.extend_from_slice(whole);
    let block = rest.split().freeze();
    rest.extend_from_slice(begun);
    let lines = block.split(|b| *b == b'\n').map(|line| block.slice_ref(line));
    // After the last line end stands an empty piece that is no line.
    let mut lines: Vec<Bytes> = lines.collect();
    lines.pop();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its text in pieces of a given size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(out.len());
            let (now, later) = self.0.split_at(n);
            out[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let table: [(&[u8], &[&[u8]]); 6] = [
            (b"", &[]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\nbc\n\nd", &[b"a", b"bc", b"", b"d"]),
            (b"\n\n", &[b"", b""]),
            (b"x\r\n\xff\n", &[b"x\r", b"\xff"]),
        ];
        for (text, expected) in table {
            for size in 1..=text.len().max(1) {
                let mut lines = Vec::new();
                read(Pieces(text, size), |batch| {
                    lines.extend(batch.unwrap());
                    true
                });
                assert_eq!(lines, expected, "{text:?} by {size}");
            }
        }
    }
}
