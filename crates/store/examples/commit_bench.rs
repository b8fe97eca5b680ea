//! Durable events per second: fjall alone with 512 events per commit, against the store with 1 to 64 channels that one thread
//! fills, as a shard of a realm does; then how fast stored events are read back. With 1024 events under way 512 are in a
//! commit while 512 gather. Rates vary with the disk from second to second, so each is measured between two runs of fjall alone,
//! and the ratio to these is what counts.
//!
//! `cargo run --release -p throughline-store --example commit_bench [DIR]`
#![allow(clippy::unwrap_used, reason = "a development tool: a failure ends it")]
#![allow(clippy::print_stdout, reason = "its result is what it prints")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use throughline_engine::store::{Append, ChannelRecord, Store};
use throughline_engine::types::{ChannelAttributes, ChannelKind, Origin};
use throughline_store::{FjallStore, StoreSettings};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};

const VALUE_BYTES: usize = 1024;
const RUN: Duration = Duration::from_secs(4);
const PER_COMMIT: u64 = 512;
const REPLAY_EVENTS: u64 = 1_000_000;
const REPLAY_BYTES: usize = 128;

fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).unwrap();
    for (channels, under_way) in [(1, 512), (1, 1024), (8, 1024), (64, 1024), (64, 4096)] {
        let (alone, path) = (dir.path().join("alone"), dir.path().join("store"));
        let before = fjall_alone(&alone, channels);
        let rate = through_append(&path, channels, under_way);
        std::fs::remove_dir_all(path).unwrap();
        let after = fjall_alone(&alone, channels);
        let ratio = 2.0 * rate / (before + after);
        println!(
            "{channels} channels, {under_way} under way: {rate:.0} events/s, {ratio:.2} of fjall alone ({before:.0}, {after:.0})"
        );
    }
    replay(&dir.path().join("replay"));
}

/// The same keys and values, 512 in a commit.
fn fjall_alone(dir: &Path, channels: u32) -> f64 {
    let rate = fjall_alone_in(dir, channels);
    std::fs::remove_dir_all(dir).unwrap();
    rate
}

fn fjall_alone_in(dir: &Path, channels: u32) -> f64 {
    let db = Database::builder(dir).manual_journal_persist(true).open().unwrap();
    let events = db.keyspace("events", KeyspaceCreateOptions::default).unwrap();
    let value = noise(VALUE_BYTES);
    let (start, mut n) = (Instant::now(), 0_u64);
    while start.elapsed() < RUN {
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        for _ in 0..PER_COMMIT {
            let mut key = [0; 12];
            key[..4].copy_from_slice(&((n % u64::from(channels)) as u32).to_be_bytes());
            key[4..].copy_from_slice(&(n / u64::from(channels)).to_be_bytes());
            n += 1;
            batch.insert(&events, key, value.as_slice());
        }
        batch.commit().unwrap();
    }
    n as f64 / start.elapsed().as_secs_f64()
}

/// Bytes that do not compress.
fn noise(n: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..n).map(|_| next()).collect()
}

fn open(dir: &Path) -> Arc<FjallStore> {
    FjallStore::open(StoreSettings::new(dir), 0).unwrap()
}

fn put_channel(store: &FjallStore, number: u32) {
    let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
    let name = format!("channel-{number}").into();
    let record = ChannelRecord { number, name, attributes, epoch: Epoch(1), reserved: Eid(0) };
    let (to, from) = channel();
    store.put_channel(record, Box::new(move |outcome| to.send(outcome).unwrap()));
    from.recv().unwrap().unwrap();
}

/// One thread publishes with numbers into each channel in turn, a session for each, and keeps `under_way` events unanswered.
fn through_append(dir: &Path, channels: u32, under_way: u64) -> f64 {
    let store = open(dir);
    (1..=channels).for_each(|number| put_channel(&store, number));
    let data = Data::bytes(noise(VALUE_BYTES));
    let (to, from) = channel();
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < RUN {
        let number = (sent % u64::from(channels)) as u32 + 1;
        let at = sent / u64::from(channels) + 1;
        sent += 1;
        let to = to.clone();
        let done = Box::new(move |outcome: Result<(), _>| {
            outcome.unwrap();
            to.send(()).unwrap();
        });
        let event = Arc::new(Event { eid: Eid(at), time: at, body: Body::new(data.clone()) });
        let origin = Some(Origin { session: SessionId(number.into()), number: at });
        store.append(Append { channel: number, event, origin, done });
        if sent > under_way {
            from.recv().unwrap();
        }
    }
    from.iter().take(sent.min(under_way) as usize).for_each(drop);
    sent as f64 / start.elapsed().as_secs_f64()
}

fn replay(dir: &Path) {
    let store = open(dir);
    put_channel(&store, 1);
    let data = Data::bytes(noise(REPLAY_BYTES));
    let (to, from) = channel();
    for eid in 1..=REPLAY_EVENTS {
        let to = to.clone();
        let done = Box::new(move |outcome: Result<(), _>| to.send(outcome.is_ok()).unwrap());
        let event = Arc::new(Event { eid: Eid(eid), time: eid, body: Body::new(data.clone()) });
        store.append(Append { channel: 1, event, origin: None, done });
        if eid > 8192 {
            assert!(from.recv().unwrap());
        }
    }
    assert!(from.iter().take(8192).all(|kept| kept));
    println!("resident after writing {REPLAY_EVENTS} events: {} MiB", resident_mib());
    drop(store);
    let start = Instant::now();
    let store = open(dir);
    println!("opening a store of {REPLAY_EVENTS} events: {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(store.channels().unwrap()[0].events, REPLAY_EVENTS);
    println!("listing its channels: {:?}", start.elapsed());
    for page in [64, 1000] {
        let (start, mut after) = (Instant::now(), Eid::NONE);
        while let Some(last) = store.read(1, after, page, usize::MAX).unwrap().last() {
            after = last.eid;
        }
        assert_eq!(after.0, REPLAY_EVENTS);
        let rate = REPLAY_EVENTS as f64 / start.elapsed().as_secs_f64();
        println!("replay in pages of {page}: {rate:.0} events/s of {REPLAY_BYTES} bytes");
    }
    println!("resident at the end: {} MiB", resident_mib());
}

/// Resident memory of this process; 0 where the system does not say.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
