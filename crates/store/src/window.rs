//! The rows of publish numbers: chunks of a session's window in a channel.
//!
//! A commit rewrites only the chunk that is being filled, so that a publisher costs a small row per commit however
//! long its window is. In a chunk, neighbours that both count up by one share a run.

use throughline_engine::store::Window;
use throughline_wire::event::Eid;

use crate::codec::{BadRow, Reader, put_varint, unzigzag, zigzag};

/// Publish numbers kept of one session in one channel.
pub const WINDOW_ENTRIES_MAX: usize = 1024;
/// Publish numbers in a full chunk.
pub(crate) const CHUNK_ENTRIES_MAX: usize = 64;
/// Chunks that a window of [`WINDOW_ENTRIES_MAX`] needs, with the one being filled.
pub(crate) const CHUNKS_MAX: u32 = (WINDOW_ENTRIES_MAX / CHUNK_ENTRIES_MAX) as u32 + 1;

const VERSION: u8 = 1;

/// Publish numbers and EIDs in the order in which they were accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub entries: Vec<(u64, Eid)>,
    /// When the last one was accepted, milliseconds since 1970.
    pub time: u64,
}

impl Chunk {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(&mut out, self.time);
        let mut last = (0, 0);
        let mut entries = self.entries.iter().peekable();
        while let Some((number, eid)) = entries.next() {
            put_varint(&mut out, zigzag(number.wrapping_sub(last.0) as i64));
            put_varint(&mut out, zigzag(eid.0.wrapping_sub(last.1) as i64));
            last = (*number, eid.0);
            let mut run = 0;
            while let Some(next) = entries.next_if(|e| Some((e.0, e.1.0)) == successor(last)) {
                last = (next.0, next.1.0);
                run += 1;
            }
            put_varint(&mut out, run);
        }
        out
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Chunk, BadRow> {
        let mut reader = Reader::new(row);
        reader.version(VERSION)?;
        let mut chunk = Chunk { entries: Vec::new(), time: reader.varint()? };
        let mut last = (0_u64, 0_u64);
        while !reader.is_empty() {
            let number = last.0.wrapping_add(unzigzag(reader.varint()?) as u64);
            let eid = last.1.wrapping_add(unzigzag(reader.varint()?) as u64);
            let run = reader.varint()?;
            if run >= (CHUNK_ENTRIES_MAX - chunk.entries.len().min(CHUNK_ENTRIES_MAX)) as u64 {
                return Err(BadRow("too many publish numbers in a chunk"));
            }
            last = (number, eid);
            chunk.entries.push((number, Eid(eid)));
            for _ in 0..run {
                last = successor(last).ok_or(BadRow("publish numbers run over"))?;
                chunk.entries.push((last.0, Eid(last.1)));
            }
        }
        Ok(chunk)
    }
}

fn successor((number, eid): (u64, u64)) -> Option<(u64, u64)> {
    Some((number.checked_add(1)?, eid.checked_add(1)?))
}

/// Puts chunks, oldest first, together to a window: numbers increasing, the latest EID of each, the last
/// [`WINDOW_ENTRIES_MAX`] of them.
pub(crate) fn assemble(chunks: impl IntoIterator<Item = Chunk>) -> Window {
    let mut entries = Vec::new();
    let mut time = 0;
    for chunk in chunks {
        time = time.max(chunk.time);
        entries.extend(chunk.entries);
    }
    entries.sort_by_key(|(number, eid): &(u64, Eid)| (*number, std::cmp::Reverse(*eid)));
    entries.dedup_by_key(|(number, _)| *number);
    let surplus = entries.len().saturating_sub(WINDOW_ENTRIES_MAX);
    Window { entries: entries.into_iter().skip(surplus).collect(), time }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_come_back(time: u64, entries in vec((any::<u64>(), any::<u64>()), 0..CHUNK_ENTRIES_MAX)) {
            let entries = entries.into_iter().map(|(n, e)| (n, Eid(e))).collect();
            let chunk = Chunk { entries, time };
            prop_assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk));
        }

        #[test]
        fn chunks_of_steps_come_back(steps in vec((0_u64..3, 0_u64..3), 0..=CHUNK_ENTRIES_MAX)) {
            let mut at = (5_u64, 9_u64);
            let entries = steps.into_iter().map(|(n, e)| { at = (at.0 + n, at.1 + e); (at.0, Eid(at.1)) }).collect();
            let chunk = Chunk { entries, time: 1 };
            prop_assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(mut row in vec(any::<u8>(), 0..300)) {
            if let Some(first) = row.first_mut() {
                *first = VERSION;
            }
            if let Ok(chunk) = Chunk::decode(&row) {
                prop_assert!(chunk.entries.len() <= CHUNK_ENTRIES_MAX);
            }
        }
    }

    #[test]
    fn a_lone_publisher_needs_a_few_bytes() {
        let entries = (0..64).map(|i| (1000 + i, Eid(5000 + i))).collect();
        assert!(Chunk { entries, time: 1_700_000_000_000 }.encode().len() < 16);
    }

    #[test]
    fn windows_keep_the_last_numbers_in_order() {
        let chunk = |from: u64| Chunk { entries: (from..from + 64).map(|n| (n, Eid(n * 2))).collect(), time: from };
        let window = assemble((0..17).map(|i| chunk(1 + i * 64)));
        assert_eq!(window.entries.len(), WINDOW_ENTRIES_MAX);
        assert_eq!(window.entries.back(), Some(&(1088, Eid(2176))));
        assert_eq!(window.time, 1025);
        let again = Chunk { entries: vec![(6, Eid(1)), (5, Eid(2)), (6, Eid(3))], time: 0 };
        assert_eq!(Vec::from(assemble([again]).entries), [(5, Eid(2)), (6, Eid(3))]);
    }
}
