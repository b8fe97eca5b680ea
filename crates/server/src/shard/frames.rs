//! Events as frames, encoded once for all who receive them.
//!
//! A [`FrameLog`] holds the latest frames of one channel in one framing, in segments that are shared by reference
//! among all links of all shards. A link that has fallen below the log's tail encodes for itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use throughline_engine::{Channel, Page, Read, ReadLimit};
use throughline_wire::event::{Eid, Event};
use throughline_wire::hixie;
use throughline_wire::http::write_chunk;
use throughline_wire::message::{Gap, MessageKind, ServerMessage, encode_event, encode_event_text};
use throughline_wire::ws::{self, Opcode, deflate::Compressor};

use super::framing::Framing;

/// Bytes of event bodies that go into one segment.
const SEGMENT_BYTES: usize = 64 * 1024;
/// Events that go into one segment.
const SEGMENT_EVENTS: usize = 2048;
/// Segments a log keeps for links that are a little behind.
const LOG_SEGMENTS_MAX: usize = 128;
/// Bytes of frames a log keeps.
const LOG_BYTES_MAX: usize = 1024 * 1024;

/// The end of a frame in its segment, and the cursor of one who was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameEnd {
    pub(crate) offset: usize,
    pub(crate) eid: Eid,
}

/// Frames in a row.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// The cursor of one who was given nothing of this segment.
    pub(crate) after: Eid,
    pub(crate) bytes: Bytes,
    pub(crate) frames: Vec<FrameEnd>,
}

impl Segment {
    pub(crate) fn last(&self) -> Eid {
        self.frames.last().map_or(self.after, |f| f.eid)
    }

    /// Where the bytes after `cursor` begin.
    pub(crate) fn offset_after(&self, cursor: Eid) -> usize {
        match self.frames.partition_point(|f| f.eid <= cursor) {
            0 => 0,
            n => self.frames[n - 1].offset,
        }
    }
}

/// Encodes frames; one per shard, since it holds the compressors.
#[derive(Debug)]
pub(crate) struct Encoder {
    message: Vec<u8>,
    packed: Vec<u8>,
    compressors: HashMap<u8, Compressor>,
    compression_bytes_min: usize,
}

impl Encoder {
    /// Messages below `compression_bytes_min` are never compressed; with zero, every one is, even if it grows.
    pub(crate) fn new(compression_bytes_min: usize) -> Encoder {
        Encoder { message: Vec::new(), packed: Vec::new(), compressors: HashMap::new(), compression_bytes_min }
    }

    /// Appends one whole message. Over HTTP and in the old drafts it has to be text.
    pub(crate) fn frame(&mut self, framing: Framing, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        let window_bits = match framing {
            Framing::Http { form, chunked: false } => return form.write(payload, out),
            Framing::Http { form, chunked: true } => {
                self.packed.clear();
                form.write(payload, &mut self.packed);
                return write_chunk(&[&self.packed], out);
            }
            Framing::Hixie => return hixie::write_text(out, payload),
            Framing::Plain => None,
            Framing::Deflated(window_bits) => Some(window_bits).filter(|_| payload.len() >= self.compression_bytes_min),
        };
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        let Some(window_bits) = window_bits else { return ws::write_frame(out, opcode, false, payload) };
        let compressor = self.compressors.entry(window_bits).or_insert_with(|| Compressor::new(window_bits));
        self.packed.clear();
        compressor.compress(payload, &mut self.packed);
        if self.packed.len() < payload.len() || self.compression_bytes_min == 0 {
            ws::write_frame(out, opcode, true, &self.packed);
        } else {
            ws::write_frame(out, opcode, false, payload);
        }
    }

    pub(crate) fn message(&mut self, framing: Framing, message: &ServerMessage, out: &mut Vec<u8>) {
        let mut text = std::mem::take(&mut self.message);
        text.clear();
        let kind = message.encode(&mut text);
        self.frame(framing, kind, &text, out);
        self.message = text;
        self.relax();
    }

    fn event(&mut self, framing: Framing, channel: u32, event: &Event, out: &mut Vec<u8>) {
        let mut text = std::mem::take(&mut self.message);
        text.clear();
        let kind = match framing {
            Framing::Hixie | Framing::Http { .. } => {
                encode_event_text(channel, event, &mut text);
                MessageKind::Text
            }
            Framing::Plain | Framing::Deflated(_) => encode_event(channel, event, &mut text),
        };
        self.frame(framing, kind, &text, out);
        self.message = text;
    }

    /// Encodes a page for one link: its gap first, then its events.
    pub(crate) fn page(&mut self, framing: Framing, channel: u32, after: Eid, page: &Page) -> Segment {
        let mut out = Vec::with_capacity(page.events.iter().map(|e| e.body.weight() + 96).sum());
        let mut frames = Vec::with_capacity(page.events.len() + 1);
        if let Some(gap) = page.gap {
            self.message(framing, &ServerMessage::Gap { channel, gap }, &mut out);
            frames.push(FrameEnd { offset: out.len(), eid: end_of(&gap, after) });
        }
        for event in &page.events {
            self.event(framing, channel, event, &mut out);
            frames.push(FrameEnd { offset: out.len(), eid: event.eid });
        }
        self.relax();
        Segment { after, bytes: Bytes::from(out), frames }
    }

    /// One large event must not pin its size for ever.
    fn relax(&mut self) {
        for buffer in [&mut self.message, &mut self.packed] {
            if buffer.capacity() > 4 * SEGMENT_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// The cursor after a gap was reported.
fn end_of(gap: &Gap, after: Eid) -> Eid {
    if gap.to == Eid::NONE { after } else { gap.to }
}

/// A log, as shards hold it.
type SharedLog = Arc<Mutex<FrameLog>>;

/// The latest frames of one channel in one framing.
#[derive(Debug)]
pub(crate) struct FrameLog {
    segments: VecDeque<Arc<Segment>>,
    bytes: usize,
    /// The cursor of one who was given everything in the log.
    head: Eid,
    /// How many segments came before the first of `segments`, so that a shard knows what its view lacks.
    gone: u64,
    /// True when something was added since the last [`FrameLog::rest`].
    used: bool,
}

/// A shard's view of a log: no lock is taken while links are walked.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) framing: Framing,
    log: SharedLog,
    /// As in the log.
    gone: u64,
    segments: Vec<Arc<Segment>>,
}

impl View {
    pub(crate) fn new(framing: Framing, log: SharedLog) -> View {
        View { framing, log, gone: 0, segments: Vec::new() }
    }

    /// Brings the log up to what the channel has now, and the view up to the log.
    pub(crate) fn refresh(&mut self, channel: &Channel, encoder: &mut Encoder, now: u64) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.advance(channel, self.framing, encoder, now);
        // What both have is left as it is: each reference that is taken touches memory that is cold by now.
        let left = (log.gone - self.gone).min(self.segments.len() as u64);
        self.segments.drain(..left as usize);
        self.gone = log.gone;
        self.segments.extend(log.segments.range(self.segments.len()..).cloned());
    }

    /// Segments that hold what comes after `cursor`, or `None` when the log does not reach back so far.
    pub(crate) fn after(&self, cursor: Eid) -> Option<&[Arc<Segment>]> {
        let newest = self.segments.len().saturating_sub(1);
        let first = match self.segments.last() {
            // Most links lack nothing but the newest.
            Some(segment) if segment.after <= cursor && cursor < segment.last() => newest,
            _ => self.segments.partition_point(|s| s.last() <= cursor),
        };
        let tail = &self.segments[first..];
        match tail.first() {
            Some(segment) if segment.after <= cursor => Some(tail),
            _ => None,
        }
    }

    /// Lets go of frames when nothing was published for a while. Returns true when nothing is held any more.
    pub(crate) fn rest(&mut self) -> bool {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.rest() {
            self.gone = log.gone;
            self.segments = Vec::new();
        }
        self.segments.is_empty()
    }
}

impl FrameLog {
    /// An empty log; frames begin after `head`.
    fn new(head: Eid) -> FrameLog {
        FrameLog { segments: VecDeque::new(), bytes: 0, head, gone: 0, used: false }
    }

    fn advance(&mut self, channel: &Channel, framing: Framing, encoder: &mut Encoder, now: u64) {
        let limit = ReadLimit { events: SEGMENT_EVENTS, bytes: SEGMENT_BYTES };
        while self.head < channel.head() {
            let Read::Page(page) = channel.read(self.head, limit, now) else {
                // What follows the head is on disk only: the log begins anew with the next event.
                self.restart(channel.head());
                return;
            };
            if let Some(gap) = page.gap {
                self.restart(end_of(&gap, self.head));
            }
            if page.events.is_empty() {
                self.restart(page.next.max(self.head));
                return;
            }
            self.push(encoder.page(framing, channel.number(), self.head, &Page { gap: None, ..page }));
        }
    }

    /// Frames up to `head` are not in the log, and those before are of no use.
    fn restart(&mut self, head: Eid) {
        self.gone += self.segments.len() as u64;
        self.segments.clear();
        self.bytes = 0;
        self.head = head;
    }

    fn push(&mut self, segment: Segment) {
        self.bytes += segment.bytes.len();
        self.head = segment.last();
        self.segments.push_back(Arc::new(segment));
        while self.segments.len() > LOG_SEGMENTS_MAX || (self.bytes > LOG_BYTES_MAX && self.segments.len() > 1) {
            if let Some(old) = self.segments.pop_front() {
                self.bytes -= old.bytes.len();
                self.gone += 1;
            }
        }
        self.used = true;
    }

    /// Empties a log that was not used since the last call; true when it is empty.
    fn rest(&mut self) -> bool {
        if !std::mem::take(&mut self.used) && !self.segments.is_empty() {
            self.restart(self.head);
            self.segments.shrink_to_fit();
        }
        self.segments.is_empty()
    }
}

/// All logs of a realm, shared by its shards.
#[derive(Debug, Default)]
pub(crate) struct FrameLogs {
    logs: Mutex<HashMap<(u32, Framing), SharedLog>>,
}

impl FrameLogs {
    /// The log of a channel in a framing; a new one begins at the channel's head.
    pub(crate) fn get(&self, channel: &Channel, framing: Framing) -> SharedLog {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry((channel.number(), framing));
        log.or_insert_with(|| Arc::new(Mutex::new(FrameLog::new(channel.head())))).clone()
    }

    /// Forgets logs that no shard holds any more.
    pub(crate) fn sweep(&self) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|_, log| Arc::strong_count(log) > 1);
    }
}
