//! What is told of commits.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use common::*;
use throughline_engine::store::{Store, StoreError};
use throughline_engine::{Engine, Publish, Settings};
use throughline_store::{FjallStore, Progress, StoreSettings};
use throughline_wire::event::Eid;
use throughline_wire::message::{ErrorCode, ReplyError};

/// A step, without what it borrows.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Begun,
    Committed(usize, Option<u64>),
    Full,
    Failed,
}

#[expect(clippy::unwrap_used, reason = "a failure is the test's failure")]
fn watched(dir: &Path, free_bytes_min: u64) -> (Arc<FjallStore>, Receiver<Told>) {
    let (to, from) = channel();
    let watch = move |progress: Progress<'_>| {
        let told = match progress {
            Progress::Begun => Told::Begun,
            Progress::Committed { events, oldest } => Told::Committed(events, oldest),
            Progress::Failed(StoreError::Full(_)) => Told::Full,
            Progress::Failed(StoreError::Failed(_)) => Told::Failed,
            // Told in full_disk.rs.
            Progress::Full(_) => return,
        };
        // The test may have heard enough.
        drop(to.send(told));
    };
    let settings = StoreSettings { free_bytes_min, ..StoreSettings::new(dir) };
    (FjallStore::open_watched(settings, NOW, Box::new(watch)).unwrap(), from)
}

#[test]
fn every_commit_is_told_before_its_events_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (store, told) = watched(dir.path(), 0);
    put_channel(&store, record(1)).unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Told::Begun, Told::Committed(0, None)]);
    append(&store, 1, text(1)).unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Told::Begun, Told::Committed(1, Some(NOW))]);
    fill(&store, 1, 2..=100);
    let events = told.try_iter().map(|told| if let Told::Committed(events, _) = told { events } else { 0 });
    assert_eq!(events.sum::<usize>(), 99);
    store.trim(1, Eid(50));
    while store.channels().unwrap()[0].first != Eid(51) {}
    assert!(told.iter().any(|told| told == Told::Committed(0, None)));
}

#[test]
fn writes_that_fail_are_told_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, told) = watched(dir.path(), u64::MAX);
    assert!(matches!(append(&store, 1, text(1)), Err(StoreError::Full(_))));
    store.stop();
    assert!(matches!(append(&store, 1, text(2)), Err(StoreError::Failed(_))));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Told::Begun, Told::Full, Told::Failed]);
}

/// Whatever is asked after a panic of the store's thread is answered, as failed, and what is stored can be read.
#[test]
fn after_a_panic_of_its_thread_the_store_answers_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let arm = Arc::clone(&armed);
    let watch = move |_: Progress<'_>| assert!(!arm.load(Ordering::SeqCst), "the panic of this test");
    let store = FjallStore::open_watched(settings(dir.path()), NOW, Box::new(watch)).unwrap();
    let attributes = record(1).attributes;
    let settings = Settings { defaults: attributes, ..Settings::default() };
    let seam: Arc<dyn Store> = store.clone();
    let engine = Engine::open(settings, seam, &[], 1, NOW).unwrap();
    let there = engine.create("there", attributes, NOW).unwrap().channel();
    append(&store, there.number(), text(1)).unwrap();
    armed.store(true, Ordering::SeqCst);
    for name in ["a", "b", "a", "there"] {
        let channel = engine.channel_or_create(name, NOW).unwrap();
        let (to, outcomes) = channel_of_outcomes();
        let publish =
            Publish { channel: Arc::clone(&channel), origin: None, body: text(2).body.clone(), persistent: None };
        if channel.await_creation(to.clone()) {
            assert!(outcomes.recv().unwrap().unwrap_err().is(ErrorCode::StoreFailed));
        }
        let outcome = engine.publish(publish, NOW, move |outcome| to(outcome.map(drop)));
        let outcome = outcome.map_or_else(|| outcomes.recv().unwrap(), |decided| decided.map(drop));
        assert!(outcome.unwrap_err().is(ErrorCode::StoreFailed), "{name}");
    }
    assert!(engine.create("b", attributes, NOW).is_err());
    assert!(engine.delete("there").unwrap_err().is(ErrorCode::StoreFailed));
    assert_eq!(eids(&store, there.number()), [1]);
    engine.stop();
}

type Outcome = Result<(), ReplyError>;

fn channel_of_outcomes() -> (impl Fn(Outcome) + Clone + Send + 'static, Receiver<Outcome>) {
    let (to, from) = channel();
    (move |outcome| drop(to.send(outcome)), from)
}
