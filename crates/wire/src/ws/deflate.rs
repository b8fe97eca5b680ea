//! permessage-deflate (RFC 7692): what is agreed, and the two directions of the data.

mod negotiate;

pub(super) use negotiate::{agree, check_answer};

use alloc::vec::Vec;
use core::fmt;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::Rule;

/// Compression level, 1 to 9: small JSON gains little above it and costs much more.
pub const LEVEL: i32 = 3;
/// Smallest window that DEFLATE here can keep to; an agreement on 8 is declined.
pub const WINDOW_BITS_MIN: u8 = 9;
/// Largest window of DEFLATE.
pub const WINDOW_BITS_MAX: u8 = 15;

/// What a flush leaves at the end of a message and RFC 7692 section 7.2.1 takes off.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// Memory that an inflater keeps for the next message, bytes.
const RETAINED_BYTES: usize = 64 * 1024;
/// How much more room an inflater makes at first, bytes.
const FIRST_BYTES: usize = 4 * 1024;
/// Most DEFLATE streams in one message: each end of a stream costs a copy of the window.
const STREAMS_MAX: usize = 64;

/// What a server is ready to agree to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Keep a window per client (about 48 KiB each) so that its messages compress better. Default false.
    pub client_context_takeover: bool,
}

/// What both sides agreed to. The server never keeps its window between messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Window of what the server sends, 9 to 15.
    pub server_max_window_bits: u8,
    /// Window of what the client sends, 9 to 15; also 8 at a client, which then must not compress what it sends.
    pub client_max_window_bits: u8,
    /// The client may refer to its earlier messages.
    pub client_context_takeover: bool,
}

/// Compresses messages, each for itself, so that one result serves any number of receivers.
pub struct Compressor {
    deflate: Deflate,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor whose window has 2^`window_bits` bytes; `window_bits` is brought into 9 to 15.
    pub fn new(window_bits: u8) -> Compressor {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        Compressor { deflate: Deflate::new(LEVEL, false, window_bits) }
    }

    /// Appends the payload of a compressed message (RFC 7692 section 7.2.1).
    pub fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.deflate.reset();
        let start = out.len();
        let mut written = start;
        let mut rest = payload;
        loop {
            // Room for the flush's marker as well, so that it is not written twice.
            out.resize(written + rest.len() + rest.len() / 8 + 64, 0);
            let (before_in, before_out) = (self.deflate.total_in(), self.deflate.total_out());
            let space = out.get_mut(written..).unwrap_or_default();
            let room = space.len() as u64;
            let result = self.deflate.compress(rest, space, DeflateFlush::SyncFlush);
            let produced = self.deflate.total_out() - before_out;
            let consumed = (self.deflate.total_in() - before_in) as usize;
            written += produced as usize;
            rest = rest.get(consumed..).unwrap_or_default();
            if result.is_err() || produced < room {
                break;
            }
        }
        out.truncate(written);
        if out.get(start..).is_some_and(|message| message.ends_with(&TAIL)) {
            out.truncate(written - TAIL.len());
        }
    }
}

/// Inflates messages. Without context takeover it keeps nothing between messages, and one serves many connections.
pub struct Inflater {
    inflate: Inflate,
    takeover: bool,
    /// Room for a message; its first `filled` bytes are the present one.
    output: Vec<u8>,
    filled: usize,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("takeover", &self.takeover).finish_non_exhaustive()
    }
}

impl Inflater {
    /// An inflater for a window of 2^`window_bits` bytes, brought into 9 to 15. With `takeover` it belongs to one
    /// connection for all its life.
    pub fn new(window_bits: u8, takeover: bool) -> Inflater {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        Inflater { inflate: Inflate::new(false, window_bits), takeover, output: Vec::new(), filled: 0 }
    }

    /// Gives back memory that an unusually long message took.
    pub(super) fn trim(&mut self) {
        if self.output.capacity() > RETAINED_BYTES {
            self.output = Vec::new();
        }
    }

    /// Inflates one message; never holds more than `bytes_max` bytes of it (or the few that are kept anyway).
    pub(super) fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], Rule> {
        if !self.takeover {
            self.inflate.reset(false);
        }
        self.filled = 0;
        let mut streams = 0;
        let ended = self.feed(payload, bytes_max, &mut streams)?;
        // A message that ends with its last block needs no tail, and a tail is no stream of its own.
        if !ended {
            self.feed(&TAIL, bytes_max, &mut streams)?;
        }
        Ok(self.output.get(..self.filled).unwrap_or_default())
    }

    /// Inflates `input` to its end; true if a stream ended exactly there.
    fn feed(&mut self, mut input: &[u8], bytes_max: usize, streams: &mut usize) -> Result<bool, Rule> {
        loop {
            self.make_room(bytes_max);
            // With the limit reached, a byte more than it shows that the message is longer.
            let mut probe = [0];
            let full = self.filled >= bytes_max;
            let end = self.output.len().min(bytes_max);
            let space = if full { &mut probe[..] } else { self.output.get_mut(self.filled..end).unwrap_or_default() };
            let room = space.len();
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, space, InflateFlush::SyncFlush).map_err(|_| Rule::Deflate)?;
            let consumed = (self.inflate.total_in() - before_in) as usize;
            let produced = (self.inflate.total_out() - before_out) as usize;
            if full && produced > 0 {
                return Err(Rule::TooBig(bytes_max));
            }
            self.filled += produced;
            input = input.get(consumed..).unwrap_or_default();
            if status == Status::StreamEnd {
                self.next_stream(streams)?;
                if input.is_empty() {
                    return Ok(true);
                }
            } else if produced < room {
                return if input.is_empty() { Ok(false) } else { Err(Rule::Deflate) };
            }
        }
    }

    /// Doubles the room when it is used up, up to the limit.
    fn make_room(&mut self, bytes_max: usize) {
        if self.filled == self.output.len() && self.filled < bytes_max {
            let room = self.filled.saturating_mul(2).max(FIRST_BYTES).min(bytes_max);
            self.output.reserve_exact(room - self.filled);
            self.output.resize(room, 0);
        }
    }

    /// After a block marked as the last one, another stream may follow in the same message, and may refer to what the
    /// message held before (RFC 7692 section 7.2.3.4).
    fn next_stream(&mut self, streams: &mut usize) -> Result<(), Rule> {
        *streams += 1;
        if *streams > STREAMS_MAX {
            return Err(Rule::Deflate);
        }
        self.inflate.reset(false);
        let window = self.filled.saturating_sub(1 << WINDOW_BITS_MAX);
        let history = self.output.get(window..self.filled).unwrap_or_default();
        if !history.is_empty() {
            self.inflate.set_dictionary(history).map_err(|_| Rule::Deflate)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Compressor, Inflater, RETAINED_BYTES, Rule};
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let limit = 1 << 20;
        let mut compressed = Vec::new();
        Compressor::new(15).compress(&vec![0; 20 * limit], &mut compressed);
        let mut inflater = Inflater::new(15, false);
        assert_eq!(inflater.inflate(&compressed, limit), Err(Rule::TooBig(limit)));
        assert!(inflater.output.capacity() <= limit);
        inflater.trim();
        assert!(inflater.output.capacity() <= RETAINED_BYTES);
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let mut compressor = Compressor::new(15);
        let mut inflater = Inflater::new(15, false);
        for length in [0, 1, 4095, 4096, 4097, 70_000] {
            let payload = vec![b'x'; length];
            let mut compressed = Vec::new();
            compressor.compress(&payload, &mut compressed);
            assert_eq!(inflater.inflate(&compressed, length), Ok(&payload[..]));
            if length > 0 {
                assert_eq!(inflater.inflate(&compressed, length - 1), Err(Rule::TooBig(length - 1)));
            }
        }
    }

    #[test]
    fn endless_streams_in_a_message_are_refused() {
        // An empty last block of fixed codes is ten bits.
        let many = [0x03, 0x00].repeat(1000);
        assert_eq!(Inflater::new(15, false).inflate(&many, 1000), Err(Rule::Deflate));
    }

    #[test]
    fn broken_data_do_not_spoil_the_next_message() {
        let mut compressed = Vec::new();
        Compressor::new(9).compress(b"good", &mut compressed);
        let mut inflater = Inflater::new(15, false);
        for broken in [&[0xFF_u8, 0xFF, 0xFF][..], &[0x06], &[0x00, 0x01, 0x00]] {
            assert_eq!(inflater.inflate(broken, 1000), Err(Rule::Deflate), "{broken:?}");
            assert_eq!(inflater.inflate(&compressed, 1000), Ok(&b"good"[..]));
        }
    }
}
