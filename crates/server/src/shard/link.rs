//! One link: its connection and what is on its way out.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use throughline_session::ServerSession;
use throughline_wire::event::Eid;
use throughline_wire::hixie;
use throughline_wire::path::Transport;
use throughline_wire::ws::{Decoder, deflate::Inflater};

use super::frames::Segment;
use super::framing::Framing;
use super::sock::Sock;
use super::uplink::Uplink;
use crate::network::Network;

/// Most slices handed to one vectored write.
const SLICES_MAX: usize = 64;
/// A cut frame's rest of at most this many bytes is copied, so that it does not pin its segment.
const CUT_COPY_BYTES_MAX: usize = 16 * 1024;

/// What a connection is for.
#[derive(Debug)]
pub(crate) enum End {
    /// Carries a session.
    Session(ServerSession),
    /// Gives back what it gets; holds when something was heard last.
    Echo(u64),
}

/// How what the client says reaches a link.
#[derive(Debug)]
pub(crate) enum Inlet {
    /// As frames on the connection itself.
    WebSocket {
        decoder: Decoder,
        /// Only for clients that keep their compression window.
        inflater: Option<Box<Inflater>>,
        deflate: bool,
    },
    /// As the frames of the drafts before version numbers.
    Hixie(Box<hixie::Decoder>),
    /// As pieces that come by requests of their own.
    Http(Box<Uplink>),
}

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// A close frame is on its way or gone; at `deadline` the connection is ended without more ado.
    Closing {
        deadline: u64,
        /// Nothing is awaited from the peer: shut down once everything is written.
        finish: bool,
    },
}

/// Which of the shard's lists of links to flush a link is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// In none.
    No,
    /// Among those whose publishes were answered: events go before answers.
    Answered,
    /// Among those that catch up: their sockets took more, or a page was read for them.
    Behind,
    /// Among those that have a word to say.
    Next,
}

/// A subscription of a link.
#[derive(Debug)]
pub(crate) struct Sub {
    /// Key of the channel's slot in this shard.
    pub(crate) slot: u32,
    /// Place in the slot's member list.
    pub(crate) index: u32,
    /// The last event given.
    pub(crate) cursor: Eid,
    /// It is given nothing now: a page from the disk is on its way, or its channel is being created.
    pub(crate) reading: bool,
}

/// Bytes that have to go out before any event.
#[derive(Debug, Default)]
struct Pending {
    /// The rest of a frame that a write cut.
    cut: Bytes,
    /// Replies, pongs, the close frame.
    control: Vec<u8>,
    /// How much of `control` is gone.
    written: usize,
}

/// One link. Everything that is empty while the link is idle costs eight bytes here.
#[derive(Debug)]
pub(crate) struct Link<S> {
    pub(crate) sock: S,
    pub(crate) generation: u32,
    pub(crate) transport: Transport,
    pub(crate) framing: Framing,
    pub(crate) inlet: Inlet,
    pub(crate) end: End,
    /// Where the client is, for its `welcome`.
    pub(crate) network: Option<Network>,
    pub(crate) life: Life,
    pending: Option<Box<Pending>>,
    pub(crate) subs: Vec<Sub>,
    /// Requests that wait for the disk, and the bytes of publishes among them.
    pub(crate) inflight: u32,
    pub(crate) inflight_bytes: usize,
    /// The socket takes nothing; cleared by the runtime when it does again.
    pub(crate) blocked: bool,
    /// The runtime awaits that it does.
    pub(crate) awaited: bool,
    /// The connection failed; only its reader's word is awaited.
    pub(crate) dead: bool,
    /// Which of the shard's lists of links to flush it is in.
    pub(crate) queued: Queued,
    /// Its reader was told to wait.
    pub(crate) paused: bool,
    /// Bytes of a page read for this link alone; adapts to what its socket takes.
    pub(crate) page_bytes: u32,
}

impl<S: Sock> Link<S> {
    pub(crate) fn new(
        sock: S,
        generation: u32,
        transport: Transport,
        framing: Framing,
        inlet: Inlet,
        end: End,
    ) -> Link<S> {
        Link {
            sock,
            generation,
            transport,
            framing,
            inlet,
            end,
            network: None,
            life: Life::Open,
            pending: None,
            subs: Vec::new(),
            inflight: 0,
            inflight_bytes: 0,
            blocked: false,
            awaited: false,
            dead: false,
            queued: Queued::No,
            paused: false,
            page_bytes: super::PAGE_BYTES_MIN,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// The buffer for what goes out before events.
    pub(crate) fn control(&mut self) -> &mut Vec<u8> {
        &mut self.pending.get_or_insert_default().control
    }

    /// Bytes of control messages that wait.
    pub(crate) fn control_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.control.len() - p.written)
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// True when its socket has not taken all that was tried.
    pub(crate) fn is_behind(&self) -> bool {
        self.blocked || self.pending.as_ref().is_some_and(|p| !p.cut.is_empty() || p.written > 0)
    }

    /// Writes what waits. True when nothing waits any more.
    pub(crate) fn flush_pending(&mut self) -> bool {
        if self.sock.is_behind() {
            let flushed = self.sock.flush().map(|()| 1);
            if self.taken(flushed) == 0 {
                return false;
            }
        }
        let Some(mut pending) = self.pending.take() else { return true };
        while !self.blocked && !pending.cut.is_empty() {
            let n = self.try_write(&pending.cut);
            pending.cut.advance(n);
        }
        while !self.blocked && pending.written < pending.control.len() {
            pending.written += self.try_write(&pending.control[pending.written..]);
        }
        if pending.cut.is_empty() && pending.written == pending.control.len() {
            return true;
        }
        if pending.written > 64 * 1024 {
            pending.control.drain(..pending.written);
            pending.written = 0;
        }
        self.pending = Some(pending);
        false
    }

    /// Writes once; 0 and `blocked` when the socket takes nothing.
    fn try_write(&mut self, bytes: &[u8]) -> usize {
        let result = self.sock.write(bytes);
        self.taken(result)
    }

    fn taken(&mut self, result: io::Result<usize>) -> usize {
        match result {
            Ok(n) if n > 0 => {
                // Nobody else would see to what is left.
                self.blocked = self.sock.is_behind();
                n
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                0
            }
            Ok(_) | Err(_) => {
                // The peer is gone. Its reader learns of it and removes the link; until then nothing is written.
                self.sock.abort();
                self.blocked = true;
                self.dead = true;
                0
            }
        }
    }

    /// Writes the segments after `cursor` as far as the socket takes them, and keeps the rest of a cut frame.
    pub(crate) fn write_segments(&mut self, segments: &[Arc<Segment>], cursor: Eid) -> Written {
        let Some((first, others)) = segments.split_first() else { return Written::nothing(cursor) };
        let start = first.offset_after(cursor);
        if others.is_empty() {
            return self.write_segment(first, cursor, start);
        }
        let mut written = self.write_vectored(segments, start);
        let mut total = Written::nothing(cursor);
        for (i, segment) in segments.iter().enumerate() {
            let from = if i == 0 { start } else { 0 };
            let length = segment.bytes.len() - from;
            let part = written.min(length);
            written -= part;
            total.add(self.account(segment, from, from + part, total.cursor));
            if part < length {
                break;
            }
        }
        total
    }

    pub(crate) fn write_segment(&mut self, segment: &Segment, cursor: Eid, start: usize) -> Written {
        let mut at = start;
        while !self.blocked && at < segment.bytes.len() {
            at += self.try_write(&segment.bytes[at..]);
        }
        self.account(segment, start, at, cursor)
    }

    fn write_vectored(&mut self, segments: &[Arc<Segment>], start: usize) -> usize {
        let total = segments.iter().map(|s| s.bytes.len()).sum::<usize>() - start;
        let mut done = 0;
        while !self.blocked && done < total {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let (mut skip, mut used) = (start + done, 0);
            for segment in segments {
                if skip >= segment.bytes.len() {
                    skip -= segment.bytes.len();
                    continue;
                }
                if used == SLICES_MAX {
                    break;
                }
                slices[used] = IoSlice::new(&segment.bytes[skip..]);
                skip = 0;
                used += 1;
            }
            let result = self.sock.write_vectored(&slices[..used]);
            done += self.taken(result);
        }
        done
    }

    /// What writing `segment` from `start` to `end` means for the cursor. A frame that was cut counts as given,
    /// since its rest goes out before anything else.
    fn account(&mut self, segment: &Segment, start: usize, end: usize, cursor: Eid) -> Written {
        if end == start {
            return Written::nothing(cursor);
        }
        let before = segment.frames.partition_point(|f| f.offset <= start);
        let whole = segment.frames.partition_point(|f| f.offset <= end);
        let mut given = whole;
        if let Some(cut) = segment.frames.get(whole)
            && end > whole.checked_sub(1).map_or(0, |i| segment.frames[i].offset)
        {
            given += 1;
            let rest = segment.bytes.slice(end..cut.offset);
            let copy = rest.len() <= CUT_COPY_BYTES_MAX;
            self.pending.get_or_insert_default().cut = if copy { Bytes::copy_from_slice(&rest) } else { rest };
        }
        let last = given.checked_sub(1).and_then(|i| segment.frames.get(i)).map_or(cursor, |f| f.eid);
        Written { cursor: last, frames: given - before, bytes: end - start }
    }
}

/// The outcome of a write of frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// The last event given.
    pub(crate) cursor: Eid,
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Written {
    fn nothing(cursor: Eid) -> Written {
        Written { cursor, frames: 0, bytes: 0 }
    }

    fn add(&mut self, more: Written) {
        self.cursor = more.cursor;
        self.frames += more.frames;
        self.bytes += more.bytes;
    }
}
