//! Giving room back to a disk that lacks it.
//!
//! What was removed stays in fjall's tables until they are merged, and in its journal until that has 64 MB. On a disk with
//! room that is the cheapest; on a full one nothing would merge, because nothing is written.

use std::fmt::Display;

use crate::disk::Disk;
use crate::draft::AllCounters;

/// Removed bytes without which giving room back is not tried.
const GARBAGE_BYTES_MIN: u64 = 1024 * 1024;
/// It is tried when the removed bytes are at least this part of what is kept: all of that is written anew.
const GARBAGE_PART: u64 = 8;
/// What a row takes beside its event, roughly.
const ROW_BYTES: u64 = 64;

/// What was removed, and may still be on the disk.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    bytes: u64,
    /// That there is not even room to tidy up was said.
    told: bool,
}

impl Garbage {
    /// What is there when a store is opened.
    pub(crate) fn unknown() -> Garbage {
        Garbage { bytes: u64::MAX, told: false }
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it is worth it, and `free` bytes are enough.
    pub(crate) fn is_due(&mut self, disk: &Disk, counters: &AllCounters, free: u64, dir: &dyn Display) -> bool {
        let kept = counters.values().map(|c| c.bytes.saturating_add(c.events.saturating_mul(ROW_BYTES)));
        let kept = kept.fold(disk.windows.disk_space(), u64::saturating_add);
        if self.bytes < GARBAGE_BYTES_MIN.max(kept / GARBAGE_PART) {
            return false;
        }
        let needed = kept.saturating_add(disk.db.write_buffer_size()).saturating_add(GARBAGE_BYTES_MIN);
        if free < needed && !self.told {
            self.told = true;
            tracing::warn!(
                "the room of removed events in {dir} is given back once {needed} bytes are free there: what is kept is \
                 written anew first"
            );
        }
        free >= needed
    }
}

/// Writes all that is kept to new tables, and removes the old ones. Takes as much room as what is kept.
pub(crate) fn compact(disk: &Disk) -> Result<(), fjall::Error> {
    for keyspace in [&disk.events, &disk.windows] {
        keyspace.rotate_memtable()?;
        disk.wait_while(|| keyspace.sealed_memtable_count() > 0)?;
        keyspace.major_compact()?;
    }
    Ok(())
}
