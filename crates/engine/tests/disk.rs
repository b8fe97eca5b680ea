//! Events that wait for the disk: order, answers, repetitions, faults, restarts.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

mod common;

use std::sync::mpsc::Receiver;

use common::*;
use throughline_engine::ChannelKind::{Mixed, Persistent, Reliable};
use throughline_engine::store::{Store, StoreError};
use throughline_engine::{ChannelAttributes, Origin, Publish, Published, Settings};
use throughline_wire::event::Eid;
use throughline_wire::message::{ErrorCode, From, GapReason};

fn accepted(eid: u64) -> Outcome {
    Ok(Published { eid: Eid(eid), duplicate: false })
}

fn repeated(eid: u64) -> Outcome {
    Ok(Published { eid: Eid(eid), duplicate: true })
}

fn publish(
    realm: &Realm,
    channel: &std::sync::Arc<throughline_engine::Channel>,
    origin: Option<Origin>,
    persistent: bool,
) -> (Option<Outcome>, Receiver<Outcome>) {
    let body = text("x");
    realm.publish(Publish { channel: channel.clone(), origin, body, persistent: Some(persistent) }, 0)
}

#[test]
fn a_repetition_is_answered_with_the_first_eid() {
    for kind in [Reliable, Persistent] {
        let realm = Realm::new();
        let channel = realm.create("c", attributes(kind));
        assert_eq!(realm.put_from(&channel, session(1, 5), text("a"), 0), accepted(1));
        assert_eq!(realm.put_from(&channel, session(2, 5), text("b"), 0), accepted(2));
        assert_eq!(realm.put_from(&channel, session(1, 5), text("a"), 0), repeated(1), "{kind}");
        assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 2])], "{kind}");
        assert_eq!((realm.engine.totals().published, realm.engine.totals().duplicates), (2, 1));
    }
}

#[test]
fn a_restored_disk_tells_those_who_were_further() {
    let mut realm = Realm::new();
    let channel = realm.create("c", attributes(Persistent));
    realm.put(&channel, text("a"), 0);
    let known = channel.epoch();
    realm.settings.restored = true;
    let realm = realm.restart();
    let channel = realm.engine.channel("c").unwrap();
    assert_ne!(channel.epoch(), known);
    // Given out again, for another event.
    realm.put(&channel, text("b"), 0);
    let position = channel.position(From::After { after: Eid(2), epoch: known }, 0).unwrap();
    assert_eq!((position.cursor, position.gap.map(|gap| gap.reason)), (Eid(0), Some(GapReason::Epoch)));
    let mut realm = realm;
    realm.settings.restored = false;
    let epoch = channel.epoch();
    assert_eq!(realm.restart().engine.channel("c").unwrap().epoch(), epoch, "it is kept");
}

#[test]
fn a_repetition_of_a_waiting_publish_waits_with_it() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Persistent));
    let (first, first_later) = publish(&realm, &channel, session(1, 1), true);
    let (second, second_later) = publish(&realm, &channel, session(1, 1), true);
    assert!(first.is_none() && second.is_none());
    assert!(second_later.try_recv().is_err());
    assert_eq!(realm.store.commit(), 1);
    assert_eq!(first_later.try_recv().unwrap(), accepted(1));
    assert_eq!(second_later.try_recv().unwrap(), repeated(1));
}

#[test]
fn publish_numbers_survive_a_crash_with_their_events() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Persistent));
    realm.put_from(&channel, session(1, 1), text("a"), 0).unwrap();
    let (_, lost) = publish(&realm, &channel, session(1, 2), true);
    let realm = realm.crash();
    assert!(lost.try_recv().unwrap().is_err());
    let channel = realm.engine.channel("c").unwrap();
    assert_eq!(realm.put_from(&channel, session(1, 1), text("a"), 0), repeated(1));
    assert_eq!(realm.put_from(&channel, session(1, 2), text("b"), 0), accepted(2));
}

#[test]
fn a_number_below_what_is_remembered_is_refused() {
    let realm = Realm::with(Settings { publish_window: 2, ..Settings::default() });
    let channel = realm.create("c", attributes(Reliable));
    for number in [3, 4, 5] {
        realm.put_from(&channel, session(1, number), text("x"), 0).unwrap();
    }
    let refused = realm.put_from(&channel, session(1, 3), text("x"), 0).unwrap_err();
    assert!(refused.is(ErrorCode::PublishNumber));
    assert_eq!(refused.limit, Some(4));
    assert_eq!(realm.put_from(&channel, session(1, 4), text("x"), 0), repeated(2));
}

#[test]
fn silent_sessions_are_forgotten_in_time() {
    let realm = Realm::with(Settings { publish_memory_ms: 8_000, ..Settings::default() });
    let channel = realm.create("c", attributes(Reliable));
    realm.put_from(&channel, session(1, 1), text("x"), 0).unwrap();
    realm.engine.expire(7_000);
    assert_eq!(realm.put_from(&channel, session(1, 1), text("x"), 0), repeated(1));
    (8..=10).for_each(|second| realm.engine.expire(second * 1_000));
    assert_eq!(realm.put_from(&channel, session(1, 1), text("x"), 10_000), accepted(2));
}

#[test]
fn a_failed_append_burns_its_eid_and_is_tried_anew() {
    for (fault, code) in [
        (StoreError::Full("0 bytes".into()), ErrorCode::StoreFull),
        (StoreError::Failed("EIO".into()), ErrorCode::StoreFailed),
    ] {
        let realm = Realm::new();
        let channel = realm.create("c", attributes(Persistent));
        realm.put_from(&channel, session(1, 1), text("a"), 0).unwrap();
        realm.store.fail(Some(fault));
        assert!(realm.put_from(&channel, session(1, 2), text("b"), 0).unwrap_err().is(code));
        assert_eq!(
            cursor(&channel, From::New, 0),
            1,
            "a burned EID is no position: it may be given out after a restart"
        );
        realm.store.fail(None);
        assert_eq!(realm.put_from(&channel, session(1, 2), text("b"), 0), accepted(3));
        assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 3])]);
        assert_eq!(follow(&channel, 1, 0), [(None, vec![3])], "nothing was missed");
        let restarted = realm.restart().engine.channel("c").unwrap();
        assert_eq!(follow(&restarted, 0, 0), [(None, vec![1, 3])]);
    }
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    let realm = Realm::with(Settings { pending_bytes_max: 500, ..Settings::default() });
    let channel = realm.create("c", attributes(Persistent));
    let (_, first) = publish(&realm, &channel, None, true);
    let (_, second) = publish(&realm, &channel, None, true);
    let (refused, _) = publish(&realm, &channel, None, true);
    assert!(refused.unwrap().unwrap_err().is(ErrorCode::Overloaded));
    realm.store.commit();
    assert_eq!((first.try_recv().unwrap(), second.try_recv().unwrap()), (accepted(1), accepted(2)));
    assert_eq!(realm.put(&channel, text("x"), 0), 3, "a refusal takes no EID");
}

#[test]
fn on_mixed_channels_order_holds_across_both_kinds() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Mixed));
    assert_eq!(publish(&realm, &channel, None, false).0, Some(accepted(1)));
    let (_, disk) = publish(&realm, &channel, None, true);
    let (behind, memory) = publish(&realm, &channel, None, false);
    assert!(behind.is_none());
    assert_eq!(follow(&channel, 0, 0), [(None, vec![1])]);
    realm.store.commit();
    assert_eq!((disk.try_recv().unwrap(), memory.try_recv().unwrap()), (accepted(2), accepted(3)));
    assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 2, 3])]);
}

#[test]
fn on_mixed_channels_a_fault_of_the_disk_fails_only_what_was_for_the_disk() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Mixed));
    realm.store.fail(Some(StoreError::Failed("EIO".into())));
    let (_, disk) = publish(&realm, &channel, None, true);
    let (_, memory) = publish(&realm, &channel, None, false);
    realm.store.commit();
    assert!(disk.try_recv().unwrap().unwrap_err().is(ErrorCode::StoreFailed));
    assert_eq!(memory.try_recv().unwrap(), accepted(2));
    assert_eq!(follow(&channel, 0, 0), [(None, vec![2])]);
}

#[test]
fn mixed_channels_merge_memory_and_disk_beyond_the_ring() {
    let realm = Realm::with(Settings { ring_events_max: 2, ..Settings::default() });
    let channel = realm.create("c", capacity(Mixed, 8));
    for n in 1..=12 {
        assert_eq!(realm.put_mixed(&channel, n % 3 == 0, text("x"), 0), n);
    }
    assert_eq!(follow(&channel, 4, 0), [(None, (5..=10).collect()), (None, vec![11, 12])]);
    assert_eq!(follow(&channel, 1, 0)[0], (Some((2, 4, "capacity")), (5..=10).collect()));
    assert_eq!(channel.status().events, 8);
}

#[test]
fn mixed_channels_never_give_an_eid_out_twice_and_report_what_a_crash_lost() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Mixed));
    for n in 1..=5 {
        realm.put_mixed(&channel, n == 3, text("x"), 0);
    }
    let epoch = channel.epoch();
    let realm = realm.crash();
    let channel = realm.engine.channel("c").unwrap();
    assert_eq!(channel.epoch(), epoch);
    let reserved = channel.head().0;
    assert!(reserved >= 5);
    let next = realm.put_mixed(&channel, true, text("x"), 0);
    assert_eq!(next, reserved + 1);
    assert_eq!(follow(&channel, 5, 0), [(Some((6, reserved, "restart")), vec![next])]);
    let all = [(Some((1, 2, "restart")), vec![3]), (Some((4, reserved, "restart")), vec![next])];
    assert_eq!(follow(&channel, 0, 0), all);
    assert_eq!(follow(&channel, reserved, 0), [(None, vec![next])], "a cursor past the gap has seen it");
    assert_eq!(cursor(&channel, From::All, 0), 2);
}

#[test]
fn mixed_channels_come_back_from_an_orderly_stop_without_a_gap_in_their_numbers() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Mixed));
    for n in 1..=4 {
        realm.put_mixed(&channel, n <= 2, text("x"), 0);
    }
    let realm = realm.restart();
    let channel = realm.engine.channel("c").unwrap();
    assert_eq!(channel.head(), Eid(4));
    assert_eq!(realm.put_mixed(&channel, true, text("x"), 0), 5);
    assert_eq!(follow(&channel, 4, 0), [(None, vec![5])]);
    assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 2]), (Some((3, 4, "restart")), vec![5])]);
}

#[test]
fn mixed_channels_reserve_more_eids_before_they_run_out() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Mixed));
    let reserved = |realm: &Realm| realm.store.channels().unwrap()[0].record.reserved.0;
    let first = reserved(&realm);
    for _ in 0..=first / 2 {
        assert!(publish(&realm, &channel, None, false).0.is_some());
    }
    assert_eq!(reserved(&realm), first);
    realm.engine.expire(1_000);
    realm.store.commit();
    assert!(reserved(&realm) > first, "ahead, off the publishers' way");
    realm.store.fail(Some(StoreError::Full("0 bytes".into())));
    let more = reserved(&realm) - channel.head().0;
    for _ in 0..more {
        assert!(publish(&realm, &channel, None, false).0.unwrap().is_ok());
    }
    let (waits, refused) = publish(&realm, &channel, None, false);
    assert!(waits.is_none());
    realm.store.commit();
    assert!(refused.try_recv().unwrap().unwrap_err().is(ErrorCode::StoreFull));
    realm.store.fail(None);
    let waiting: Vec<_> = (0..3).map(|_| publish(&realm, &channel, None, false).1).collect();
    realm.store.commit();
    assert!(waiting.iter().all(|answer| answer.try_recv().unwrap().is_ok()));
}

#[test]
fn channels_in_memory_begin_a_new_history_at_every_start() {
    let realm = Realm::new();
    let (memory, disk) = (realm.create("m", attributes(Reliable)), realm.create("d", attributes(Persistent)));
    realm.put(&disk, text("x"), 0);
    let next = realm.restart();
    assert!(next.engine.channel("m").is_none());
    let again = next.create("m", attributes(Reliable));
    assert_ne!(again.epoch(), memory.epoch());
    assert_ne!(again.number(), disk.number());
    let kept = next.engine.channel("d").unwrap();
    assert_eq!((kept.epoch(), kept.number(), kept.head()), (disk.epoch(), disk.number(), Eid(1)));
}

#[test]
fn limits_hold_after_a_restart_and_further_on() {
    for kind in [Persistent, Mixed] {
        let realm = Realm::with(Settings { ring_events_max: 4, ..Settings::default() });
        let limits = ChannelAttributes { bytes: Some(400), ..capacity(kind, 100) };
        let channel = realm.create("c", limits);
        for _ in 0..130 {
            realm.put_mixed(&channel, true, text("x"), 0);
        }
        let realm = realm.crash();
        let channel = realm.engine.channel("c").unwrap();
        assert_eq!((channel.status().events, channel.status().first), (100, Eid(31)), "{kind}");
        let big = realm.put_mixed(&channel, true, text(&"y".repeat(350)), 0);
        assert_eq!(channel.status().bytes, 400, "{kind}");
        assert_eq!(channel.status().first, Eid(81));
        let pages = follow(&channel, 79, 0);
        assert_eq!(pages[0].0, Some((80, 80, "capacity")), "{kind}");
        assert_eq!(pages.last().unwrap().1.last(), Some(&big));
        realm.store.commit();
        assert!(realm.store.channels().unwrap()[0].events <= 51 + 100 / 16 + 1, "the disk is trimmed");
    }
}

#[test]
fn what_has_expired_leaves_the_disk_but_for_the_last_event_of_its_history() {
    let realm = Realm::new();
    let channel = realm.create("c", ChannelAttributes { ttl: Some(1_000), ..attributes(Persistent) });
    (0..5).for_each(|time| assert_eq!(realm.put(&channel, text("x"), time), time + 1));
    realm.engine.expire(2_000);
    realm.store.commit();
    assert_eq!(realm.store.channels().unwrap()[0].events, 1);
    let realm = realm.crash();
    let channel = realm.engine.channel("c").unwrap();
    realm.engine.expire(2_000);
    assert_eq!(follow(&channel, 2, 2_000), [(Some((3, 5, "expired")), vec![])]);
    assert_eq!(cursor(&channel, From::All, 2_000), 5);
    assert_eq!(realm.put(&channel, text("x"), 2_000), 6, "no EID is given out twice");
}

#[test]
fn reads_go_on_while_the_disk_is_full() {
    let realm = Realm::with(Settings { ring_events_max: 2, ..Settings::default() });
    let channel = realm.create("c", attributes(Persistent));
    realm.fill(&channel, 6, "x");
    realm.store.fail(Some(StoreError::Full("0 bytes".into())));
    assert_eq!(follow(&channel, 0, 0), [(None, vec![1, 2, 3, 4]), (None, vec![5, 6])]);
}
