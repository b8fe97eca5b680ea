//! Frames to messages (RFC 6455 sections 5 to 8).
//!
//! A frame that lies whole in the input and is a whole message is given out where it lies. Everything else is
//! collected in one box, which exists only while a message or a frame is incomplete.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::deflate::Inflater;
use super::{CONTROL_BYTES_MAX, FIN, HEADER_BYTES_MAX, MASKED, Opcode, RSV1, Rule, Violation, mask};

/// Which side decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The server: every frame it gets has to be masked.
    Server,
    /// The client: no frame it gets may be masked.
    Client,
}

/// A whole message, or a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping: to be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// A pong, asked for or not.
    Pong(&'a [u8]),
    /// A close frame: its code and reason, if it has them.
    Close(Option<(u16, &'a str)>),
}

/// Takes bytes as they come and gives out messages. Between messages it owns no memory beyond itself.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    role: Role,
    deflate: bool,
}

impl Decoder {
    /// A decoder at the beginning of a connection; `deflate` tells whether permessage-deflate was agreed.
    pub const fn new(role: Role, deflate: bool) -> Decoder {
        Decoder { partial: None, role, deflate }
    }

    /// Memory that the beginning of a message takes, bytes.
    pub fn partial_bytes(&self) -> usize {
        let memory = |partial: &Partial| partial.message.capacity() + partial.control.capacity();
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + memory(partial))
    }

    /// Forgets the beginning of a message. For connections of which nothing more is taken.
    pub fn clear(&mut self) {
        self.partial = None;
    }

    /// Takes the next message from the front of `input`, unmasking in place.
    ///
    /// `Ok(None)` means that all of `input` was taken and more bytes are needed. After a message, call again with what
    /// is left, until `Ok(None)`: that call also frees what the message before was held in. Messages over
    /// `message_bytes_max` bytes, before or after inflation, are refused, by their header where possible.
    /// Compressed messages are refused without an `inflater`, as they are when compression was not agreed.
    /// How the bytes are split between calls changes neither messages nor errors.
    pub fn decode<'m, 'input: 'm>(
        &'m mut self,
        input: &mut &'input mut [u8],
        mut inflater: Option<&'m mut Inflater>,
        message_bytes_max: usize,
    ) -> Result<Option<Message<'m>>, Violation> {
        self.settle();
        if let Some(inflater) = &mut inflater {
            inflater.trim();
        }
        let rules = Rules { role: self.role, rsv1: self.deflate && inflater.is_some(), message_bytes_max };
        if self.partial.is_none() {
            if input.is_empty() {
                return Ok(None);
            }
            if let Some((header, payload)) = whole(input, rules)? {
                let kind = Kind { opcode: header.opcode, compressed: header.rsv1 };
                return message(kind, payload, inflater, message_bytes_max).map(Some);
            }
        }
        let partial = self.partial.get_or_insert_default();
        match partial.advance(input, rules)? {
            None => Ok(None),
            Some(kind) if kind.opcode.is_control() => {
                message(kind, &partial.control, None, message_bytes_max).map(Some)
            }
            Some(kind) => message(kind, &partial.message, inflater, message_bytes_max).map(Some),
        }
    }

    /// Frees what was given out by the call before.
    fn settle(&mut self) {
        if let Some(partial) = &mut self.partial
            && partial.given
        {
            if partial.kind.is_none() {
                self.partial = None;
            } else {
                partial.given = false;
                partial.control = Vec::new();
            }
        }
    }
}

/// What a frame is checked against, apart from the frames before it.
#[derive(Clone, Copy)]
struct Rules {
    role: Role,
    rsv1: bool,
    message_bytes_max: usize,
}

impl Rules {
    /// Most bytes of a message as it is sent: DEFLATE may lengthen what it cannot shorten.
    const fn sent_bytes_max(self, compressed: bool) -> usize {
        let max = self.message_bytes_max;
        if compressed { max.saturating_add(max / 16).saturating_add(64) } else { max }
    }
}

/// A message's type.
#[derive(Clone, Copy, Debug)]
struct Kind {
    opcode: Opcode,
    compressed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    length: usize,
    key: Option<[u8; 4]>,
    /// Bytes of the header itself.
    size: usize,
}

/// Reads a frame's header; `None` if more bytes are needed. Each rule is checked as soon as its bytes are there and
/// in their order, so that the outcome is the same however the bytes arrive. `begun` is the message in progress
/// with its bytes so far.
fn parse_header(bytes: &[u8], rules: Rules, begun: Option<(Kind, usize)>) -> Result<Option<Header>, Rule> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
    if first & 0x30 != 0 {
        return Err(Rule::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(Rule::ReservedOpcode(first & 0x0F))?;
    let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
    if rsv1 && !(rules.rsv1 && begins) {
        return Err(Rule::ReservedBit);
    }
    match begun {
        _ if opcode.is_control() && !fin => return Err(Rule::FragmentedControl),
        None if opcode == Opcode::Continuation => return Err(Rule::NothingToContinue),
        Some(_) if begins => return Err(Rule::MessageUnfinished),
        _ => {}
    }
    let Some((second, rest)) = rest.split_first() else { return Ok(None) };
    let masked = second & MASKED != 0;
    match (rules.role, masked) {
        // Proxies that stop say so to both ends, and some forget the mask. The connection ends either way, and a client that
        // is told of its mistake would not come back.
        (Role::Server, false) if opcode == Opcode::Close => {}
        (Role::Server, false) => return Err(Rule::Unmasked),
        (Role::Client, true) => return Err(Rule::Masked),
        _ => {}
    }
    let Some((length, rest)) = parse_length(second & 0x7F, rest, opcode)? else { return Ok(None) };
    let (compressed, collected) = begun.map_or((rsv1, 0), |(kind, collected)| (kind.compressed, collected));
    let left = rules.sent_bytes_max(compressed).saturating_sub(collected) as u64;
    if !opcode.is_control() && length > left {
        return Err(Rule::TooBig(rules.message_bytes_max));
    }
    let (key, rest) = match masked {
        false => (None, rest),
        true => match rest.split_first_chunk::<4>() {
            Some((key, rest)) => (Some(*key), rest),
            None => return Ok(None),
        },
    };
    // The length fits: it is at most a limit that is a usize, or 125.
    Ok(Some(Header { fin, rsv1, opcode, length: length as usize, key, size: bytes.len() - rest.len() }))
}

/// The payload's length and what comes after it; `None` if more bytes are needed.
fn parse_length(seven_bits: u8, rest: &[u8], opcode: Opcode) -> Result<Option<(u64, &[u8])>, Rule> {
    if opcode.is_control() && usize::from(seven_bits) > CONTROL_BYTES_MAX {
        return Err(Rule::ControlTooLong);
    }
    let (length, shortest, rest) = match seven_bits {
        126 => match rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), 126, rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), 0x1_0000, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if length < shortest {
        return Err(Rule::LengthNotMinimal);
    }
    if length > i64::MAX as u64 {
        return Err(Rule::LengthOverflow);
    }
    Ok(Some((length, rest)))
}

/// Takes `count` bytes, or all if there are fewer, from the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let all = mem::take(input);
    let (front, rest) = all.split_at_mut(count.min(all.len()));
    *input = rest;
    front
}

/// Takes a frame that is a whole message and lies whole in the input; else leaves the input alone.
fn whole<'a>(input: &mut &'a mut [u8], rules: Rules) -> Result<Option<(Header, &'a [u8])>, Rule> {
    let Some(header) = parse_header(input, rules, None)? else { return Ok(None) };
    if !header.fin || input.len() - header.size < header.length {
        return Ok(None);
    }
    take(input, header.size);
    let payload = take(input, header.length);
    if let Some(key) = header.key {
        mask::apply(payload, key, 0);
    }
    Ok(Some((header, payload)))
}

/// A frame or a message that is not complete.
#[derive(Debug, Default)]
struct Partial {
    /// The present frame's header as far as it came, while `frame` is none.
    head: [u8; HEADER_BYTES_MAX],
    head_length: usize,
    /// The present frame, once its header is complete.
    frame: Option<Header>,
    /// Bytes of its payload that came.
    taken: usize,
    /// Payload of the present frame if it is a control frame.
    control: Vec<u8>,
    /// The message in progress.
    kind: Option<Kind>,
    /// Its bytes so far, compressed if it is.
    message: Vec<u8>,
    /// How many of them are known to be UTF-8, if it is uncompressed text.
    checked: usize,
    /// Something complete was given out, and is to be freed by the next call.
    given: bool,
}

impl Partial {
    /// Takes from the input until a message or a control frame is complete; it then lies in `message` or `control`.
    fn advance(&mut self, input: &mut &mut [u8], rules: Rules) -> Result<Option<Kind>, Violation> {
        loop {
            let Some(frame) = self.frame(input, rules)? else { return Ok(None) };
            let control = frame.opcode.is_control();
            self.payload(input, frame, rules)?;
            if self.taken < frame.length {
                return Ok(None);
            }
            self.frame = None;
            self.taken = 0;
            if control {
                self.given = true;
                return Ok(Some(Kind { opcode: frame.opcode, compressed: false }));
            }
            if frame.fin {
                self.given = true;
                return Ok(self.kind.take());
            }
        }
    }

    /// The present frame, beginning one if there is none.
    fn frame(&mut self, input: &mut &mut [u8], rules: Rules) -> Result<Option<Header>, Violation> {
        if self.frame.is_some() {
            return Ok(self.frame);
        }
        let (had, room) = self.head.split_at_mut(self.head_length);
        let added = room.iter_mut().zip(input.iter()).map(|(to, from)| *to = *from).count();
        let have = had.len() + added;
        let begun = self.kind.map(|kind| (kind, self.message.len()));
        let Some(header) = parse_header(self.head.get(..have).unwrap_or_default(), rules, begun)? else {
            take(input, added);
            self.head_length = have;
            return Ok(None);
        };
        take(input, header.size - self.head_length);
        self.head_length = 0;
        if !header.opcode.is_control() && self.kind.is_none() {
            self.kind = Some(Kind { opcode: header.opcode, compressed: header.rsv1 });
        }
        self.frame = Some(header);
        Ok(self.frame)
    }

    /// Takes what there is of the present frame's payload.
    fn payload(&mut self, input: &mut &mut [u8], frame: Header, rules: Rules) -> Result<(), Violation> {
        let payload = take(input, frame.length - self.taken);
        if let Some(key) = frame.key {
            mask::apply(payload, key, self.taken as u64);
        }
        self.taken += payload.len();
        if frame.opcode.is_control() {
            self.control.extend_from_slice(payload);
            return Ok(());
        }
        let Some(kind) = self.kind else { return Ok(()) };
        append(&mut self.message, payload, rules.sent_bytes_max(kind.compressed));
        if kind.opcode == Opcode::Text && !kind.compressed {
            self.check_text()?;
        }
        Ok(())
    }

    /// Refuses bytes that cannot become UTF-8, whatever follows.
    fn check_text(&mut self) -> Result<(), Violation> {
        let new = self.message.get(self.checked..).unwrap_or_default();
        match core::str::from_utf8(new) {
            Ok(_) => self.checked = self.message.len(),
            Err(e) if e.error_len().is_some() => return Err(Rule::Utf8.into()),
            Err(e) => self.checked += e.valid_up_to(),
        }
        Ok(())
    }
}

/// Appends with at most twice the memory that is used, and never more than the limit.
fn append(message: &mut Vec<u8>, payload: &[u8], bytes_max: usize) {
    let needed = message.len() + payload.len();
    if needed > message.capacity() {
        let room = message.len().saturating_mul(2).min(bytes_max).max(needed);
        message.reserve_exact(room - message.len());
    }
    message.extend_from_slice(payload);
}

/// Makes a message of a complete payload.
fn message<'a>(
    kind: Kind,
    payload: &'a [u8],
    inflater: Option<&'a mut Inflater>,
    bytes_max: usize,
) -> Result<Message<'a>, Violation> {
    let payload = match inflater {
        Some(inflater) if kind.compressed => inflater.inflate(payload, bytes_max)?,
        _ => payload,
    };
    Ok(match kind.opcode {
        Opcode::Text => Message::Text(core::str::from_utf8(payload).map_err(|_| Rule::Utf8)?),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Close => Message::Close(close(payload)?),
        // A message never has the type of a continuation: it has that of its first frame.
        Opcode::Binary | Opcode::Continuation => Message::Binary(payload),
    })
}

/// Reads the payload of a close frame (RFC 6455 sections 5.5.1 and 7.4).
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, Rule> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk::<2>().ok_or(Rule::CloseLength)?;
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Rule::CloseCode(code));
    }
    let reason = core::str::from_utf8(reason).map_err(|_| Rule::Utf8)?;
    Ok(Some((code, reason)))
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Message, Role};
    use alloc::vec;

    #[test]
    fn an_announced_length_allocates_nothing() {
        let mut decoder = Decoder::new(Role::Client, false);
        let mut bytes = [0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
        assert_eq!(decoder.decode(&mut &mut bytes[..], None, usize::MAX), Ok(None));
        let mut more = vec![7; 1000];
        assert_eq!(decoder.decode(&mut more.as_mut_slice(), None, usize::MAX), Ok(None));
        let partial = decoder.partial.as_ref().expect("a message is incomplete");
        assert_eq!(partial.message.len(), 1003);
        assert!(partial.message.capacity() <= 2006);
    }

    #[test]
    fn memory_stays_below_the_limit_and_is_freed_with_the_message() {
        let mut decoder = Decoder::new(Role::Client, false);
        let mut begin = [0x02, 126, 0x03, 0xE8];
        assert_eq!(decoder.decode(&mut &mut begin[..], None, 1000), Ok(None));
        for _ in 0..999 {
            assert_eq!(decoder.decode(&mut &mut [7][..], None, 1000), Ok(None));
        }
        let capacity = decoder.partial.as_ref().map(|partial| partial.message.capacity());
        assert!(capacity.is_some_and(|bytes| bytes <= 1000));
        let mut end = [7, 0x80, 0x00];
        let whole = decoder.decode(&mut &mut end[..], None, 1000);
        assert_eq!(whole, Ok(Some(Message::Binary(&[7; 1000]))));
        assert_eq!(decoder.decode(&mut &mut [][..], None, 1000), Ok(None));
        assert!(decoder.partial.is_none());
    }
}
