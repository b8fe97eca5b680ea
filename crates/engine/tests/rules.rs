//! Each rule of what a channel keeps and gives out, on its own.

mod common;

use common::*;
use throughline_engine::ChannelKind::{Mixed, Persistent, Reliable, Transient};
use throughline_engine::store::Store;
use throughline_engine::{ChannelAttributes, Publish, ReadLimit, Settings};
use throughline_wire::event::{Eid, Epoch};
use throughline_wire::message::{ErrorCode, From, GapReason};

#[test]
fn eids_begin_at_1_and_positions_are_what_the_protocol_says() {
    for kind in [Transient, Reliable, Persistent, Mixed] {
        let realm = Realm::new();
        let channel = realm.create("c", attributes(kind));
        assert_eq!(cursor(&channel, From::New, 0), 0);
        assert_eq!(cursor(&channel, From::All, 0), 0);
        let eids: Vec<u64> = (0..3).map(|_| realm.put(&channel, text("x"), 0)).collect();
        assert_eq!(eids, [1, 2, 3], "{kind}");
        assert_eq!(cursor(&channel, From::New, 0), 3);
        assert_eq!(cursor(&channel, From::All, 0), if kind == Transient { 3 } else { 0 }, "{kind}");
        assert_eq!(cursor(&channel, From::Eid(Eid(2)), 0), 1);
        assert_eq!(cursor(&channel, From::Eid(Eid(4)), 0), 3);
        assert_eq!(cursor(&channel, From::After { after: Eid(3), epoch: channel.epoch() }, 0), 3);
        for from in [From::Eid(Eid(0)), From::Eid(Eid(5)), From::After { after: Eid(4), epoch: channel.epoch() }] {
            assert!(channel.position(from, 0).unwrap_err().is(ErrorCode::BadPosition), "{kind} {from:?}");
        }
        assert_eq!(follow(&channel, 1, 0), [(None, vec![2, 3])]);
    }
}

#[test]
fn a_cursor_of_another_epoch_gets_everything() {
    let realm = Realm::new();
    let channel = realm.create("c", capacity(Reliable, 2));
    realm.fill(&channel, 3, "x");
    let position = channel.position(From::After { after: Eid(40), epoch: Epoch(1) }, 0).unwrap();
    let gap = position.gap.unwrap();
    assert_eq!(position.cursor, Eid(1));
    assert_eq!((gap.from, gap.to, gap.reason, gap.epoch), (Eid(41), Eid(0), GapReason::Epoch, channel.epoch()));
    assert_eq!(follow(&channel, 1, 0), [(None, vec![2, 3])]);
}

#[test]
fn what_capacity_removed_is_a_gap_of_exactly_that_range() {
    for kind in [Reliable, Persistent, Mixed] {
        let realm = Realm::new();
        let channel = realm.create("c", capacity(kind, 3));
        realm.fill(&channel, 10, "x");
        assert_eq!(follow(&channel, 2, 0), [(Some((3, 7, "capacity")), vec![8, 9, 10])], "{kind}");
        assert_eq!(follow(&channel, 7, 0), [(None, vec![8, 9, 10])], "{kind}");
        assert_eq!(cursor(&channel, From::All, 0), 7);
        assert_eq!((channel.status().events, channel.status().first), (3, Eid(8)));
    }
}

#[test]
fn bytes_limit_what_is_kept_but_never_the_newest() {
    for kind in [Reliable, Persistent, Mixed] {
        let realm = Realm::new();
        let limits = ChannelAttributes { bytes: Some(10), ..attributes(kind) };
        let channel = realm.create("c", limits);
        realm.fill(&channel, 4, "four");
        assert_eq!(follow(&channel, 0, 0), [(Some((1, 2, "capacity")), vec![3, 4])], "{kind}");
        realm.put(&channel, text("far more than ten bytes"), 0);
        assert_eq!(follow(&channel, 3, 0), [(Some((4, 4, "capacity")), vec![5])], "{kind}");
    }
}

#[test]
fn expired_events_are_skipped_and_reported() {
    for kind in [Transient, Reliable, Persistent, Mixed] {
        let realm = Realm::new();
        let channel = realm.create("c", ChannelAttributes { ttl: Some(1_000), ..attributes(kind) });
        realm.put(&channel, text("a"), 0);
        realm.put(&channel, text("b"), 600);
        let mut short = text("c");
        short.ttl = Some(10);
        realm.put(&channel, short, 700);
        realm.put(&channel, text("d"), 800);
        assert_eq!(follow(&channel, 0, 705), [(None, vec![1, 2, 3, 4])], "{kind}");
        assert_eq!(follow(&channel, 0, 710), [(None, vec![1, 2]), (Some((3, 3, "expired")), vec![4])], "{kind}");
        assert_eq!(
            follow(&channel, 0, 1_000),
            [(Some((1, 1, "expired")), vec![2]), (Some((3, 3, "expired")), vec![4])]
        );
        assert_eq!(follow(&channel, 0, 1_700), [(Some((1, 3, "expired")), vec![4])], "{kind}");
        assert_eq!(follow(&channel, 0, 1_800), [(Some((1, 4, "expired")), vec![])], "{kind}");
        assert_eq!(follow(&channel, 4, 1_800), [], "{kind}");
        assert_eq!(cursor(&channel, From::All, 1_800), 4);
    }
}

#[test]
fn a_long_time_to_live_of_an_event_does_not_extend_that_of_the_channel() {
    let realm = Realm::new();
    let channel = realm.create("c", ChannelAttributes { ttl: Some(10), ..attributes(Reliable) });
    let mut long = text("a");
    long.ttl = Some(1_000);
    realm.put(&channel, long, 0);
    assert_eq!(follow(&channel, 0, 10), [(Some((1, 1, "expired")), vec![])]);
}

#[test]
fn expiring_frees_what_has_expired_without_readers() {
    for kind in [Reliable, Persistent, Mixed] {
        let realm = Realm::new();
        let channel = realm.create("c", ChannelAttributes { ttl: Some(1_000), ..attributes(kind) });
        realm.fill(&channel, 5, "x");
        realm.engine.expire(900);
        assert_eq!(channel.status().events, 5, "{kind}");
        realm.engine.expire(2_000);
        assert_eq!((channel.status().events, realm.engine.retained_bytes()), (0, 0), "{kind}");
        assert_eq!(channel.status().last, Eid(5));
    }
}

#[test]
fn transient_channels_keep_a_ring_for_those_who_are_connected() {
    let realm = Realm::with(Settings { ring_events_max: 4, ..Settings::default() });
    let channel = realm.create("c", attributes(Transient));
    realm.fill(&channel, 10, "x");
    assert_eq!(follow(&channel, 3, 0), [(Some((4, 6, "capacity")), vec![7, 8, 9, 10])]);
    assert_eq!(channel.status().events, 0);
}

#[test]
fn pages_end_at_their_limits() {
    let realm = Realm::with(Settings { ring_events_max: 2, ..Settings::default() });
    for kind in [Reliable, Persistent] {
        let channel = realm.create(kind.name(), attributes(kind));
        realm.fill(&channel, 6, "four");
        let read = |after, events, bytes| {
            let page = page(&channel, after, ReadLimit { events, bytes }, 0);
            (seen(&page).1, page.next.0, page.more)
        };
        assert_eq!(read(0, 2, 1_000), (vec![1, 2], 2, true), "{kind}");
        assert_eq!(read(0, 100, 5), (vec![1, 2], 2, true), "{kind}");
        assert_eq!(read(0, 0, 0), (vec![1], 1, true), "{kind}: one event always fits");
        assert_eq!(read(4, 2, 1_000), (vec![5, 6], 6, false), "{kind}");
        assert_eq!(read(6, 2, 1_000), (vec![], 6, false), "{kind}");
    }
}

#[test]
fn persistent_events_are_seen_when_they_are_on_disk() {
    let realm = Realm::new();
    let channel = realm.create("c", attributes(Persistent));
    let publish = || Publish { channel: channel.clone(), origin: None, body: text("x"), persistent: None };
    let (outcome, later) = realm.publish(publish(), 0);
    assert!(outcome.is_none() && later.try_recv().is_err());
    assert_eq!((channel.head(), follow(&channel, 0, 0)), (Eid(0), vec![]));
    realm.store.commit();
    assert_eq!(later.try_recv().unwrap().unwrap().eid, Eid(1));
    assert_eq!((channel.head(), follow(&channel, 0, 0)), (Eid(1), vec![(None, vec![1])]));
}

#[test]
fn sessions_that_publish_once_and_never_again_take_bounded_memory_and_disk() {
    const MAX: u64 = 1 << 20;
    let realm = Realm::with(Settings { publish_memory_bytes_max: MAX, ..Settings::default() });
    let flooded = realm.create("flooded", attributes(Persistent));
    let quiet = realm.create("quiet", attributes(Persistent));
    let first = realm.put_from(&quiet, session(1, 1), text("x"), 0).unwrap();
    for number in 0..20_000_u64 {
        realm.put_from(&flooded, session(1_000 + u128::from(number), 1), text("x"), 1 + number / 100).unwrap();
        assert!(realm.engine.publish_memory_bytes() <= MAX + MAX / 8);
        if number % 5_000 == 0 {
            realm.engine.expire(1 + number / 100);
        }
    }
    realm.engine.expire(1_000);
    assert!(realm.engine.publish_memory_bytes() <= MAX);
    realm.store.commit();
    let stored: usize = realm.store.channels().unwrap().iter().map(|channel| channel.windows.len()).sum();
    assert!((6_000..8_000).contains(&stored), "{stored} windows are on disk");
    // The newest are remembered, and so are those of a channel that is not flooded.
    let last = realm.put_from(&flooded, session(20_999, 1), text("x"), 1_000).unwrap();
    let again = realm.put_from(&quiet, session(1, 1), text("x"), 1_000).unwrap();
    assert!(last.duplicate && again.duplicate);
    assert_eq!(again.eid, first.eid);
}
