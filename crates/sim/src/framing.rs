//! How whole messages lie in the bytes of a connection.

use throughline_wire::message::MessageKind;

/// A message that came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A protocol message in text carriage.
    Text(Vec<u8>),
    /// A protocol message in binary carriage.
    Binary(Vec<u8>),
    /// The connection is being closed with this code.
    Close(u16, String),
}

const CLOSE: u8 = 8;

/// Appends a message.
pub fn write(kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
    let tag = match kind {
        MessageKind::Text => 1,
        MessageKind::Binary => 2,
    };
    frame(tag, payload, out);
}

/// Appends a close.
pub fn write_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
    frame(CLOSE, &payload, out);
}

fn frame(tag: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
}

/// Puts slices together.
#[derive(Debug, Default)]
pub struct Assembler(Vec<u8>);

impl Assembler {
    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn take(&mut self) -> Option<Frame> {
        let (tag, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let payload = rest.get(..u32::from_be_bytes(*length) as usize)?.to_vec();
        let frame = match tag {
            1 => Frame::Text(payload),
            2 => Frame::Binary(payload),
            _ => {
                let (code, reason) = payload.split_first_chunk::<2>()?;
                Frame::Close(u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned())
            }
        };
        let used = 5 + u32::from_be_bytes(*length) as usize;
        self.0.drain(..used);
        Some(frame)
    }
}
