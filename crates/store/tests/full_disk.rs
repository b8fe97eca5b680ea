//! A full disk: publishers get a clear error, readers go on, and with room the store works again, without what failed.
//!
//! Needs a small file system of its own, so these tests mount one, which takes root.
#![allow(clippy::unwrap_used, reason = "a failure is the test's failure")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::*;
use rustix::fs::FallocateFlags;
use throughline_engine::store::{Store, StoreError};
use throughline_engine::{Engine, Settings};
use throughline_store::{FjallStore, Progress, StoreSettings};
use throughline_wire::event::{Body, Data, Eid, Event};
use throughline_wire::message::ErrorCode;

const MIB: u64 = 1024 * 1024;

/// A file system in memory, unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// One disk at a time: a process that another test starts holds copies of all open files until it runs its program, and with
/// them the lock of a store that is opened again at that moment.
static ALONE: Mutex<()> = Mutex::new(());

impl SmallDisk {
    fn new(mib: u64) -> SmallDisk {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(dir.path());
        let mounted = mount.output().is_ok_and(|o| o.status.success());
        assert!(mounted, "mounting a tmpfs failed: run this test as root, or with the capability SYS_ADMIN");
        SmallDisk { dir, _alone: alone }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Takes all room but `left` bytes, whatever the store takes or gives back meanwhile.
    fn occupy(&self, left: u64) {
        let ballast = File::create(self.dir.path().join("ballast")).unwrap();
        let taken = || {
            let bytes = free(self.dir.path()).saturating_sub(left).max(1);
            rustix::fs::fallocate(&ballast, FallocateFlags::empty(), 0, bytes)
        };
        while let Err(e) = taken() {
            assert_eq!(e, rustix::io::Errno::NOSPC);
        }
    }

    fn release(&self) {
        std::fs::remove_file(self.dir.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing is lost when this fails: the mount ends with the machine.
        drop(Command::new("umount").arg("-l").arg(self.dir.path()).status());
    }
}

fn free(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bavail * stat.f_frsize
}

fn big(eid: u64, time: u64) -> Arc<Event> {
    Arc::new(Event { eid: Eid(eid), time, body: Body::new(Data::bytes(vec![eid as u8; 16 * 1024])) })
}

fn append_at(store: &FjallStore, event: Arc<Event>) -> Result<(), StoreError> {
    let (session, number) = (1, event.eid.0);
    let outcomes = Outcomes::new();
    outcomes.append(store, 1, event, origin(session, number));
    outcomes.next().1
}

/// Asserts that exactly `kept` can be read, by events and by publish numbers.
fn holds(store: &FjallStore, kept: &[u64]) {
    assert_eq!(eids(store, 1), kept);
    let channel = store.channels().unwrap().remove(0);
    assert_eq!(channel.events, kept.len() as u64);
    let numbers: Vec<u64> = channel.windows.iter().flat_map(|(_, w)| w.entries.iter().map(|(n, _)| *n)).collect();
    assert_eq!(numbers, kept);
}

#[test]
fn with_too_little_free_nothing_is_written() {
    let disk = SmallDisk::new(24);
    let settings = StoreSettings { free_bytes_min: 8 * MIB, ..StoreSettings::new(disk.path()) };
    let store = FjallStore::open(settings.clone(), NOW).unwrap();
    put_channel(&store, record(1)).unwrap();
    let mut kept: Vec<u64> = (1..=20).collect();
    for eid in &kept {
        append_at(&store, big(*eid, NOW)).unwrap();
    }
    disk.occupy(4 * MIB);
    for eid in 21..=25 {
        let Err(StoreError::Full(text)) = append_at(&store, big(eid, NOW)) else { panic!("event {eid} was kept") };
        assert!(text.contains("free_bytes_min"), "{text}");
    }
    assert!(matches!(put_channel(&store, record(2)), Err(StoreError::Full(_))));
    holds(&store, &kept);
    // What makes room is still done.
    store.trim(1, Eid(10));
    while store.channels().unwrap()[0].first != Eid(11) {
        store.delete_channel(9).unwrap();
    }
    disk.release();
    for eid in 26..=30 {
        append_at(&store, big(eid, NOW)).unwrap();
        kept.push(eid);
    }
    kept.drain(..10);
    drop(store);
    assert_eq!(eids(&FjallStore::open(settings, NOW).unwrap(), 1), kept);
}

/// Fills the disk with a channel until it is full, and gives what it says of itself from then on.
fn filled(disk: &SmallDisk) -> (Arc<FjallStore>, Receiver<bool>) {
    let (to, told) = std::sync::mpsc::channel();
    let watch = move |progress: Progress<'_>| {
        if let Progress::Full(full) = progress {
            let _ = to.send(full);
        }
    };
    let settings = StoreSettings { free_bytes_min: 64 * MIB, ..StoreSettings::new(disk.path()) };
    let store = FjallStore::open_watched(settings, NOW, Box::new(watch)).unwrap();
    for number in [1, 2] {
        put_channel(&store, record(number)).unwrap();
        append(&store, number, text(1)).unwrap();
    }
    let million = |eid| event(eid, Data::bytes(vec![eid as u8; 1_000_000]));
    let full = (2..).find_map(|eid| append(&store, 1, million(eid)).err()).unwrap();
    assert!(matches!(full, StoreError::Full(_)), "{full}");
    assert_eq!(told.recv(), Ok(true));
    (store, told)
}

#[test]
fn a_deleted_channel_leaves_its_room_to_others() {
    let disk = SmallDisk::new(80);
    let (store, told) = filled(&disk);
    assert!(free(disk.dir.path()) < 64 * MIB);
    store.delete_channel(1).unwrap();
    assert_eq!(told.recv(), Ok(false));
    let free = free(disk.dir.path());
    assert!(free > 78 * MIB, "{free} bytes are free");
    append(&store, 2, text(2)).unwrap();
    drop(store);
    assert_eq!(eids(&open(&disk.path()), 2), [1, 2]);
}

#[test]
fn removed_events_leave_their_room_to_others() {
    let disk = SmallDisk::new(80);
    let (store, told) = filled(&disk);
    store.trim(1, Eid(6));
    assert_eq!(told.recv(), Ok(false));
    // Room may have come back for another reason first.
    while eids(&store, 1).first() != Some(&7) {
        std::thread::yield_now();
    }
    let kept = eids(&store, 1);
    append(&store, 2, text(2)).unwrap();
    drop(store);
    assert_eq!(eids(&open(&disk.path()), 1), kept);
}

#[test]
fn on_a_full_disk_channels_can_be_deleted() {
    let disk = SmallDisk::new(80);
    let (store, told) = filled(&disk);
    disk.occupy(3 * MIB);
    store.delete_channel(1).unwrap();
    // Not even now is enough free, but what was removed is.
    while free(disk.dir.path()) < 18 * MIB {
        store.delete_channel(9).unwrap();
    }
    disk.release();
    assert_eq!(told.recv(), Ok(false));
    append(&store, 2, text(2)).unwrap();
}

#[test]
fn a_write_that_fails_is_undone_and_the_store_recovers_in_place() {
    let disk = SmallDisk::new(16);
    let store = open(&disk.path());
    put_channel(&store, record(1)).unwrap();
    let mut kept = Vec::new();
    let mut eid = 0;
    for round in 0..3 {
        for _ in 0..10 {
            eid += 1;
            append_at(&store, big(eid, NOW)).unwrap();
            kept.push(eid);
        }
        disk.occupy(100 * 1024 + round * 5000);
        let error = loop {
            eid += 1;
            match append_at(&store, big(eid, NOW)) {
                Ok(()) => kept.push(eid),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, StoreError::Full(_)), "{error}");
        holds(&store, &kept);
        let time = NOW + round * 10_000;
        for _ in 0..3 {
            eid += 1;
            assert!(matches!(append_at(&store, big(eid, time)), Err(StoreError::Full(_))));
        }
        holds(&store, &kept);
        disk.release();
        // The next attempt is due a second after the last one.
        eid += 1;
        append_at(&store, big(eid, time + 1001)).unwrap();
        kept.push(eid);
        holds(&store, &kept);
    }
    drop(store);
    holds(&open(&disk.path()), &kept);
}

#[test]
fn after_a_write_that_failed_the_store_works_again_although_nobody_publishes() {
    let disk = SmallDisk::new(16);
    let (to, told) = std::sync::mpsc::channel();
    let watch = move |progress: Progress<'_>| {
        if let Progress::Full(full) = progress {
            let _ = to.send(full);
        }
    };
    let settings = StoreSettings { free_bytes_min: 0, ..StoreSettings::new(disk.path()) };
    let store = FjallStore::open_watched(settings, NOW, Box::new(watch)).unwrap();
    put_channel(&store, record(1)).unwrap();
    disk.occupy(100 * 1024);
    let failed = (1..).find(|eid| append_at(&store, big(*eid, NOW)).is_err()).unwrap();
    assert!(append_at(&store, big(failed + 1, NOW + 10_000)).is_err());
    assert_eq!(told.recv(), Ok(true));
    disk.release();
    assert_eq!(told.recv(), Ok(false));
    holds(&store, &(1..failed).collect::<Vec<_>>());
}

/// What a channel's limits remove makes room as well as a deletion does.
#[test]
fn after_a_write_that_failed_removed_events_leave_their_room_to_others() {
    let disk = SmallDisk::new(40);
    let (to, told) = std::sync::mpsc::channel();
    let (root, taken) = (disk.dir.path().to_owned(), disk.dir.path().join("more ballast"));
    let watch = move |progress: Progress<'_>| {
        if let Progress::Full(full) = progress {
            if full {
                // So that the store cannot go on by itself.
                std::fs::write(&taken, vec![1; free(&root).saturating_sub(7 * MIB) as usize]).unwrap();
            }
            let _ = to.send(full);
        }
    };
    let settings = StoreSettings { free_bytes_min: 8 * MIB, ..StoreSettings::new(disk.path()) };
    let store = FjallStore::open_watched(settings, NOW, Box::new(watch)).unwrap();
    put_channel(&store, record(1)).unwrap();
    let sized = |eid, bytes| event(eid, Data::bytes(vec![eid as u8; bytes]));
    for eid in 1..=30 {
        append(&store, 1, sized(eid, 100_000)).unwrap();
    }
    disk.occupy(9 * MIB);
    assert!(matches!(append(&store, 1, sized(31, 12_000_000)), Err(StoreError::Full(_))));
    assert_eq!(told.recv(), Ok(true));
    store.trim(1, Eid(29));
    assert_eq!(told.recv(), Ok(false));
    append(&store, 1, text(32)).unwrap();
    drop(store);
    assert_eq!(eids(&open(&disk.path()), 1), [30, 32]);
}

#[test]
fn a_store_closed_while_its_disk_is_full_keeps_what_it_answered_and_nothing_else() {
    let disk = SmallDisk::new(16);
    let store = open(&disk.path());
    put_channel(&store, record(1)).unwrap();
    disk.occupy(0);
    let mut kept = Vec::new();
    // Small enough for a failed commit to be buffered whole, so that closing would write it after all.
    for eid in 1.. {
        match append_at(&store, text(eid)) {
            Ok(()) => kept.push(eid),
            Err(_) => break,
        }
    }
    disk.release();
    drop(store);
    let store = open(&disk.path());
    holds(&store, &kept);
    let next = kept.len() as u64 + 2;
    append_at(&store, big(next, NOW)).unwrap();
    assert_eq!(eids(&store, 1).last(), Some(&next));
}

#[test]
fn a_realm_starts_on_a_full_disk() {
    for left in [20 * 1024, 2 * MIB] {
        let disk = SmallDisk::new(24);
        let settings = StoreSettings { free_bytes_min: 8 * MIB, ..StoreSettings::new(disk.path()) };
        let store = FjallStore::open(settings.clone(), NOW).unwrap();
        put_channel(&store, record(1)).unwrap();
        append(&store, 1, text(1)).unwrap();
        drop(store);
        disk.occupy(left);
        let store = FjallStore::open(settings, NOW).unwrap();
        let seam: Arc<dyn Store> = store.clone();
        let configured = [("channel/1".to_owned(), record(1).attributes)];
        let engine = Engine::open(Settings::default(), seam, &configured, 1, NOW).unwrap();
        assert!(engine.channel("channel/1").is_some());
        assert_eq!(eids(&store, 1), [1]);
        let refused = engine.create("channel/2", record(2).attributes, NOW).unwrap_err();
        assert!(format!("{refused:?}").contains("free_bytes_min"), "{refused:?}");
        // What makes room is done while 1 MiB is free.
        let deleted = engine.delete("channel/1");
        if left < MIB {
            assert!(deleted.unwrap_err().is(ErrorCode::StoreFull));
        } else {
            deleted.unwrap();
        }
        disk.release();
        drop(engine.create("channel/2", record(2).attributes, NOW).unwrap());
        engine.delete("channel/2").unwrap();
    }
}

/// What another's write meets is not the answer of who only waits for his turn.
#[test]
fn who_waits_for_his_turn_is_told_nothing_of_the_writes_before() {
    let disk = SmallDisk::new(24);
    let settings = StoreSettings { free_bytes_min: 8 * MIB, ..StoreSettings::new(disk.path()) };
    let failures = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&failures);
    let watch = move |progress: Progress<'_>| {
        told.fetch_add(usize::from(matches!(progress, Progress::Failed(_))), Ordering::SeqCst);
    };
    let store = FjallStore::open_watched(settings, NOW, Box::new(watch)).unwrap();
    disk.occupy(20 * 1024);
    let outcomes = Outcomes::new();
    outcomes.append(&store, 1, text(1), None);
    store.settle().unwrap();
    assert!(matches!(outcomes.next().1, Err(StoreError::Full(_))));
    assert_eq!(failures.load(Ordering::SeqCst), 1);
}
