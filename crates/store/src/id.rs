//! What marks this store's commits, so that none can be forged: clients write events, and events are in the journal as they
//! are. It is in a file of its own, because it is needed before the database is opened.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Drawn once for a store, and told to nobody.
pub(crate) type StoreId = [u8; 16];

pub(crate) const FILE: &str = "id";

/// The id of the store in `dir`; none when it was written before there were ids.
pub(crate) fn read(dir: &Path) -> io::Result<Option<StoreId>> {
    let bytes = match fs::read(dir.join(FILE)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let wrong = |_| io::Error::new(ErrorKind::InvalidData, "it should have 16 bytes; remove it to have it made anew");
    bytes.try_into().map(Some).map_err(wrong)
}

/// The id of a store whose last commit carries `recorded`, which is the truth: a copy without the file, or with that of another store, gets
/// its own back. Drawn and written when there is none at all.
pub(crate) fn establish(dir: &Path, recorded: Option<StoreId>) -> io::Result<StoreId> {
    let found = read(dir)?;
    match (recorded, found) {
        (Some(recorded), Some(found)) if recorded == found => return Ok(found),
        (None, Some(found)) => return Ok(found),
        (Some(recorded), found) => {
            let was = if found.is_some() { "is that of another store" } else { "is gone" };
            tracing::warn!("the file {FILE} in {} {was}; it is written anew from the store", dir.display());
            write(dir, &recorded)?;
            return Ok(recorded);
        }
        (None, None) => {}
    }
    let mut id = StoreId::default();
    getrandom::fill(&mut id).map_err(io::Error::from)?;
    write(dir, &id)?;
    Ok(id)
}

fn write(dir: &Path, id: &StoreId) -> io::Result<()> {
    let new = dir.join("id.new");
    let mut file = File::create(&new)?;
    file.write_all(id)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}
