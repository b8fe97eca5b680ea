//! What was put in is there after closing and opening.

mod common;

use std::sync::Arc;

use common::*;
use throughline_engine::store::{Store, StoreError};
use throughline_store::{FjallStore, OpenError, StoreSettings};
use throughline_wire::event::{Body, Data, Eid, Event, SessionId};
use throughline_wire::properties::Properties;

#[test]
fn a_new_store_is_empty_and_channels_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a/b"));
    assert!(store.channels().unwrap().is_empty());
    put_channel(&store, record(1)).unwrap();
    let mut changed = record(1);
    changed.reserved = Eid(1000);
    put_channel(&store, changed.clone()).unwrap();
    drop(store);
    let channels = open(&dir.path().join("a/b")).channels().unwrap();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].record, changed);
    assert_eq!((channels[0].first, channels[0].last, channels[0].events), (Eid::NONE, Eid::NONE, 0));
}

#[test]
fn events_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    let body = Body {
        data: Data::bytes(vec![0, 255, 7]),
        tag: Some("tag".into()),
        properties: Some(Properties::from_json("{\"a\":{\"long\":\"-9223372036854775808\"}}").unwrap()),
        ttl: Some(99),
    };
    let rich = Arc::new(Event { eid: Eid(5), time: NOW + 1, body });
    append(&store, 1, Arc::clone(&rich)).unwrap();
    append(&store, 1, text(9)).unwrap();
    let expected = vec![Arc::clone(&rich), text(9)];
    assert_eq!(store.read(1, Eid::NONE, 10, usize::MAX).unwrap(), expected);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read(1, Eid::NONE, 10, usize::MAX).unwrap(), expected);
    let channel = store.channels().unwrap().remove(0);
    assert_eq!((channel.first, channel.last, channel.events), (Eid(5), Eid(9), 2));
    assert_eq!(channel.bytes, (rich.body.weight() + text(9).body.weight()) as u64);
}

#[test]
fn pages_end_at_events_and_at_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    put_channel(&store, record(2)).unwrap();
    fill(&store, 1, 1..=20);
    fill(&store, 2, 1..=3);
    let read = |after, events, bytes| {
        let page = store.read(1, Eid(after), events, bytes).unwrap();
        page.iter().map(|e| e.eid.0).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 3, usize::MAX), [1, 2, 3]);
    assert_eq!(read(3, 2, usize::MAX), [4, 5]);
    assert_eq!(read(0, 100, 1), [1]);
    assert_eq!(read(0, 100, 15), [1, 2, 3]);
    assert_eq!(read(18, 100, usize::MAX), [19, 20]);
    assert_eq!(read(20, 100, usize::MAX), [] as [u64; 0]);
    assert_eq!(read(u64::MAX, 100, usize::MAX), [] as [u64; 0]);
    assert_eq!(read(0, 0, usize::MAX), [] as [u64; 0]);
    assert!(store.read(3, Eid::NONE, 10, 10).unwrap().is_empty());
}

#[test]
fn trimmed_events_are_gone_and_their_eids_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    fill(&store, 1, 1..=10_000);
    store.trim(1, Eid(9_990));
    // Removal goes on in the background; each commit brings a part of it.
    let mut next = 10_001;
    while store.read(1, Eid::NONE, 1, 1).unwrap().first().map(|e| e.eid) != Some(Eid(9_991)) {
        fill(&store, 1, next..=next);
        next += 1;
    }
    let kept: Vec<u64> = (9_991..next).collect();
    assert_eq!(eids(&store, 1), kept);
    drop(store);
    let store = open(dir.path());
    assert_eq!(eids(&store, 1), kept);
    let channel = store.channels().unwrap().remove(0);
    assert_eq!((channel.first, channel.last, channel.events), (Eid(9_991), Eid(next - 1), kept.len() as u64));
    store.trim(1, Eid(u64::MAX));
    while store.channels().unwrap()[0].events > 0 {
        put_channel(&store, record(1)).unwrap();
    }
    drop(store);
    let channel = open(dir.path()).channels().unwrap().remove(0);
    assert_eq!((channel.first, channel.last, channel.events, channel.bytes), (Eid::NONE, Eid(next - 1), 0, 0));
}

#[test]
fn a_deleted_channel_takes_its_events_along_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in [1, 2, 3] {
        put_channel(&store, record(number)).unwrap();
        fill(&store, number, 1..=9_000);
    }
    store.delete_channel(2).unwrap();
    assert!(store.read(2, Eid::NONE, 10, usize::MAX).unwrap().is_empty());
    assert!(matches!(append(&store, 2, text(9_001)), Err(StoreError::Failed(_))));
    store.delete_channel(2).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.channels().unwrap().iter().map(|c| c.record.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((eids(&store, 1).len(), eids(&store, 2).len(), eids(&store, 3).len()), (9_000, 0, 9_000));
}

#[test]
fn windows_come_back_and_are_forgotten_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    let outcomes = Outcomes::new();
    for eid in 1..=3000_u64 {
        outcomes.append(&store, 1, text(eid), origin(u128::from(eid % 2), eid / 2 + 1));
    }
    assert!(outcomes.take(3000).into_iter().all(|(_, outcome)| outcome.is_ok()));
    drop(store);

    let store = open(dir.path());
    let windows = store.channels().unwrap().remove(0).windows;
    assert_eq!(windows.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [SessionId(0), SessionId(1)]);
    for (session, window) in windows {
        assert_eq!((window.entries.len(), window.time), (1024, NOW));
        let last = if session == SessionId(0) { (1501, Eid(3000)) } else { (1500, Eid(2999)) };
        assert_eq!(window.entries.back(), Some(&last));
        assert!(window.entries.iter().zip(window.entries.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 < b.1));
    }

    let later = Arc::new(Event { eid: Eid(3001), time: NOW + 10, body: Body::new(Data::text("x")) });
    outcomes.append(&store, 1, later, origin(1, 9000));
    assert_eq!(outcomes.next(), (3001, Ok(())));
    store.forget_windows(NOW + 10).unwrap();
    let windows = store.channels().unwrap().remove(0).windows;
    assert_eq!(windows.len(), 1);
    assert_eq!((windows[0].0, windows[0].1.entries.back()), (SessionId(1), Some(&(9000, Eid(3001)))));
    drop(store);
    let memory = settings(dir.path()).publish_memory_ms;
    let store = FjallStore::open(settings(dir.path()), NOW + 11 + memory).unwrap();
    assert!(store.channels().unwrap()[0].windows.is_empty());
    assert_eq!(eids(&store, 1).len(), 3001);
}

#[test]
fn windows_are_forgotten_on_demand_unless_they_were_used_since() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    let outcomes = Outcomes::new();
    for eid in 1..=5_000 {
        outcomes.append(&store, 1, text(eid), origin(u128::from(eid), 1));
    }
    let later = Arc::new(Event { eid: Eid(5_001), time: NOW + 10, body: Body::new(Data::text("x")) });
    outcomes.append(&store, 1, later, origin(1, 2));
    assert!(outcomes.take(5_001).iter().all(|(_, outcome)| outcome.is_ok()));
    store.forget(1, (1..=4_998).map(|session| (SessionId(session), NOW)).collect());
    // Removals go on in commits of their own; closing ends what is queued.
    while store.channels().unwrap()[0].windows.len() > 3 {
        std::thread::yield_now();
    }
    drop(store);
    let store = open(dir.path());
    let windows = store.channels().unwrap().remove(0).windows;
    assert_eq!(windows.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 4_999, 5_000]);
    assert_eq!(Vec::from(windows[0].1.entries.clone()), [(1, Eid(1)), (2, Eid(5_001))]);
}

#[test]
fn what_the_engine_must_not_do_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(append(&store, 1, text(1)), Err(StoreError::Failed(_))));
    put_channel(&store, record(1)).unwrap();
    append(&store, 1, text(5)).unwrap();
    assert!(matches!(append(&store, 1, text(5)), Err(StoreError::Failed(_))));
    append(&store, 1, text(6)).unwrap();
    assert_eq!(eids(&store, 1), [5, 6]);
}

#[test]
fn a_stopped_store_has_everything_and_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    let outcomes = Outcomes::new();
    for eid in 1..=500 {
        outcomes.append(&store, 1, text(eid), None);
    }
    store.stop();
    assert!(outcomes.take(500).into_iter().all(|(_, outcome)| outcome.is_ok()));
    assert!(matches!(append(&store, 1, text(501)), Err(StoreError::Failed(_))));
    assert!(store.read(1, Eid::NONE, 1, 1).is_err());
    assert!(put_channel(&store, record(2)).is_err());
    store.stop();
    drop(store);
    assert_eq!(eids(&open(dir.path()), 1).len(), 500);
}

#[test]
fn an_answer_that_calls_the_store_gets_an_error_instead_of_waiting_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_channel(&store, record(1)).unwrap();
    let (to, from) = std::sync::mpsc::channel();
    let inner = Arc::clone(&store);
    let done = Box::new(move |_| to.send(inner.settle()).unwrap());
    store.append(throughline_engine::store::Append { channel: 1, event: text(1), origin: None, done });
    assert!(matches!(from.recv().unwrap(), Err(StoreError::Failed(_))));
}

#[test]
fn opening_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path);
    let second = FjallStore::open(settings(&path), NOW).unwrap_err();
    assert_eq!(second, OpenError::Locked(path.clone()));
    assert!(second.to_string().contains(&path.display().to_string()));
    drop(store);
    drop(open(&path));

    let file = dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    for target in [file.clone(), file.join("below")] {
        let refused = FjallStore::open(StoreSettings::new(&target), NOW).unwrap_err();
        assert!(matches!(&refused, OpenError::NoDirectory(at, _) if *at == target), "{refused:?}");
        assert!(refused.to_string().ends_with("; choose another data directory"), "{refused}");
    }
}

#[test]
fn a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    {
        let db = fjall::Database::builder(dir.path().join("fjall")).open().unwrap();
        let meta = db.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("format", 2_u32.to_be_bytes()).unwrap();
        db.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    let refused = FjallStore::open(settings(dir.path()), NOW).unwrap_err();
    assert_eq!(refused, OpenError::Newer(dir.path().to_owned(), 2, 1));
}
