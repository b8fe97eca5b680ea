//! What the store's tests share.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failure is the test's failure")]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use throughline_engine::store::{Append, ChannelRecord, Store, StoreError};
use throughline_engine::types::{ChannelAttributes, ChannelKind, Origin};
use throughline_store::{FjallStore, OpenError, StoreSettings};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};

pub(crate) const NOW: u64 = 1_700_000_000_000;

/// Settings for tests: no demand for free space, which the machine may not have.
pub(crate) fn settings(dir: &Path) -> StoreSettings {
    StoreSettings { free_bytes_min: 0, ..StoreSettings::new(dir) }
}

/// Opens a store that this process has closed. A child that a neighbouring test has forked holds its locks until it executes.
pub(crate) fn open(dir: &Path) -> Arc<FjallStore> {
    loop {
        match FjallStore::open(settings(dir), NOW) {
            Err(OpenError::Locked(_)) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

pub(crate) fn record(number: u32) -> ChannelRecord {
    let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: Some(10), bytes: None, ttl: Some(5) };
    let name = format!("channel/{number}").into();
    ChannelRecord { number, name, attributes, epoch: Epoch(77), reserved: Eid(3) }
}

pub(crate) fn event(eid: u64, data: Data) -> Arc<Event> {
    Arc::new(Event { eid: Eid(eid), time: NOW, body: Body::new(data) })
}

pub(crate) fn text(eid: u64) -> Arc<Event> {
    event(eid, Data::text(format!("event {eid}")))
}

pub(crate) fn origin(session: u128, number: u64) -> Option<Origin> {
    Some(Origin { session: SessionId(session), number })
}

/// Outcomes of appends in the order in which they were told.
pub(crate) struct Outcomes {
    to: Sender<(u64, Result<(), StoreError>)>,
    from: Receiver<(u64, Result<(), StoreError>)>,
}

impl Outcomes {
    pub(crate) fn new() -> Outcomes {
        let (to, from) = channel();
        Outcomes { to, from }
    }

    pub(crate) fn append(&self, store: &FjallStore, channel: u32, event: Arc<Event>, origin: Option<Origin>) {
        let (to, eid) = (self.to.clone(), event.eid.0);
        let done = Box::new(move |outcome| to.send((eid, outcome)).unwrap());
        store.append(Append { channel, event, origin, done });
    }

    pub(crate) fn next(&self) -> (u64, Result<(), StoreError>) {
        self.from.recv().unwrap()
    }

    pub(crate) fn take(&self, n: usize) -> Vec<(u64, Result<(), StoreError>)> {
        self.from.iter().take(n).collect()
    }
}

/// Has a channel remembered and waits for the outcome.
pub(crate) fn put_channel(store: &FjallStore, record: ChannelRecord) -> Result<(), StoreError> {
    let (to, from) = channel();
    store.put_channel(record, Box::new(move |outcome| to.send(outcome).unwrap()));
    from.recv().unwrap()
}

/// Appends one event and waits for its outcome.
pub(crate) fn append(store: &FjallStore, channel: u32, event: Arc<Event>) -> Result<(), StoreError> {
    let outcomes = Outcomes::new();
    outcomes.append(store, channel, event, None);
    outcomes.next().1
}

/// Appends events of `range` and asserts that all are kept, told in order.
pub(crate) fn fill(store: &FjallStore, channel: u32, range: std::ops::RangeInclusive<u64>) {
    let outcomes = Outcomes::new();
    for eid in range.clone() {
        outcomes.append(store, channel, text(eid), None);
    }
    for eid in range {
        assert_eq!(outcomes.next(), (eid, Ok(())));
    }
}

/// EIDs of everything readable, page by page.
pub(crate) fn eids(store: &FjallStore, channel: u32) -> Vec<u64> {
    let mut eids = Vec::new();
    loop {
        let after = Eid(eids.last().copied().unwrap_or(0));
        let page = store.read(channel, after, 100, usize::MAX).unwrap();
        if page.is_empty() {
            return eids;
        }
        eids.extend(page.iter().map(|e| e.eid.0));
    }
}

/// The journals of the small stores here end before this byte; the rest is zeros.
pub(crate) const WRITTEN_MAX: u64 = 1024 * 1024;

/// Copies the files of a store. Those of an open one are what a kill leaves.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
            continue;
        }
        let length = entry.metadata().unwrap().len();
        let mut file = std::fs::File::create(&target).unwrap();
        std::io::copy(&mut std::fs::File::open(entry.path()).unwrap().take(WRITTEN_MAX), &mut file).unwrap();
        file.set_len(length).unwrap();
    }
}
