//! fjall's journal, read before fjall reads it.
//!
//! A power cut can leave the last commit in any state: cut short, or complete in length with pages missing in the
//! middle. fjall cuts off the first and refuses to open on the second. A commit whose fdatasync failed is worse: it
//! was answered as failed, and may be there all the same. Both are cut off here, and nothing else is: garbage that is
//! followed by a whole commit was on disk before that commit, so it is damage and is reported. A commit is one that carries
//! the store's id: what else looks like one may be an event's data.
//!
//! A journal is a row of batches: start (tag 1, count, sequence number), items (tag 2) and clears (tag 4), end (tag 3,
//! XXH3 of what lies between, trailer), all little-endian; behind the last one come zeros.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::disk::database_dir;
use crate::id::{self, StoreId};
use crate::rows::{self, COMMIT_KEY};
use crate::settings::StoreSettings;

const TRAILER: &[u8; 4] = b"FJL\x03";
const WINDOW_BYTES: usize = 256 * 1024;
static ZEROS: [u8; WINDOW_BYTES] = [0; WINDOW_BYTES];

/// Why a journal cannot be used.
#[derive(Debug)]
pub(crate) enum JournalError {
    Io(PathBuf, io::Error),
    /// What lies at `offset` is no commit, and whole commits follow it.
    Damaged {
        file: PathBuf,
        offset: u64,
    },
}

/// A whole batch in a journal.
struct Batch {
    start: u64,
    end: u64,
    /// The number of our commit that it is, and the id of its store.
    commit: Option<(u64, Option<StoreId>)>,
}

impl Batch {
    fn store(&self) -> Option<StoreId> {
        self.commit.and_then(|(_, id)| id)
    }
}

/// Cuts torn tails off all journals of a store, and the commit `failed` where it is the last one of a journal.
/// To be called while fjall does not write. Nothing happens when there is no database yet.
pub(crate) fn repair(settings: &StoreSettings, failed: Option<u64>) -> Result<(), JournalError> {
    let id = id::read(&settings.dir).map_err(|e| JournalError::Io(settings.dir.join(id::FILE), e))?;
    let dir = database_dir(settings);
    for file in journals(&dir).map_err(|e| JournalError::Io(dir.clone(), e))? {
        repair_file(&file, failed, id.as_ref())?;
    }
    Ok(())
}

/// Begins an empty journal behind the others, so that fjall, which writes to the last one, writes no more to them and removes
/// them once their rows are in tables. To be called while fjall has none open.
pub(crate) fn seal(dir: &Path) -> Result<(), JournalError> {
    let io_error = |e| JournalError::Io(dir.to_owned(), e);
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let last = journals(dir).map_err(io_error)?.iter().filter_map(number).max();
    let next = dir.join(format!("{}.jnl", last.map_or(0, |last| last + 1)));
    File::create_new(next).and_then(|file| file.sync_all()).map_err(io_error)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error)
}

fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "jnl") {
            files.push(path);
        }
    }
    Ok(files)
}

fn repair_file(path: &Path, failed: Option<u64>, id: Option<&StoreId>) -> Result<(), JournalError> {
    let io_error = |e| JournalError::Io(path.to_owned(), e);
    let mut scanner = Scanner::open(path).map_err(io_error)?;
    let mut last = None;
    let mut end = 0;
    // The file of the id may have been lost or taken from elsewhere: what the journal's own commits carry is the store's as well.
    let mut ids: Vec<StoreId> = id.copied().into_iter().collect();
    while let Some(batch) = scanner.batch(end).map_err(io_error)? {
        end = batch.end;
        ids.extend(batch.store().filter(|own| id.is_some() && !ids.contains(own)));
        last = Some(batch);
    }
    let tail = scanner.tail(end, &ids).map_err(io_error)?;
    if tail == Tail::Batches {
        return Err(JournalError::Damaged { file: path.to_owned(), offset: end });
    }
    let undetermined = last.filter(|batch| failed.is_some() && batch.commit.map(|(number, _)| number) == failed);
    if let Some(batch) = &undetermined {
        tracing::warn!(journal = %path.display(), commit = failed, "cutting off a commit that had failed");
        return truncate(path, batch.start).map_err(io_error);
    }
    if tail == Tail::Garbage {
        tracing::warn!(journal = %path.display(), offset = end, "cutting off a commit that had not been completed");
        return truncate(path, end).map_err(io_error);
    }
    Ok(())
}

fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// What lies behind the last whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Zeros,
    Garbage,
    /// Whole batches, after something that is none.
    Batches,
}

struct Scanner {
    file: BufReader<File>,
    length: u64,
    at: u64,
    scratch: Vec<u8>,
}

impl Scanner {
    fn open(path: &Path) -> io::Result<Scanner> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Scanner { file: BufReader::with_capacity(WINDOW_BYTES, file), length, at: 0, scratch: Vec::new() })
    }

    fn seek(&mut self, at: u64) -> io::Result<()> {
        if at != self.at {
            self.file.seek(SeekFrom::Start(at))?;
            self.at = at;
        }
        Ok(())
    }

    /// Appends the next `n` bytes to the scratch; false when the file has not so many.
    fn fill(&mut self, n: u64) -> io::Result<bool> {
        if n > self.length.saturating_sub(self.at) {
            return Ok(false);
        }
        let from = self.scratch.len();
        let Ok(n) = usize::try_from(n) else { return Ok(false) };
        self.scratch.resize(from + n, 0);
        let Some(space) = self.scratch.get_mut(from..) else { return Ok(false) };
        self.file.read_exact(space)?;
        self.at += n as u64;
        Ok(true)
    }

    fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        self.scratch.clear();
        if !self.fill(N as u64)? {
            return Ok(None);
        }
        Ok(self.scratch.first_chunk().copied())
    }

    /// The batch that starts at `start`, or `None` when there is no whole one.
    fn batch(&mut self, start: u64) -> io::Result<Option<Batch>> {
        self.seek(start)?;
        let Some([1, head @ ..]) = self.array::<13>()? else { return Ok(None) };
        let [a, b, c, d, ..] = head;
        let items = u32::from_le_bytes([a, b, c, d]);
        let mut hasher = Xxh3::new();
        let mut commit = None;
        for _ in 0..items {
            if !self.item()? {
                return Ok(None);
            }
            hasher.update(&self.scratch);
            commit = commit.or(commit_of(&self.scratch));
        }
        let Some([3, end @ ..]) = self.array::<13>()? else { return Ok(None) };
        let (sum, trailer) = end.split_at(8);
        let whole = sum == hasher.digest().to_le_bytes() && trailer == TRAILER;
        Ok(whole.then_some(Batch { start, end: self.at, commit }))
    }

    /// Reads an item or a clear into the scratch.
    fn item(&mut self) -> io::Result<bool> {
        self.scratch.clear();
        if !self.fill(1)? {
            return Ok(false);
        }
        match self.scratch.first() {
            Some(4) => self.fill(8),
            Some(2) => {
                if !self.fill(ITEM_HEAD as u64 - 1)? {
                    return Ok(false);
                }
                let Some(head) = self.scratch.first_chunk::<ITEM_HEAD>() else { return Ok(false) };
                let (key, value) = item_lengths(head);
                self.fill(u64::from(key) + u64::from(value))
            }
            _ => Ok(false),
        }
    }

    /// Looks behind `end` for whole batches of a store with one of `ids`, of any when there are none: each one but the first follows a trailer.
    fn tail(&mut self, end: u64, ids: &[StoreId]) -> io::Result<Tail> {
        let mut tail = Tail::Zeros;
        let mut at = end;
        loop {
            self.seek(at)?;
            self.scratch.clear();
            let n = (self.length - at).min(WINDOW_BYTES as u64);
            self.fill(n)?;
            // Comparing whole windows is quick, and nearly all of them are zeros.
            if !ZEROS.starts_with(&self.scratch) {
                tail = Tail::Garbage;
                let window = std::mem::take(&mut self.scratch);
                for (i, _) in window.windows(4).enumerate().filter(|(_, w)| w == TRAILER) {
                    let found = self.batch(at + i as u64 + 4)?;
                    if found.is_some_and(|batch| ids.is_empty() || batch.store().is_some_and(|id| ids.contains(&id))) {
                        return Ok(Tail::Batches);
                    }
                }
                self.scratch = window;
            }
            if at + n >= self.length {
                return Ok(tail);
            }
            at += n - 3;
        }
    }
}

/// Tag, kind of value, compression, keyspace (8), key length (2), value length (4), length on disk (4).
const ITEM_HEAD: usize = 21;

fn item_lengths(head: &[u8; ITEM_HEAD]) -> (u16, u32) {
    let [.., k0, k1, _, _, _, _, v0, v1, v2, v3] = *head;
    (u16::from_le_bytes([k0, k1]), u32::from_le_bytes([v0, v1, v2, v3]))
}

fn commit_of(item: &[u8]) -> Option<(u64, Option<StoreId>)> {
    let (_, body) = item.split_at_checked(ITEM_HEAD)?;
    rows::decode_commit(body.strip_prefix(COMMIT_KEY)?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use throughline_engine::store::{Append, ChannelRecord, Store};
    use throughline_engine::types::{ChannelAttributes, ChannelKind, Origin};
    use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};

    use super::*;
    use crate::disk::Disk;
    use crate::{FjallStore, recovery};

    fn append(store: &FjallStore, eid: u64) {
        let (to, from) = channel();
        let event = Arc::new(Event { eid: Eid(eid), time: 1, body: Body::new(Data::text("x")) });
        let origin = Some(Origin { session: SessionId(1), number: eid });
        let done = Box::new(move |outcome| to.send(outcome).unwrap());
        store.append(Append { channel: 1, event, origin, done });
        assert_eq!(from.recv().unwrap(), Ok(()));
    }

    /// What a commit that was written in full leaves when only its fdatasync failed.
    #[test]
    fn a_failed_commit_that_is_in_the_journal_in_full_is_cut_off_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings { free_bytes_min: 0, ..StoreSettings::new(dir.path()) };
        let store = FjallStore::open(settings.clone(), 0).unwrap();
        let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
        let record = ChannelRecord { number: 1, name: "a".into(), attributes, epoch: Epoch(1), reserved: Eid(0) };
        store.put_channel(record, Box::new(|outcome| assert_eq!(outcome, Ok(()))));
        append(&store, 1);
        append(&store, 2);
        drop(store);

        let state = |failed| {
            let disk = Disk::open(&settings, failed).unwrap();
            let state = recovery::load(&settings, &disk).unwrap();
            let stored = recovery::channels(&disk, &state.counters).unwrap().remove(0);
            (state.commit, stored.last.0, stored.events, stored.windows[0].1.entries.len())
        };
        let (commit, ..) = state(None);
        assert_eq!(state(Some(commit - 1)), (commit, 2, 2, 2));
        assert_eq!(state(Some(commit)), (commit - 1, 1, 1, 1));
        repair(&settings, None).unwrap();
        let store = FjallStore::open(settings.clone(), 0).unwrap();
        append(&store, 3);
        let eids = store.read(1, Eid::NONE, 9, 999).unwrap().iter().map(|e| e.eid.0).collect::<Vec<_>>();
        assert_eq!(eids, [1, 3]);
    }
}
