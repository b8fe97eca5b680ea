//! Channels that the disk has not taken yet: nobody waits in a call, nothing is answered before the disk has answered, and a channel that it
//! refuses leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};

use common::*;
use throughline_engine::ChannelKind::{Mixed, Persistent};
use throughline_engine::store::{Store, StoreError};
use throughline_engine::{Channel, ChannelKind, Publish, Settings};
use throughline_wire::event::Eid;
use throughline_wire::message::{ErrorCode, From, ReplyError};

/// A realm that creates channels of this kind on first use.
fn realm(kind: ChannelKind) -> Realm {
    Realm::with(Settings { defaults: attributes(kind), ..Settings::default() })
}

fn first_use(realm: &Realm, name: &str) -> Arc<Channel> {
    realm.engine.channel_or_create(name, 0).unwrap()
}

fn publish(realm: &Realm, channel: &Arc<Channel>, number: u64, persistent: bool) -> mpsc::Receiver<Outcome> {
    let origin = session(1, number);
    let publish = Publish { channel: channel.clone(), origin, body: text("x"), persistent: Some(persistent) };
    let (outcome, later) = realm.publish(publish, 0);
    assert_eq!(outcome, None, "nothing is decided before the disk has answered");
    later
}

fn told(channel: &Channel) -> mpsc::Receiver<Result<(), ReplyError>> {
    let (tell, told) = mpsc::channel();
    assert!(channel.await_creation(move |result| tell.send(result).unwrap()));
    told
}

#[test]
fn what_comes_while_a_channel_is_created_is_answered_behind_it() {
    for kind in [Persistent, Mixed] {
        let realm = realm(kind);
        let channel = first_use(&realm, "c");
        assert!(Arc::ptr_eq(&channel, &first_use(&realm, "c")), "there is one");
        let (told, other) = (told(&channel), told(&channel));
        let answers = [1, 2, 2].map(|number| publish(&realm, &channel, number, number == 2));
        assert_eq!(cursor(&channel, From::New, 0), 0);
        assert!(realm.engine.channel("c").is_none());
        assert!(realm.engine.channels().is_empty() && realm.engine.channels_after("", 9).0.is_empty());
        assert!(told.try_recv().is_err() && answers[0].try_recv().is_err());
        assert_eq!(follow(&channel, 0, 0), []);
        realm.store.commit();
        assert_eq!((told.try_recv().unwrap(), other.try_recv().unwrap()), (Ok(()), Ok(())));
        let eids = answers.map(|answer| answer.try_recv().unwrap().unwrap()).map(|p| (p.eid.0, p.duplicate));
        assert_eq!(eids, [(1, false), (2, false), (2, true)], "{kind}");
        assert!(!channel.await_creation(|_| panic!("it is there")));
        assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 2])]);
        assert_eq!(realm.engine.channel("c").unwrap().number(), channel.number());
        let next = realm.crash().engine.channel("c").unwrap();
        assert_eq!(next.epoch(), channel.epoch());
    }
}

#[test]
fn a_channel_that_the_disk_refuses_fails_all_who_wait_and_leaves_nothing() {
    for kind in [Persistent, Mixed] {
        let realm = realm(kind);
        let watcher = Arc::new(Counter::default());
        let id = realm.engine.register(watcher.clone());
        realm.store.fail(Some(StoreError::Full("0 bytes".into())));
        let channel = first_use(&realm, "c");
        channel.watch(id);
        let told = told(&channel);
        let answers = [(1, false), (2, true)].map(|(number, disk)| publish(&realm, &channel, number, disk));
        realm.store.commit();
        realm.store.fail(None);
        assert!(told.try_recv().unwrap().unwrap_err().is(ErrorCode::StoreFull));
        for answer in answers {
            assert!(answer.try_recv().unwrap().unwrap_err().is(ErrorCode::StoreFull), "{kind}");
        }
        assert_eq!(*watcher.deleted.lock().unwrap(), [channel.number()]);
        assert!(channel.position(From::New, 0).unwrap_err().is(ErrorCode::StoreFull));
        let late = Publish { channel: channel.clone(), origin: None, body: text("x"), persistent: None };
        assert!(realm.publish(late, 0).0.unwrap().unwrap_err().is(ErrorCode::StoreFull));
        assert_eq!((realm.engine.totals().channels, realm.engine.totals().rejected), (0, 2));
        assert_eq!(realm.engine.retained_bytes(), 0);

        let again = first_use(&realm, "c");
        assert_ne!(again.number(), channel.number());
        let answer = publish(&realm, &again, 1, true);
        realm.store.commit();
        assert_eq!(answer.try_recv().unwrap().unwrap().eid, Eid(1));
        assert_eq!(realm.store.channels().unwrap().len(), 1, "nothing of the first is on disk");
    }
}

#[test]
fn an_event_that_is_queued_behind_a_channel_which_failed_fails_with_it() {
    let realm = realm(Persistent);
    realm.store.fail(Some(StoreError::Failed("EIO".into())));
    let channel = first_use(&realm, "c");
    realm.store.commit();
    // The disk works again before the event comes to it.
    realm.store.fail(None);
    let late = Publish { channel, origin: None, body: text("x"), persistent: None };
    assert!(realm.publish(late, 0).0.unwrap().unwrap_err().is(ErrorCode::StoreFailed));
    realm.store.commit();
    assert!(realm.store.channels().unwrap().is_empty());
}

#[test]
fn channels_are_taken_by_the_disk_together() {
    let realm = realm(Persistent);
    let all: Vec<_> = (0..3_000)
        .map(|n| {
            let channel = first_use(&realm, &format!("c/{n}"));
            let answer = publish(&realm, &channel, 1, true);
            (told(&channel), answer)
        })
        .collect();
    assert_eq!(realm.store.commit(), 3_000);
    for (told, answer) in all {
        assert_eq!(told.try_recv().unwrap(), Ok(()));
        assert_eq!(answer.try_recv().unwrap().unwrap().eid, Eid(1));
    }
    let (page, more) = realm.engine.channels_after("c/2998", 9);
    assert_eq!(page.iter().map(|channel| channel.name()).collect::<Vec<_>>()[..2], ["c/2999", "c/3"]);
    assert!(more);
}

#[test]
fn names_that_are_found_are_those_on_pages_whatever_comes_and_goes() {
    let realm = realm(Persistent);
    let mut there = BTreeSet::new();
    for n in 0..500_u32 {
        let name = format!("c/{}", n.wrapping_mul(2_654_435_761) % 97);
        if there.remove(&name) {
            realm.engine.delete(&name).unwrap();
        } else {
            realm.store.fail((n % 5 == 0).then(|| StoreError::Failed("EIO".into())));
            first_use(&realm, &name);
            realm.store.commit();
            realm.store.fail(None);
            if n % 5 != 0 {
                there.insert(name);
            }
        }
        let found = (0..97).map(|n| format!("c/{n}")).filter(|name| realm.engine.channel(name).is_some());
        assert_eq!(found.collect::<BTreeSet<_>>(), there);
        let (page, more) = realm.engine.channels_after("", 97);
        assert!(page.iter().map(|channel| channel.name()).eq(&there) && !more);
    }
}

#[test]
fn calls_that_may_wait_meet_a_channel_that_is_being_created() {
    let realm = realm(Persistent);
    let first = first_use(&realm, "c");
    assert_eq!(realm.create("c", attributes(Persistent)).number(), first.number());
    assert!(realm.engine.channel("c").is_some(), "it was waited for");
    first_use(&realm, "d");
    realm.engine.delete("d").unwrap();
    assert!(realm.engine.channel("d").is_none());
    first_use(&realm, "e");
    realm.store.fail(Some(StoreError::Failed("EIO".into())));
    assert!(realm.engine.create("e", attributes(Persistent), 0).is_err());
    first_use(&realm, "e");
    assert!(realm.engine.delete("e").unwrap_err().is(ErrorCode::UnknownChannel));
}

#[test]
fn a_stop_and_a_crash_answer_who_waits_for_a_channel() {
    for stop in [true, false] {
        let realm = realm(Mixed);
        let channel = first_use(&realm, "c");
        let (told, answer) = (told(&channel), publish(&realm, &channel, 1, false));
        let next = if stop { realm.restart() } else { realm.crash() };
        assert_eq!(told.try_recv().unwrap().is_ok(), stop);
        assert_eq!(answer.try_recv().unwrap().is_ok(), stop);
        assert_eq!(next.engine.channel("c").is_some(), stop);
    }
}

#[test]
fn after_a_start_mixed_channels_take_events_before_the_disk_knows_of_their_eids() {
    let realm = realm(Mixed);
    first_use(&realm, "c");
    realm.store.commit();
    let realm = realm.restart();
    let channel = realm.engine.channel("c").unwrap();
    let answers = [1, 2].map(|number| publish(&realm, &channel, number, false));
    realm.store.commit();
    let eids = answers.map(|answer| answer.try_recv().unwrap().unwrap().eid.0);
    assert_eq!(eids, [1, 2]);
    let late = Publish { channel: channel.clone(), origin: None, body: text("x"), persistent: None };
    assert!(realm.publish(late, 0).0.is_some(), "the disk knows of the next ones");
    let again = realm.crash().engine.channel("c").unwrap();
    assert!(again.head() > Eid(3), "none of them is given out again");
}
