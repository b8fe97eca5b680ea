//! What the store is told at opening, and why opening fails.

use std::fmt;
use std::path::PathBuf;

/// How a store is opened. `StoreSettings::new(dir)` has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Directory of the store; created when missing. One realm at a time can have it open.
    pub dir: PathBuf,
    /// Bytes that have to be free on the disk for an event to be accepted. Default 64 MiB, which is what compaction
    /// and removal of old events need to go on. Channels are deleted and events removed while 1 MiB is free.
    pub free_bytes_min: u64,
    /// Bytes of blocks cached in memory. Default 32 MiB.
    pub cache_bytes: u64,
    /// Bytes of journals after which rarely written tables are flushed so that old journals can go: bounds the time
    /// to open. Default 128 MiB, at least 64 MiB.
    pub journal_bytes_max: u64,
    /// Bytes of events in memory before they are written to a table. Default 16 MiB. Up to three of them exist at once.
    pub memtable_bytes: u64,
    /// Most events in one commit. Default 4096.
    pub commit_events_max: usize,
    /// Bytes of events after which a commit takes no more. Default 16 MiB.
    pub commit_bytes_max: usize,
    /// Milliseconds for which the publish numbers of a silent session are remembered. Default 24 hours.
    pub publish_memory_ms: u64,
}

impl StoreSettings {
    /// The defaults, for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> StoreSettings {
        const MIB: u64 = 1024 * 1024;
        StoreSettings {
            dir: dir.into(),
            free_bytes_min: 64 * MIB,
            cache_bytes: 32 * MIB,
            journal_bytes_max: 128 * MIB,
            memtable_bytes: 16 * MIB,
            commit_events_max: 4096,
            commit_bytes_max: 16 * MIB as usize,
            publish_memory_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// Why a store did not open. Each names the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another process has it open.
    Locked(PathBuf),
    /// The directory or a file in it cannot be created or written. Holds what the system said.
    NotWritable(PathBuf, String),
    /// It was written by a version that this one does not know. Holds the format found and the newest one known.
    Newer(PathBuf, u32, u32),
    /// What is there cannot be read. Holds what is wrong, and where.
    Corrupt(PathBuf, String),
    /// There can be no directory: something else is there, or is on the way to it. Holds what the system said.
    NoDirectory(PathBuf, String),
    /// The system failed. Holds what it said.
    Failed(PathBuf, String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked(dir) => write!(
                f,
                "the store in {} is open in another realm; stop that one, or choose another data directory",
                dir.display()
            ),
            OpenError::NotWritable(dir, text) => write!(
                f,
                "the store in {} cannot be written: {text}; give the realm's user the right to write there, or choose another data directory",
                dir.display()
            ),
            OpenError::Newer(dir, found, known) => write!(
                f,
                "the store in {} has format {found}, this version knows up to {known}; start the version that wrote it",
                dir.display()
            ),
            OpenError::Corrupt(dir, text) => write!(
                f,
                "the store in {} is damaged: {text}; restore the directory from a backup, or move it away to start empty",
                dir.display()
            ),
            OpenError::NoDirectory(dir, text) => write!(
                f,
                "the store in {} needs a directory, and there can be none: {text}; choose another data directory",
                dir.display()
            ),
            OpenError::Failed(dir, text) => write!(
                f,
                "the store in {} does not open: {text}; see to that disk and start again, or choose another data directory",
                dir.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
