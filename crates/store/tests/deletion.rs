//! A realm that ends while a deleted channel is still being removed from the disk.
#![allow(clippy::unwrap_used, reason = "a failure is the test's failure")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use common::*;
use throughline_engine::store::Store;
use throughline_engine::types::{ChannelAttributes, ChannelKind, Publish, ReadLimit};
use throughline_engine::{Channel, Engine, Settings};
use throughline_store::{FjallStore, Progress};
use throughline_wire::event::{Body, Data, Eid};

/// More than is removed in one commit.
const EVENTS: u64 = 9_000;
/// Commits in which all of them are removed.
const COMMITS: u64 = 5;

/// A store whose channel 2 was deleted, killed right after the commit that says so. Channel 1 is there, with one event.
fn killed_after_deletion() -> tempfile::TempDir {
    let (live, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deleting = Arc::new(AtomicBool::new(false));
    let watch = {
        let (from, to, deleting) = (live.path().to_owned(), killed.path().to_owned(), Arc::clone(&deleting));
        move |progress: Progress<'_>| {
            if matches!(progress, Progress::Committed { .. }) && deleting.swap(false, Ordering::SeqCst) {
                copy_all(&from, &to);
            }
        }
    };
    let store = FjallStore::open_watched(settings(live.path()), NOW, Box::new(watch)).unwrap();
    for number in [1, 2] {
        put_channel(&store, record(number)).unwrap();
        fill(&store, number, 1..=if number == 1 { 1 } else { EVENTS });
    }
    deleting.store(true, Ordering::SeqCst);
    store.delete_channel(2).unwrap();
    killed
}

fn realm(dir: &Path) -> Arc<Engine> {
    Engine::open(Settings::default(), open(dir), &[], 1, NOW).unwrap()
}

fn publish(engine: &Engine, to_channel: &Arc<Channel>) -> Eid {
    let (to, from) = channel();
    let body = Body::new(Data::text("acknowledged"));
    let publish = Publish { channel: Arc::clone(to_channel), origin: None, body, persistent: None };
    assert!(engine.publish(publish, NOW, move |outcome| to.send(outcome).unwrap()).is_none());
    from.recv().unwrap().unwrap().eid
}

fn read(channel: &Channel) -> Vec<(Eid, Data)> {
    let page = channel.read_stored(Eid::NONE, ReadLimit { events: 100, bytes: usize::MAX }, NOW).unwrap();
    page.events.iter().map(|event| (event.eid, event.body.data.clone())).collect()
}

#[test]
fn a_new_channel_is_not_taken_for_the_deleted_one() {
    let killed = killed_after_deletion();
    let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
    let engine = realm(killed.path());
    assert_eq!(engine.channels().len(), 1);
    let new = engine.create("new", attributes, NOW).unwrap().channel();
    let published: Vec<Eid> = (0..COMMITS).map(|_| publish(&engine, &new)).collect();
    let expected: Vec<_> = published.iter().map(|eid| (*eid, Data::text("acknowledged"))).collect();
    assert_eq!(published, (1..=COMMITS).map(Eid).collect::<Vec<_>>());
    assert_eq!(read(&new), expected);
    engine.stop();
    let stopped = tempfile::tempdir().unwrap();
    copy_all(killed.path(), stopped.path());
    let engine = realm(stopped.path());
    assert_eq!(read(&engine.channel("new").unwrap()), expected);
}
