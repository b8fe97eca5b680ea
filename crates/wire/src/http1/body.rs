//! Bodies of requests.

use core::str;

use super::Ambiguity;
use super::head::field;

/// Longest line with a chunk's size, bytes.
const SIZE_LINE_BYTES_MAX: usize = 256;
/// Most digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 16;
/// Longest trailers, bytes.
const TRAILERS_BYTES_MAX: usize = 4096;

/// How much of a body is to come.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    /// Before a chunk's size.
    Size,
    /// In a chunk.
    Chunk(u64),
    /// Before the line end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk; holds the bytes of trailers so far.
    Trailers(usize),
}

impl Body {
    pub(super) const fn chunked() -> Body {
        Body::Size
    }

    /// Adds to `passed` how many bytes at the front belong to the body, as far as that can be told. True when it ends there.
    pub(super) fn pass(&mut self, mut rest: &[u8], passed: &mut usize) -> Result<bool, Ambiguity> {
        loop {
            let n = match self {
                Body::Length(left) | Body::Chunk(left) => taken(left, rest),
                Body::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => 2,
                    [] | [b'\r'] => return Ok(false),
                    _ => return Err(Ambiguity::Chunk),
                },
                Body::Size => {
                    let Some(line) = line(rest, SIZE_LINE_BYTES_MAX)? else { return Ok(false) };
                    line.len() + 2
                }
                Body::Trailers(_) => {
                    let Some(line) = line(rest, TRAILERS_BYTES_MAX)? else { return Ok(false) };
                    line.len() + 2
                }
            };
            let over = self.advance(rest.get(..n.saturating_sub(2)).unwrap_or_default())?;
            *passed += n;
            rest = rest.get(n..).unwrap_or_default();
            if over || rest.is_empty() {
                return Ok(over);
            }
        }
    }

    /// Goes on behind a line, or behind bytes that were counted already. True at the body's end.
    fn advance(&mut self, line: &[u8]) -> Result<bool, Ambiguity> {
        match self {
            Body::Length(left) => return Ok(*left == 0),
            Body::Chunk(0) => *self = Body::ChunkEnd,
            Body::Chunk(_) => {}
            Body::ChunkEnd => *self = Body::Size,
            Body::Size => {
                *self = match size(line)? {
                    0 => Body::Trailers(0),
                    size => Body::Chunk(size),
                };
            }
            Body::Trailers(_) if line.is_empty() => return Ok(true),
            Body::Trailers(sum) => {
                if line.starts_with(b" ") || line.starts_with(b"\t") {
                    return Err(Ambiguity::Fold);
                }
                field(line)?;
                *sum += line.len();
                if *sum > TRAILERS_BYTES_MAX {
                    return Err(Ambiguity::Chunk);
                }
            }
        }
        Ok(false)
    }
}

fn taken(left: &mut u64, rest: &[u8]) -> usize {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
    *left -= n as u64;
    n
}

/// The line at the front without its end; `None` when that has not come.
fn line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, Ambiguity> {
    match bytes.iter().take(max).position(|b| *b == b'\n') {
        Some(end) => {
            let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Ambiguity::LineEnd)?;
            if line.contains(&b'\r') { Err(Ambiguity::LineEnd) } else { Ok(Some(line)) }
        }
        None if bytes.len() >= max => Err(Ambiguity::Chunk),
        None => Ok(None),
    }
}

/// The size of a chunk; an extension behind it means nothing (RFC 9112 section 7.1.1).
fn size(line: &[u8]) -> Result<u64, Ambiguity> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (number, rest) = line.split_at_checked(digits).ok_or(Ambiguity::Chunk)?;
    let extension = rest.is_empty() || rest.starts_with(b";");
    let plain = rest.iter().all(|b| !b.is_ascii_control() || *b == b'\t');
    if digits == 0 || digits > SIZE_DIGITS_MAX || !extension || !plain {
        return Err(Ambiguity::Chunk);
    }
    let number = str::from_utf8(number).ok().and_then(|number| u64::from_str_radix(number, 16).ok());
    number.ok_or(Ambiguity::Chunk)
}
