//! A WebSocket connection of a client (RFC 6455, RFC 7692), for any server: sessions travel on it, and test suites drive it.

mod masks;
mod open;

use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use throughline_wire::ws::deflate::{Agreed, Compressor, Inflater};
use throughline_wire::ws::{self, Decoder, Opcode, Role, Violation};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::ConnectError;
use crate::net::Stream;
use crate::url::RealmUrl;
use masks::Masks;

/// Bytes taken by one read.
const READ_BYTES: usize = 64 << 10;
/// Messages below this many bytes are not compressed: they would hardly shrink.
const COMPRESSED_BYTES_MIN: usize = 256;
/// Output beyond this is not kept allocated once it is sent, bytes.
const OUTPUT_KEPT_BYTES: usize = 1 << 20;

/// How a connection is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// Offer the subprotocol `throughline.v1`. Default false.
    pub subprotocol: bool,
    /// Offer `permessage-deflate`. Default false.
    pub deflate: bool,
    /// Compress messages from this many bytes on, when compression was agreed. Default 256.
    pub compressed_bytes_min: usize,
    /// Time for the TCP connection, and again for the handshake, milliseconds. Default 10,000.
    pub open_timeout_ms: u64,
    /// Longest message taken, bytes, after inflation. Default 64 MiB.
    pub message_bytes_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> ConnectionOptions {
        ConnectionOptions {
            subprotocol: false,
            deflate: false,
            compressed_bytes_min: COMPRESSED_BYTES_MIN,
            open_timeout_ms: 10_000,
            message_bytes_max: 64 << 20,
        }
    }
}

/// A message or control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text message; received ones are valid UTF-8.
    Text(&'a [u8]),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping. Received ones have been answered.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The end: code, if it has one, and reason. A received one has been answered.
    Close(Option<u16>, &'a str),
}

/// A message that was received whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// The other side closed: code, if it gave one, and reason.
    Close(Option<u16>, String),
}

/// Why a connection is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The system's word.
    Io(io::Error),
    /// The server ended the connection without a close frame.
    Ended,
    /// The server broke a rule of WebSocket.
    Violation(Violation),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(error) => write!(f, "the connection broke: {error}"),
            Fault::Ended => f.write_str("the server, or something on the way, ended the connection without a word"),
            Fault::Violation(violation) => write!(f, "the server broke a rule of WebSocket: {violation}"),
        }
    }
}

impl std::error::Error for Fault {}

/// One connection. Nothing runs behind it: bytes move while [`exchange`](Connection::exchange), [`recv`](Connection::recv)
/// or [`flush`](Connection::flush) is awaited.
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    inflater: Option<Inflater>,
    compressor: Option<Compressor>,
    compressed: Vec<u8>,
    compressed_bytes_min: usize,
    message_bytes_max: usize,
    input: Box<[u8]>,
    /// What of `input` is still to be decoded.
    start: usize,
    end: usize,
    output: Vec<u8>,
    written: usize,
    /// The stream holds some of what was written.
    unflushed: bool,
    masks: Masks,
    close_sent: bool,
    /// The server ended its side.
    ended: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to `url` and makes the handshake for `target`, a path with its query.
    pub async fn open(url: &RealmUrl, target: &str, options: &ConnectionOptions) -> Result<Connection, ConnectError> {
        open::open(url, target, options).await
    }

    pub(crate) fn new(
        stream: Stream,
        agreed: Option<Agreed>,
        leftover: &[u8],
        options: &ConnectionOptions,
    ) -> Connection {
        let mut input = vec![0; READ_BYTES.max(leftover.len())].into_boxed_slice();
        if let Some(front) = input.get_mut(..leftover.len()) {
            front.copy_from_slice(leftover);
        }
        Connection {
            stream,
            decoder: Decoder::new(Role::Client, agreed.is_some()),
            inflater: agreed.as_ref().map(open::inflater),
            compressor: agreed.as_ref().and_then(open::compressor),
            compressed: Vec::new(),
            compressed_bytes_min: options.compressed_bytes_min,
            message_bytes_max: options.message_bytes_max,
            input,
            start: 0,
            end: leftover.len(),
            output: Vec::new(),
            written: 0,
            unflushed: false,
            masks: Masks::default(),
            close_sent: false,
            ended: false,
        }
    }

    /// Bytes that wait to be sent.
    pub const fn queued_bytes(&self) -> usize {
        self.output.len() - self.written
    }

    /// Encodes a frame; it is sent by [`exchange`](Connection::exchange), [`recv`](Connection::recv) or
    /// [`flush`](Connection::flush). After a close nothing is sent any more.
    pub fn queue(&mut self, frame: Frame<'_>) {
        if self.close_sent {
            return;
        }
        match frame {
            Frame::Text(bytes) => self.queue_message(Opcode::Text, bytes),
            Frame::Binary(bytes) => self.queue_message(Opcode::Binary, bytes),
            Frame::Ping(bytes) => self.queue_plain(Opcode::Ping, bytes),
            Frame::Pong(bytes) => self.queue_plain(Opcode::Pong, bytes),
            Frame::Close(code, reason) => {
                self.close_sent = true;
                match code {
                    Some(code) => ws::write_masked_close(&mut self.output, code, reason, self.masks.next()),
                    None => self.queue_plain(Opcode::Close, &[]),
                }
            }
        }
    }

    fn queue_plain(&mut self, opcode: Opcode, bytes: &[u8]) {
        ws::write_masked_frame(&mut self.output, opcode, false, bytes, self.masks.next());
    }

    fn queue_message(&mut self, opcode: Opcode, bytes: &[u8]) {
        match &mut self.compressor {
            Some(compressor) if bytes.len() >= self.compressed_bytes_min => {
                self.compressed.clear();
                compressor.compress(bytes, &mut self.compressed);
                ws::write_masked_frame(&mut self.output, opcode, true, &self.compressed, self.masks.next());
            }
            _ => self.queue_plain(opcode, bytes),
        }
    }

    /// Waits until bytes were sent, or, if `reading`, came or the server ended its side. Cancel-safe.
    /// What came has to be taken by [`receive`](Connection::receive) before the next call.
    pub async fn exchange(&mut self, reading: bool) -> Result<(), Fault> {
        if reading && self.has_input() {
            return Ok(());
        }
        if !reading && self.queued_bytes() == 0 && !self.unflushed {
            return pending().await;
        }
        poll_fn(|cx| {
            let wrote = self.poll_write(cx)?;
            let read = reading && self.poll_read(cx)?;
            if wrote || read { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Writes what is queued; true when some of it was taken.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut wrote = false;
        while self.queued_bytes() > 0 {
            let rest = self.output.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(Fault::Io(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(e)) => return Err(Fault::Io(e)),
                Poll::Pending => return Ok(wrote),
            }
            (wrote, self.unflushed) = (true, true);
        }
        if self.written > 0 {
            self.written = 0;
            self.output.clear();
            self.output.shrink_to(OUTPUT_KEPT_BYTES);
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => (wrote, self.unflushed) = (true, false),
                Poll::Ready(Err(e)) => return Err(Fault::Io(e)),
                Poll::Pending => {}
            }
        }
        Ok(wrote)
    }

    /// Reads once; true when bytes or the end came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut buffer = ReadBuf::new(&mut self.input);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(e)) => return Err(Fault::Io(e)),
            Poll::Pending => return Ok(false),
        }
        match buffer.filled().len() {
            0 => self.ended = true,
            n => (self.start, self.end) = (0, n),
        }
        Ok(true)
    }

    /// True when [`receive`](Connection::receive) has something to do.
    pub(crate) const fn has_input(&self) -> bool {
        self.start < self.end || self.ended
    }

    /// Gives all that came to `sink`. Pings are answered here, and a close is.
    pub fn receive(&mut self, mut sink: impl FnMut(Frame<'_>)) -> Result<(), Fault> {
        while self.receive_one(&mut sink)? {}
        if self.ended { Err(Fault::Ended) } else { Ok(()) }
    }

    /// Gives the next frame to `sink`; false when more bytes are needed.
    fn receive_one(&mut self, mut sink: impl FnMut(Frame<'_>)) -> Result<bool, Fault> {
        let Connection { input, start, end, decoder, inflater, output, masks, close_sent, .. } = self;
        let mut rest = input.get_mut(*start..*end).unwrap_or_default();
        let decoded = decoder.decode(&mut rest, inflater.as_mut(), self.message_bytes_max);
        *start = *end - rest.len();
        let mut answer = |opcode, bytes: &[u8]| {
            if !*close_sent {
                ws::write_masked_frame(output, opcode, false, bytes, masks.next());
            }
        };
        match decoded {
            Ok(None) => return Ok(false),
            Ok(Some(ws::Message::Text(text))) => sink(Frame::Text(text.as_bytes())),
            Ok(Some(ws::Message::Binary(bytes))) => sink(Frame::Binary(bytes)),
            Ok(Some(ws::Message::Pong(bytes))) => sink(Frame::Pong(bytes)),
            Ok(Some(ws::Message::Ping(bytes))) => {
                answer(Opcode::Pong, bytes);
                sink(Frame::Ping(bytes));
            }
            Ok(Some(ws::Message::Close(said))) => {
                let (code, reason) = said.map_or((None, ""), |(code, reason)| (Some(code), reason));
                sink(Frame::Close(code, reason));
                // Nothing after a close counts (RFC 6455 section 5.5.1).
                *start = *end;
                self.queue(Frame::Close(code, ""));
            }
            Err(violation) => {
                *start = *end;
                let close = violation.close();
                self.queue(Frame::Close(Some(close.code.code()), &close.reason));
                return Err(Fault::Violation(violation));
            }
        }
        Ok(true)
    }

    /// Waits for the next message; control frames but the close are dealt with on the way. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Message, Fault> {
        let mut message = None;
        loop {
            let some = self.receive_one(|frame| {
                message = match frame {
                    Frame::Text(bytes) => Some(Message::Text(String::from_utf8_lossy(bytes).into_owned())),
                    Frame::Binary(bytes) => Some(Message::Binary(bytes.to_vec())),
                    Frame::Close(code, reason) => Some(Message::Close(code, reason.to_owned())),
                    Frame::Ping(_) | Frame::Pong(_) => None,
                };
            })?;
            if let Some(message) = message.take() {
                return Ok(message);
            }
            if !some {
                if self.ended {
                    return Err(Fault::Ended);
                }
                self.exchange(true).await?;
            }
        }
    }

    /// Queues a frame and waits until it is sent.
    pub async fn send(&mut self, frame: Frame<'_>) -> Result<(), Fault> {
        self.queue(frame);
        self.flush().await
    }

    /// Waits until everything queued is sent.
    pub async fn flush(&mut self) -> Result<(), Fault> {
        while self.queued_bytes() > 0 || self.unflushed {
            self.exchange(false).await?;
        }
        Ok(())
    }

    /// Closes: sends a close frame unless one was sent, then reads until the server ends the connection, as it should
    /// first (RFC 6455 section 7.1.1). It is for the caller to limit the time.
    pub async fn finish(&mut self, code: u16, reason: &str) {
        self.queue(Frame::Close(Some(code), reason));
        // What fails now has no consequence: the connection is over in any case.
        if self.flush().await.is_err() {
            return;
        }
        while !self.ended {
            self.start = self.end;
            if self.exchange(true).await.is_err() {
                return;
            }
        }
    }
}
