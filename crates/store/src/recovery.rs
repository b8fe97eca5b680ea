//! What is read at opening: one row per channel, none per event.

use throughline_engine::store::{StoreError, StoredChannel, Window};
use throughline_wire::event::SessionId;

use crate::codec::BadRow;
use crate::disk::{Disk, store_error};
use crate::draft::{AllCounters, bad_row};
use crate::rows::{self, COMMIT_KEY, Counters, Meta};
use crate::settings::{OpenError, StoreSettings};
use crate::window::{self, Chunk};

/// What memory holds of an open store.
pub(crate) struct State {
    pub counters: AllCounters,
    /// Channels whose rows are still to be removed.
    pub deleted: Vec<u32>,
    /// Number of the last commit.
    pub commit: u64,
}

pub(crate) fn load(settings: &StoreSettings, disk: &Disk) -> Result<State, OpenError> {
    load_state(disk).map_err(|e| OpenError::Corrupt(settings.dir.clone(), e.to_string()))
}

fn load_state(disk: &Disk) -> Result<State, StoreError> {
    let fail = |e| store_error("reading the table of channels", &e);
    let bad = |e: BadRow| bad_row("the table of channels", &e);
    let mut counters = AllCounters::new();
    for row in disk.meta.prefix([Meta::Counters as u8]) {
        let (key, value) = row.into_inner().map_err(fail)?;
        counters.insert(rows::channel_of_meta_key(&key).map_err(bad)?, Counters::decode(&value).map_err(bad)?);
    }
    let mut deleted = Vec::new();
    for row in disk.meta.prefix([Meta::Deleted as u8]) {
        deleted.push(rows::channel_of_meta_key(&row.key().map_err(fail)?).map_err(bad)?);
    }
    let commit = match disk.meta.get(COMMIT_KEY).map_err(fail)? {
        None => 0,
        Some(row) => rows::decode_commit(&row).map_err(bad)?.0,
    };
    Ok(State { counters, deleted, commit })
}

/// The lowest number above those of all channels, deleted ones whose rows are still to be removed among them.
pub(crate) fn number_next(disk: &Disk) -> Result<u32, StoreError> {
    let mut next = 0;
    for kind in [Meta::Channel, Meta::Deleted] {
        let Some(row) = disk.meta.prefix([kind as u8]).next_back() else { continue };
        let key = row.key().map_err(|e| store_error("reading the table of channels", &e))?;
        let number = rows::channel_of_meta_key(&key).map_err(|e| bad_row("the table of channels", &e))?;
        next = next.max(number.saturating_add(1));
    }
    Ok(next)
}

/// The channels, with their windows.
pub(crate) fn channels(disk: &Disk, counters: &AllCounters) -> Result<Vec<StoredChannel>, StoreError> {
    let fail = |e| store_error("reading the table of channels", &e);
    let bad = |e: BadRow| bad_row("the table of channels", &e);
    let mut channels = Vec::new();
    for row in disk.meta.prefix([Meta::Channel as u8]) {
        let (key, value) = row.into_inner().map_err(fail)?;
        let number = rows::channel_of_meta_key(&key).map_err(bad)?;
        let record = rows::decode_channel(number, &value).map_err(bad)?;
        let c = counters.get(&number).copied().unwrap_or_default();
        let windows = Vec::new();
        channels.push(StoredChannel {
            record,
            first: c.first,
            last: c.last,
            events: c.events,
            bytes: c.bytes,
            windows,
        });
    }
    for_each_window(disk, |channel, session, chunks| {
        if let Ok(at) = channels.binary_search_by_key(&channel, |c| c.record.number)
            && let Some(stored) = channels.get_mut(at)
        {
            stored.windows.push((session, window::assemble(chunks)));
        }
    })?;
    Ok(channels)
}

/// Sessions whose windows were last used before `before`.
pub(crate) fn stale_windows(disk: &Disk, before: u64) -> Result<Vec<(u32, SessionId)>, StoreError> {
    let mut stale = Vec::new();
    for_each_window(disk, |channel, session, chunks| {
        let Window { time, .. } = window::assemble(chunks);
        if time < before {
            stale.push((channel, session));
        }
    })?;
    Ok(stale)
}

/// Gives every window's chunks, oldest first.
fn for_each_window(disk: &Disk, mut each: impl FnMut(u32, SessionId, Vec<Chunk>)) -> Result<(), StoreError> {
    let fail = |e| store_error("reading publish windows", &e);
    let bad = |e: BadRow| bad_row("a publish window", &e);
    let mut current: Option<(u32, SessionId)> = None;
    let mut chunks = Vec::new();
    for row in disk.windows.iter() {
        let (key, value) = row.into_inner().map_err(fail)?;
        let (channel, session, _) = rows::split_window_key(&key).map_err(bad)?;
        let previous = current.replace((channel, session));
        if let Some(previous) = previous.filter(|p| *p != (channel, session)) {
            each(previous.0, previous.1, std::mem::take(&mut chunks));
        }
        chunks.push(Chunk::decode(&value).map_err(bad)?);
    }
    if let Some((channel, session)) = current {
        each(channel, session, chunks);
    }
    Ok(())
}
