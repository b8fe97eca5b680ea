//! The client's side of WebSocket: messages to masked frames, bytes to messages.

use throughline_wire::message::MessageKind;
use throughline_wire::ws::deflate::{Agreed, Compressor, Inflater};
use throughline_wire::ws::{Decoder, Message, Opcode, Role, write_masked_close, write_masked_frame};

use crate::checker::Violation;
use crate::random::Random;

/// Largest message that a client takes, bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A protocol message in text carriage.
    Text(Vec<u8>),
    /// A protocol message in binary carriage.
    Binary(Vec<u8>),
    /// The connection is being closed with this code.
    Close(u16, String),
    /// A ping or a pong of WebSocket.
    Control,
}

/// One connection's framing.
pub struct Framing {
    decoder: Decoder,
    deflate: Option<Box<(Compressor, Inflater)>>,
    random: Random,
}

impl std::fmt::Debug for Framing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framing").finish_non_exhaustive()
    }
}

impl Framing {
    /// As the handshake agreed.
    pub fn new(deflate: Option<Agreed>, random: Random) -> Framing {
        let both = |agreed: Agreed| {
            let inflater = Inflater::new(agreed.server_max_window_bits, false);
            Box::new((Compressor::new(agreed.client_max_window_bits), inflater))
        };
        let decoder = Decoder::new(Role::Client, deflate.is_some());
        Framing { decoder, deflate: deflate.map(both), random }
    }

    fn key(&mut self) -> [u8; 4] {
        (self.random.next() as u32).to_ne_bytes()
    }

    /// Appends a message, compressed or not.
    pub fn write(&mut self, kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        let key = self.key();
        let compress = self.random.one_in(2);
        match &mut self.deflate {
            Some(both) if compress => {
                let mut small = Vec::new();
                both.0.compress(payload, &mut small);
                write_masked_frame(out, opcode, true, &small, key);
            }
            _ => write_masked_frame(out, opcode, false, payload, key),
        }
    }

    /// Appends a close frame.
    pub fn write_close(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) {
        let key = self.key();
        write_masked_close(out, code, reason, key);
    }

    /// Takes bytes that came; gives the messages that they complete.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<Vec<Frame>, Violation> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        loop {
            let mut taken = 0;
            let Some(frame) = self.next_frame(rest, &mut taken)? else { return Ok(frames) };
            frames.push(frame);
            rest = rest.split_at_mut(taken).1;
        }
    }

    fn next_frame(&mut self, bytes: &mut [u8], taken: &mut usize) -> Result<Option<Frame>, Violation> {
        let total = bytes.len();
        let mut rest = bytes;
        let inflater = self.deflate.as_mut().map(|both| &mut both.1);
        let message = self.decoder.decode(&mut rest, inflater, MESSAGE_BYTES_MAX);
        let message = message.map_err(|v| format!("the server broke the framing: {v:?}"))?;
        *taken = total - rest.len();
        Ok(message.map(|message| match message {
            Message::Text(text) => Frame::Text(text.as_bytes().to_vec()),
            Message::Binary(bytes) => Frame::Binary(bytes.to_vec()),
            Message::Close(Some((code, reason))) => Frame::Close(code, reason.to_owned()),
            Message::Close(None) => Frame::Close(1005, String::new()),
            Message::Ping(_) | Message::Pong(_) => Frame::Control,
        }))
    }
}
