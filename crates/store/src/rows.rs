//! Keys of all rows, and the rows of channels.
//!
//! `events`: channel (4 bytes) and EID (8 bytes), big-endian. `windows`: channel (4), session (16), ordinal of the
//! chunk (4). `meta`: a letter, then the channel's number where it is of a channel.

use throughline_engine::store::ChannelRecord;
use throughline_engine::types::{ChannelAttributes, ChannelKind};
use throughline_wire::event::{Eid, Epoch, SessionId};

use crate::codec::{BadRow, Reader, put_varint, utf8};
use crate::id::StoreId;

/// Version of everything in these keyspaces. Another one is refused at opening.
pub(crate) const FORMAT: u32 = 1;
/// Key in `meta`: the format.
pub(crate) const FORMAT_KEY: &[u8] = b"format";
/// Key in `meta`, in every commit: the commit's number and the store's id, by which it is found again in the journal. Old rows
/// have the number alone.
pub(crate) const COMMIT_KEY: &[u8] = b"throughline commit";

pub(crate) fn encode_commit(number: u64, id: &StoreId) -> [u8; 24] {
    let mut row = [0; 24];
    let (a, b) = row.split_at_mut(8);
    a.copy_from_slice(&number.to_be_bytes());
    b.copy_from_slice(id);
    row
}

pub(crate) fn decode_commit(row: &[u8]) -> Result<(u64, Option<StoreId>), BadRow> {
    let mut reader = Reader::new(row);
    let number = u64::from_be_bytes(reader.array()?);
    let id = if reader.is_empty() { None } else { Some(reader.array()?) };
    if reader.is_empty() { Ok((number, id)) } else { Err(BadRow("a commit's row is too long")) }
}

/// What rows of `meta` hold of a channel; the first byte of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Meta {
    /// Its record.
    Channel = b'C',
    /// Its [`Counters`].
    Counters = b'N',
    /// It is deleted, and its events are still being removed.
    Deleted = b'D',
}

pub(crate) fn meta_key(kind: Meta, channel: u32) -> [u8; 5] {
    let [a, b, c, d] = channel.to_be_bytes();
    [kind as u8, a, b, c, d]
}

pub(crate) fn channel_of_meta_key(key: &[u8]) -> Result<u32, BadRow> {
    let bad = BadRow("key of a channel has a wrong length");
    let (_, number) = key.split_first().ok_or(bad.clone())?;
    number.try_into().map(u32::from_be_bytes).map_err(|_| bad)
}

pub(crate) fn event_key(channel: u32, eid: Eid) -> [u8; 12] {
    let mut key = [0; 12];
    let (a, b) = key.split_at_mut(4);
    a.copy_from_slice(&channel.to_be_bytes());
    b.copy_from_slice(&eid.0.to_be_bytes());
    key
}

pub(crate) fn eid_of_key(key: &[u8]) -> Result<Eid, BadRow> {
    let eid = key.last_chunk::<8>().filter(|_| key.len() == 12);
    eid.map(|e| Eid(u64::from_be_bytes(*e))).ok_or(BadRow("key of an event has a wrong length"))
}

pub(crate) fn window_key(channel: u32, session: SessionId, chunk: u32) -> [u8; 24] {
    let mut key = [0; 24];
    let (a, rest) = key.split_at_mut(4);
    let (b, c) = rest.split_at_mut(16);
    a.copy_from_slice(&channel.to_be_bytes());
    b.copy_from_slice(&session.0.to_be_bytes());
    c.copy_from_slice(&chunk.to_be_bytes());
    key
}

pub(crate) fn split_window_key(key: &[u8]) -> Result<(u32, SessionId, u32), BadRow> {
    let mut reader = Reader::new(key);
    let channel = u32::from_be_bytes(reader.array()?);
    let session = SessionId(u128::from_be_bytes(reader.array()?));
    let chunk = u32::from_be_bytes(reader.array()?);
    if reader.is_empty() { Ok((channel, session, chunk)) } else { Err(BadRow("key of a window has a wrong length")) }
}

/// What is kept of a channel, counted so that opening need not read its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The oldest event, [`Eid::NONE`] when there is none.
    pub first: Eid,
    /// The newest event there ever was: kept when it is removed, so that its EID is not given out again.
    pub last: Eid,
    pub events: u64,
    /// Weight of the bodies.
    pub bytes: u64,
}

const COUNTERS_VERSION: u8 = 1;

impl Counters {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![COUNTERS_VERSION];
        for value in [self.first.0, self.last.0, self.events, self.bytes] {
            put_varint(&mut out, value);
        }
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Counters, BadRow> {
        let mut reader = Reader::new(row);
        reader.version(COUNTERS_VERSION)?;
        let (first, last) = (Eid(reader.varint()?), Eid(reader.varint()?));
        let (events, bytes) = (reader.varint()?, reader.varint()?);
        if reader.is_empty() { Ok(Counters { first, last, events, bytes }) } else { Err(BadRow("too long")) }
    }

    /// Counts an event whose EID is above all others.
    pub(crate) fn add(&mut self, eid: Eid, weight: u64) {
        if self.events == 0 {
            self.first = eid;
        }
        self.last = eid;
        self.events += 1;
        self.bytes = self.bytes.saturating_add(weight);
    }
}

const RECORD_VERSION: u8 = 1;

pub(crate) fn encode_channel(record: &ChannelRecord) -> Vec<u8> {
    let a = &record.attributes;
    let kind = match a.kind {
        ChannelKind::Transient => 0,
        ChannelKind::Reliable => 1,
        ChannelKind::Persistent => 2,
        ChannelKind::Mixed => 3,
    };
    let limits = [a.capacity, a.bytes, a.ttl];
    let present = limits.iter().enumerate().fold(0, |bits, (i, l)| bits | u8::from(l.is_some()) << i);
    let mut out = vec![RECORD_VERSION, kind, present];
    for limit in limits.into_iter().flatten() {
        put_varint(&mut out, limit);
    }
    out.extend_from_slice(&record.epoch.0.to_be_bytes());
    put_varint(&mut out, record.reserved.0);
    out.extend_from_slice(record.name.as_bytes());
    out
}

pub(crate) fn decode_channel(number: u32, row: &[u8]) -> Result<ChannelRecord, BadRow> {
    let mut reader = Reader::new(row);
    reader.version(RECORD_VERSION)?;
    let kind = match reader.byte()? {
        0 => ChannelKind::Transient,
        1 => ChannelKind::Reliable,
        2 => ChannelKind::Persistent,
        3 => ChannelKind::Mixed,
        _ => return Err(BadRow("unknown channel type")),
    };
    let present = reader.byte()?;
    let mut limit = |bit: u8| if present & bit != 0 { reader.varint().map(Some) } else { Ok(None) };
    let attributes = ChannelAttributes { kind, capacity: limit(1)?, bytes: limit(2)?, ttl: limit(4)? };
    let epoch = Epoch(u64::from_be_bytes(reader.array()?));
    let reserved = Eid(reader.varint()?);
    let name = utf8(reader.rest())?.into();
    Ok(ChannelRecord { number, name, attributes, epoch, reserved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn channels_come_back(
            number: u32, kind in 0_usize..4, limits in (option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>())),
            epoch: u64, reserved: u64, name in "[a-z/]{1,20}",
        ) {
            let (capacity, bytes, ttl) = limits;
            let attributes = ChannelAttributes { kind: ChannelKind::ALL[kind], capacity, bytes, ttl };
            let record = ChannelRecord {
                number, name: name.into(), attributes, epoch: Epoch(epoch), reserved: Eid(reserved),
            };
            prop_assert_eq!(decode_channel(number, &encode_channel(&record)), Ok(record));
        }

        #[test]
        fn counters_come_back(first: u64, last: u64, events: u64, bytes: u64) {
            let counters = Counters { first: Eid(first), last: Eid(last), events, bytes };
            prop_assert_eq!(Counters::decode(&counters.encode()), Ok(counters));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(row in vec(any::<u8>(), 0..64)) {
            let _ = Counters::decode(&row);
            let _ = split_window_key(&row);
            let _ = eid_of_key(&row);
            let _ = decode_commit(&row);
            let _ = channel_of_meta_key(&row);
            if let Ok(record) = decode_channel(1, &row) {
                prop_assert!(record.name.len() <= row.len());
            }
        }
    }

    #[test]
    fn keys_sort_as_their_values() {
        assert!(event_key(1, Eid(u64::MAX)) < event_key(2, Eid(0)));
        assert!(event_key(1, Eid(255)) < event_key(1, Eid(256)));
        assert_eq!(eid_of_key(&event_key(7, Eid(9))), Ok(Eid(9)));
        let key = window_key(3, SessionId(4), 5);
        assert_eq!(split_window_key(&key), Ok((3, SessionId(4), 5)));
        assert_eq!(channel_of_meta_key(&meta_key(Meta::Counters, 77)), Ok(77));
    }

    #[test]
    fn commits_come_back_also_those_without_an_id() {
        assert_eq!(decode_commit(&encode_commit(7, &[9; 16])), Ok((7, Some([9; 16]))));
        assert_eq!(decode_commit(&7_u64.to_be_bytes()), Ok((7, None)));
    }
}
