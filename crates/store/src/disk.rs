//! The open database: its keyspaces, and what fjall's errors mean to us.

use std::error::Error;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, FilterPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use throughline_engine::store::StoreError;

use crate::id::{self, StoreId};
use crate::journal::{self, JournalError};
use crate::rows::{self, COMMIT_KEY, FORMAT, FORMAT_KEY};
use crate::settings::{OpenError, StoreSettings};

const LOCK_FILE: &str = "lock";
const DATABASE: &str = "fjall";
const JOURNAL_BYTES_MIN: u64 = 64 * 1024 * 1024;
const SMALL_MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
const EVENT_BLOCK_BYTES: u32 = 16 * 1024;
/// Between two looks at what fjall's workers have done.
const WORKERS_PAUSE: Duration = Duration::from_millis(2);

/// fjall's directory inside the store's.
pub(crate) fn database_dir(settings: &StoreSettings) -> PathBuf {
    settings.dir.join(DATABASE)
}

/// Keeps other realms out for as long as it lives.
pub(crate) fn lock(settings: &StoreSettings) -> Result<File, OpenError> {
    let dir = &settings.dir;
    std::fs::create_dir_all(dir).map_err(|e| directory_error(dir, &e))?;
    let path = dir.join(LOCK_FILE);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|e| io_error(dir, &path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.clone())),
        Err(TryLockError::Error(e)) => Err(io_error(dir, &path, &e)),
    }
}

/// Bytes that the realm may still use on the disk that holds `dir`.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// An open database. Cheap to clone; the database closes with the last clone.
#[derive(Clone)]
pub(crate) struct Disk {
    pub db: Database,
    pub meta: Keyspace,
    pub events: Keyspace,
    pub windows: Keyspace,
    pub id: StoreId,
}

impl Disk {
    /// Opens the database, creating it when there is none, after cutting off what `failed` or a crash left behind.
    pub(crate) fn open(settings: &StoreSettings, failed: Option<u64>) -> Result<Disk, OpenError> {
        let dir = &settings.dir;
        journal::repair(settings, failed).map_err(|e| journal_error(dir, e))?;
        let fail = |e: fjall::Error| open_error(dir, &e);
        let db = Database::builder(database_dir(settings))
            .cache_size(settings.cache_bytes)
            .journal_compression(CompressionType::None)
            .manual_journal_persist(true)
            .max_journaling_size(settings.journal_bytes_max.max(JOURNAL_BYTES_MIN))
            .worker_threads(2)
            .open()
            .map_err(fail)?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE_BYTES);
        let meta = db.keyspace("meta", small).map_err(fail)?;
        check_format(dir, &db, &meta)?;
        let commit = meta.get(COMMIT_KEY).map_err(fail)?.map(|row| rows::decode_commit(&row)).transpose();
        let commit =
            commit.map_err(|e| OpenError::Corrupt(dir.to_owned(), format!("the row of its last commit: {e}")))?;
        let id = id::establish(dir, commit.and_then(|(_, id)| id));
        let id = id.map_err(|e| io_error(dir, &dir.join(id::FILE), &e))?;
        let events = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(settings.memtable_bytes)
                .data_block_size_policy(BlockSizePolicy::all(EVENT_BLOCK_BYTES))
                .filter_policy(FilterPolicy::disabled())
        };
        let events = db.keyspace("events", events).map_err(fail)?;
        let windows = db.keyspace("windows", small).map_err(fail)?;
        Ok(Disk { db, meta, events, windows, id })
    }
}

impl Disk {
    /// Waits for fjall's workers as long as `behind` says so.
    pub(crate) fn wait_while(&self, behind: impl Fn() -> bool) -> Result<(), fjall::Error> {
        while behind() {
            // Fails when the workers have.
            self.db.persist(PersistMode::Buffer)?;
            std::thread::sleep(WORKERS_PAUSE);
        }
        Ok(())
    }
}

/// Begins another journal for the database that is opened next.
pub(crate) fn seal_journal(settings: &StoreSettings) -> Result<(), OpenError> {
    journal::seal(&database_dir(settings)).map_err(|e| journal_error(&settings.dir, e))
}

fn check_format(dir: &Path, db: &Database, meta: &Keyspace) -> Result<(), OpenError> {
    let fail = |e: fjall::Error| open_error(dir, &e);
    match meta.get(FORMAT_KEY).map_err(fail)? {
        None => {
            let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
            batch.insert(meta, FORMAT_KEY, FORMAT.to_be_bytes());
            batch.commit().map_err(fail)
        }
        Some(row) => match row.as_ref().try_into().map(u32::from_be_bytes) {
            Ok(FORMAT) => Ok(()),
            Ok(found) => Err(OpenError::Newer(dir.to_owned(), found, FORMAT)),
            Err(_) => Err(OpenError::Corrupt(dir.to_owned(), "the row that holds its format has no four bytes".into())),
        },
    }
}

/// The folder is not there and cannot be made.
fn directory_error(dir: &Path, e: &io::Error) -> OpenError {
    use io::ErrorKind::{AlreadyExists, NotADirectory, NotFound};
    match e.kind() {
        // In some places nothing can be made, as in /proc.
        AlreadyExists | NotADirectory | NotFound => OpenError::NoDirectory(dir.to_owned(), e.to_string()),
        _ => io_error(dir, dir, e),
    }
}

fn io_error(dir: &Path, path: &Path, e: &io::Error) -> OpenError {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let text = format!("{}: {e}", path.display());
    match e.kind() {
        PermissionDenied | ReadOnlyFilesystem => OpenError::NotWritable(dir.to_owned(), text),
        _ => OpenError::Failed(dir.to_owned(), text),
    }
}

fn journal_error(dir: &Path, e: JournalError) -> OpenError {
    match e {
        JournalError::Io(path, e) => io_error(dir, &path, &e),
        JournalError::Damaged { file, offset } => {
            let text = format!("journal {} holds no commit at byte {offset}, but whole ones after it", file.display());
            OpenError::Corrupt(dir.to_owned(), text)
        }
    }
}

fn open_error(dir: &Path, e: &fjall::Error) -> OpenError {
    if let fjall::Error::Locked = e {
        return OpenError::Locked(dir.to_owned());
    }
    match io_cause(e) {
        Some(cause) => io_error(dir, dir, cause),
        None => OpenError::Corrupt(dir.to_owned(), e.to_string()),
    }
}

/// The system's error at the bottom of one of fjall's.
fn io_cause(e: &fjall::Error) -> Option<&io::Error> {
    let mut at: Option<&(dyn Error + 'static)> = Some(e);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        at = error.source();
    }
    None
}

/// What an error of fjall's means for the one who wanted something.
pub(crate) fn store_error(what: &str, e: &fjall::Error) -> StoreError {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let text = match io_cause(e) {
        Some(cause) => format!("{what}: {cause}"),
        None => format!("{what}: {e}"),
    };
    match io_cause(e).map(io::Error::kind) {
        Some(StorageFull | QuotaExceeded) => StoreError::Full(text),
        _ => StoreError::Failed(text),
    }
}
