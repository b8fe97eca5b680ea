//! Channels coming and going, watchers, bounds of the realm, threads.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use common::*;
use throughline_engine::ChannelKind::{Mixed, Persistent, Reliable};
use throughline_engine::memory::MemoryStore;
use throughline_engine::store::{Store, StoreError};
use throughline_engine::{
    ChannelAttributes, CreateError, Creation, Engine, OpenError, Publish, Read, ReadLimit, Settings,
};
use throughline_wire::event::Eid;
use throughline_wire::message::{ErrorCode, From};

fn open(store: &Arc<MemoryStore>, configured: &[(&str, ChannelAttributes)]) -> Result<Arc<Engine>, OpenError> {
    let configured: Vec<_> = configured.iter().map(|(name, limits)| (name.to_string(), *limits)).collect();
    Engine::open(Settings::default(), Arc::<MemoryStore>::clone(store), &configured, 1, 0)
}

#[test]
fn channels_are_created_once() {
    let realm = Realm::new();
    let limits = capacity(Reliable, 5);
    assert!(matches!(realm.engine.create("b", limits, 0), Ok(Creation::Created(_))));
    assert!(matches!(realm.engine.create("b", limits, 0), Ok(Creation::Existing(_))));
    let conflict = realm.engine.create("b", capacity(Reliable, 6), 0).unwrap_err();
    assert_eq!(conflict, CreateError::Conflict(limits));
    realm.engine.channel_or_create("a", 0).unwrap();
    let names: Vec<String> = realm.engine.channels().iter().map(|channel| channel.name().to_owned()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(realm.engine.channel("a").unwrap().attributes(), realm.settings.defaults);
}

#[test]
fn bad_names_and_limits_are_refused() {
    let realm = Realm::with(Settings { auto_create: false, channels_max: 1, ..Settings::default() });
    let code = |error: CreateError| match error {
        CreateError::Reply(error) => error.code.into_owned(),
        CreateError::Conflict(_) => String::new(),
    };
    assert!(realm.engine.channel_or_create("c", 0).unwrap_err().is(ErrorCode::UnknownChannel));
    assert!(realm.engine.channel_or_create("c d", 0).unwrap_err().is(ErrorCode::BadChannelName));
    assert_eq!(code(realm.engine.create("/", attributes(Reliable), 0).unwrap_err()), "bad_channel_name");
    assert_eq!(code(realm.engine.create("c", capacity(Reliable, 0), 0).unwrap_err()), "bad_request");
    realm.create("c", attributes(Reliable));
    assert!(realm.engine.channel_or_create("c", 0).is_ok());
    assert_eq!(code(realm.engine.create("d", attributes(Reliable), 0).unwrap_err()), "overloaded");
    assert!(realm.engine.delete("d").unwrap_err().is(ErrorCode::UnknownChannel));
    realm.engine.delete("c").unwrap();
    realm.create("d", attributes(Reliable));
}

#[test]
fn only_channels_on_disk_take_persistent_events() {
    let realm = Realm::new();
    for (kind, accepted) in [(Reliable, false), (Persistent, true), (Mixed, true)] {
        let channel = realm.create(kind.name(), attributes(kind));
        let publish = Publish { channel, origin: None, body: text("x"), persistent: Some(true) };
        let (outcome, later) = realm.publish(publish, 0);
        realm.store.commit();
        let outcome = outcome.unwrap_or_else(|| later.try_recv().unwrap());
        assert_eq!(outcome.is_ok(), accepted, "{kind}");
        if let Err(error) = outcome {
            assert!(error.is(ErrorCode::NotPersistent));
        }
    }
}

#[test]
fn configured_channels_take_their_limits_at_the_start() {
    let store = MemoryStore::manual();
    let engine = open(&store, &[("p", capacity(Persistent, 5))]).unwrap();
    assert_eq!(engine.channel("p").unwrap().attributes().capacity, Some(5));
    let store = store.reopen();
    let engine = open(&store, &[("p", capacity(Persistent, 7))]).unwrap();
    assert_eq!(engine.channel("p").unwrap().attributes().capacity, Some(7));
    let store = store.reopen();
    assert_eq!(open(&store, &[]).unwrap().channel("p").unwrap().attributes().capacity, Some(7));

    let error = |configured: &[_]| open(&store.reopen(), configured).unwrap_err();
    assert!(matches!(error(&[("p", attributes(Mixed))]), OpenError::Kind { .. }));
    assert!(matches!(error(&[("p p", attributes(Reliable))]), OpenError::Name { .. }));
    assert!(matches!(error(&[("p", capacity(Persistent, 0))]), OpenError::Channel { .. }));
    let twice = [("a", attributes(Reliable)), ("a", capacity(Reliable, 1))];
    assert_eq!(error(&twice), OpenError::Twice("a".to_owned()));
}

#[test]
fn deleting_ends_what_is_under_way() {
    let realm = Realm::new();
    let watcher = Arc::new(Counter::default());
    let id = realm.engine.register(Arc::<Counter>::clone(&watcher));
    let channel = realm.create("c", attributes(Persistent));
    channel.watch(id);
    realm.put(&channel, text("x"), 0);
    let publish = || Publish { channel: channel.clone(), origin: None, body: text("x"), persistent: None };
    let (_, waiting) = realm.publish(publish(), 0);
    realm.engine.delete("c").unwrap();
    assert!(waiting.try_recv().unwrap().unwrap_err().is(ErrorCode::ChannelDeleted));
    assert_eq!(*watcher.deleted.lock().unwrap(), [channel.number()]);
    realm.store.commit();
    assert!(realm.publish(publish(), 0).0.unwrap().unwrap_err().is(ErrorCode::ChannelDeleted));
    assert!(channel.position(From::New, 0).unwrap_err().is(ErrorCode::ChannelDeleted));
    assert_eq!(follow(&channel, 0, 0), []);
    assert_eq!(realm.engine.retained_bytes(), 0);
    channel.watch(id);
    assert_eq!(watcher.deleted.lock().unwrap().len(), 2, "who comes late is told at once");

    let again = realm.create("c", attributes(Persistent));
    assert_ne!((again.number(), again.epoch()), (channel.number(), channel.epoch()));
    assert_eq!(realm.put(&again, text("x"), 0), 1);
    assert_eq!(realm.engine.totals().published, 2, "what was published does not go down");
}

#[test]
fn a_deletion_that_fails_leaves_the_channel() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Persistent));
    realm.put(&channel, text("x"), 0);
    let watcher = Arc::new(Counter::default());
    channel.watch(realm.engine.register(watcher.clone()));
    realm.store.fail(Some(StoreError::Failed("EIO".into())));
    assert!(realm.engine.delete("c").unwrap_err().is(ErrorCode::StoreFailed));
    realm.store.fail(None);
    assert_eq!(watcher.dirty.load(Ordering::SeqCst), 1, "who came to read in the meantime found nothing");
    assert_eq!(realm.put(&realm.engine.channel("c").unwrap(), text("x"), 0), 2);
    assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 2])]);
}

#[test]
fn a_channel_that_the_disk_did_not_take_is_none() {
    let realm = Realm::new();
    realm.store.fail(Some(StoreError::Full("0 bytes".into())));
    let error = realm.engine.create("c", attributes(Mixed), 0).unwrap_err();
    assert!(matches!(error, CreateError::Reply(error) if error.is(ErrorCode::StoreFull)));
    assert!(realm.engine.channel("c").is_none());
}

#[test]
fn watchers_are_told_once_until_they_look() {
    let realm = Realm::new();
    let watchers = [Arc::new(Counter::default()), Arc::new(Counter::default())];
    let ids = watchers.each_ref().map(|watcher| realm.engine.register(Arc::<Counter>::clone(watcher)));
    let channel = realm.create("c", attributes(Reliable));
    channel.watch(ids[0]);
    channel.watch(ids[0]);
    channel.watch(ids[1]);
    let counts = || watchers.each_ref().map(|watcher| watcher.count());
    realm.fill(&channel, 3, "x");
    assert_eq!(counts(), [1, 1]);
    channel.seen(ids[0]);
    realm.fill(&channel, 2, "x");
    assert_eq!(counts(), [2, 1]);
    channel.seen(ids[0]);
    channel.unwatch(ids[0]);
    channel.seen(ids[1]);
    realm.fill(&channel, 1, "x");
    assert_eq!(counts(), [2, 2]);
}

#[test]
fn memory_of_the_realm_is_bounded() {
    let bound = 100_000;
    let realm = Realm::with(Settings { retained_bytes_max: bound, ..Settings::default() });
    let memory = realm.create("m", attributes(Reliable));
    let disk = realm.create("d", attributes(Persistent));
    let data = "x".repeat(800);
    realm.fill(&memory, 60, &data);
    realm.fill(&disk, 60, &data);
    assert!(realm.engine.retained_bytes() <= bound);
    assert_eq!(memory.status().events, 60);
    realm.fill(&memory, 100, &data);
    assert!(realm.engine.retained_bytes() <= bound);
    assert_eq!(disk.status().events, 60, "what is on disk is not lost");
    assert_eq!(follow(&disk, 0, 0).iter().map(|page| page.1.len()).sum::<usize>(), 60);
    let kept = memory.status();
    assert_eq!(follow(&memory, 0, 0)[0].0, Some((1, kept.first.0 - 1, "capacity")));

    let mixed = realm.create("x", attributes(Mixed));
    let publish =
        |persistent| Publish { channel: mixed.clone(), origin: None, body: text(&data), persistent: Some(persistent) };
    assert!(realm.publish(publish(false), 0).0.unwrap().unwrap_err().is(ErrorCode::Overloaded));
    assert!(realm.publish(publish(true), 0).0.is_none());
}

#[test]
fn the_fullest_channels_make_room() {
    let realm = Realm::with(Settings { retained_bytes_max: 50_000, ..Settings::default() });
    let data = "x".repeat(800);
    let big = realm.create("big", attributes(Reliable));
    realm.fill(&big, 48, &data);
    for n in 0..4 {
        realm.fill(&realm.create(&format!("small{n}"), attributes(Reliable)), 1, &data);
    }
    assert!(realm.engine.retained_bytes() > 50_000, "a channel does not give up its newest event at once");
    realm.engine.expire(1_000);
    assert!(realm.engine.retained_bytes() <= 50_000 - 50_000 / 16);
    assert!(big.status().events < 48 && big.status().last == Eid(48));
    assert_eq!(realm.engine.totals().channels, 5);
}

#[test]
fn memory_is_bounded_over_many_channels_of_one_event_each() {
    let bound = 100_000;
    let realm = Realm::with(Settings { retained_bytes_max: bound, ..Settings::default() });
    let publish = |kind, n: usize| {
        let channel = realm.create(&format!("{kind}{n}"), attributes(kind));
        (realm.put_from(&channel, None, text(&"x".repeat(5_000)), 0), channel)
    };
    let refused = (0..100).filter_map(|n| publish(Reliable, n).0.err()).collect::<Vec<_>>();
    assert!(!refused.is_empty() && refused.iter().all(|fault| fault.is(ErrorCode::Overloaded)));
    assert!(realm.engine.retained_bytes() <= bound + bound / 16);
    realm.engine.expire(1_000);
    assert!(realm.engine.retained_bytes() <= bound - bound / 16);
    assert!(publish(Reliable, 100).0.is_ok(), "there is room again");

    for n in 0..100 {
        let (published, channel) = publish(Persistent, n);
        assert!(published.is_ok(), "the disk has room");
        assert_eq!(follow(&channel, 0, 0), [(None, vec![1])]);
        assert!(realm.engine.retained_bytes() <= bound);
    }
}

#[test]
fn a_stopped_realm_answers_everyone() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Persistent));
    let publish = || Publish { channel: channel.clone(), origin: None, body: text("x"), persistent: None };
    let (_, waiting) = realm.publish(publish(), 0);
    realm.engine.stop();
    assert_eq!(waiting.try_recv().unwrap().unwrap().eid, Eid(1));
    assert!(realm.publish(publish(), 0).0.unwrap().unwrap_err().is(ErrorCode::Draining));
    assert!(realm.engine.channel_or_create("d", 0).unwrap_err().is(ErrorCode::Draining));
    assert!(realm.engine.delete("c").unwrap_err().is(ErrorCode::Draining));
    assert_eq!(follow(&channel, 0, 0), [(None, vec![1])]);
}

/// Four publishers and a reader, all at once: every event once, in the order of EIDs, and in each publisher's order.
#[test]
fn publishers_in_threads_get_one_order() {
    const EACH: u64 = 2_000;
    for kind in [Reliable, Persistent, Mixed] {
        let store = MemoryStore::automatic();
        let seam: Arc<dyn Store> = store.clone();
        let engine = Engine::open(Settings::default(), seam, &[], 1, 0).unwrap();
        let channel = engine.create("c", attributes(kind), 0).unwrap().channel();
        let answered = Arc::new(AtomicU64::new(0));
        let (sender, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for publisher in 0..4_u64 {
                let (engine, channel, sender, answered) = (&engine, &channel, sender.clone(), &answered);
                scope.spawn(move || {
                    for n in 1..=EACH {
                        let origin = session(u128::from(publisher), n);
                        let persistent = (kind == Mixed).then_some(n % 2 == 0);
                        let body = text(&format!("{publisher}:{n}"));
                        let publish = Publish { channel: Arc::clone(channel), origin, body, persistent };
                        let (later, count) = (sender.clone(), Arc::clone(answered));
                        let tell = move |outcome: Outcome| {
                            count.fetch_add(1, Ordering::Relaxed);
                            later.send(outcome.unwrap().eid).unwrap();
                        };
                        if let Some(outcome) = engine.publish(publish, 0, tell) {
                            answered.fetch_add(1, Ordering::Relaxed);
                            sender.send(outcome.unwrap().eid).unwrap();
                        }
                    }
                });
            }
            scope.spawn(|| read_in_order(&channel, 4 * EACH));
        });
        drop(sender);
        let mut eids: Vec<u64> = answers.iter().take(4 * EACH as usize).map(|eid| eid.0).collect();
        eids.sort_unstable();
        assert_eq!(eids, (1..=4 * EACH).collect::<Vec<_>>(), "{kind}");
        assert_eq!(answered.load(Ordering::Relaxed), 4 * EACH);
    }
}

fn read_in_order(channel: &throughline_engine::Channel, until: u64) {
    let mut cursor = Eid::NONE;
    let mut latest = [0_u64; 4];
    let limit = ReadLimit { events: 64, bytes: usize::MAX };
    while cursor.0 < until {
        let page = match channel.read(cursor, limit, 0) {
            Read::Page(page) => page,
            Read::Stored => channel.read_stored(cursor, limit, 0).unwrap(),
        };
        assert!(page.gap.is_none());
        for event in &page.events {
            assert_eq!(event.eid, cursor.next());
            cursor = event.eid;
            let (publisher, n) = event.body.data.as_text().unwrap().split_once(':').unwrap();
            let (publisher, n): (usize, u64) = (publisher.parse().unwrap(), n.parse().unwrap());
            assert_eq!(n, latest[publisher] + 1);
            latest[publisher] = n;
        }
        std::thread::yield_now();
    }
}

/// A reader that falls behind while events are removed under it, in memory and on disk: each event is given or in a gap, once.
#[test]
fn a_reader_that_is_overtaken_misses_nothing_silently() {
    const EVENTS: u64 = 20_000;
    for kind in [Reliable, Persistent, Mixed] {
        let seam: Arc<dyn Store> = MemoryStore::automatic();
        let settings = Settings { ring_events_max: 8, ..Settings::default() };
        let engine = Engine::open(settings, seam, &[], 1, 0).unwrap();
        let channel = engine.create("c", capacity(kind, 50), 0).unwrap().channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=EVENTS {
                    let persistent = (kind == Mixed).then_some(n % 3 == 0);
                    let publish = Publish { channel: channel.clone(), origin: None, body: text("x"), persistent };
                    let (sender, answer) = mpsc::channel();
                    let outcome = engine.publish(publish, 0, move |outcome| sender.send(outcome).unwrap());
                    outcome.unwrap_or_else(|| answer.recv().unwrap()).unwrap();
                }
            });
            let mut cursor = 0;
            while cursor < EVENTS {
                let page = page(&channel, cursor, ReadLimit { events: 7, bytes: usize::MAX }, 0);
                if let Some(gap) = page.gap {
                    assert_eq!(gap.from.0, cursor + 1, "{kind}");
                    cursor = gap.to.0;
                }
                for event in &page.events {
                    assert_eq!(event.eid.0, cursor + 1, "{kind}");
                    cursor = event.eid.0;
                }
                assert_eq!(page.next.0, cursor, "{kind}");
                std::thread::yield_now();
            }
        });
    }
}
