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

/// The same, drawn and written when there is none.
pub(crate) fn read_or_draw(dir: &Path) -> io::Result<StoreId> {
    if let Some(id) = read(dir)? {
        return Ok(id);
    }
    let mut id = StoreId::default();
    getrandom::fill(&mut id).map_err(io::Error::from)?;
    let new = dir.join("id.new");
    let mut file = File::create(&new)?;
    file.write_all(&id)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(FILE))?;
    File::open(dir)?.sync_all()?;
    Ok(id)
}
