//! The engine against a naive model, under random programs: publishing, repeating, following with cursors, time, faults, crashes.
#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use common::*;
use proptest::prelude::*;
use throughline_engine::store::{Store, StoreError};
use throughline_engine::{Channel, ChannelAttributes, ChannelKind, Publish, ReadLimit, Settings};
use throughline_wire::event::{Eid, Epoch};
use throughline_wire::message::{From, GapReason};

#[derive(Clone, Debug)]
enum Action {
    /// A new event: on disk if the channel is mixed, bytes, own time to live.
    Publish {
        disk: bool,
        bytes: usize,
        ttl: Option<u64>,
    },
    /// The latest publish of the session again, or one before it.
    Repeat {
        back: u64,
    },
    Commit,
    /// Time passes, and the engine is told.
    Wait(u64),
    Read {
        reader: usize,
        events: usize,
        bytes: usize,
    },
    /// A reader begins anew.
    Begin {
        reader: usize,
        from: usize,
    },
    Fault(bool),
    Delete,
    Restart,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    let ttl = prop_oneof![4 => Just(None), 1 => (1_u64..3_000).prop_map(Some)];
    prop_oneof![
        12 => (any::<bool>(), 0_usize..40, ttl).prop_map(|(disk, bytes, ttl)| Action::Publish { disk, bytes, ttl }),
        3 => (0_u64..3).prop_map(|back| Action::Repeat { back }),
        6 => Just(Action::Commit),
        3 => (0_u64..1_500).prop_map(Action::Wait),
        8 => (0_usize..3, 1_usize..6, 1_usize..100)
            .prop_map(|(reader, events, bytes)| Action::Read { reader, events, bytes }),
        2 => (0_usize..3, 0_usize..3).prop_map(|(reader, from)| Action::Begin { reader, from }),
        1 => any::<bool>().prop_map(Action::Fault),
        1 => Just(Action::Delete),
        1 => Just(Action::Restart),
        1 => Just(Action::Crash),
    ]
}

fn limits() -> impl Strategy<Value = ChannelAttributes> {
    let kind = prop::sample::select(ChannelKind::ALL.to_vec());
    let some = |range: std::ops::Range<u64>| prop::option::of(range);
    (kind, some(1..12), some(1..200), some(500..3_000)).prop_map(|(kind, capacity, bytes, ttl)| ChannelAttributes {
        kind,
        capacity,
        bytes,
        ttl,
    })
}

/// An event as the model knows it.
#[derive(Clone, Debug)]
struct Known {
    expires: u64,
    weight: u64,
    disk: bool,
}

/// A publish that was not answered yet.
struct Asked {
    number: u64,
    known: Known,
    later: Receiver<Outcome>,
    /// Repetitions that wait with it.
    repetition: bool,
}

/// What a correct channel is: a map of events, oldest removed first.
#[derive(Default)]
struct Model {
    /// Events that can be read and are within the limits, expired or not.
    kept: BTreeMap<u64, Known>,
    /// Every event that could ever be read.
    seen: BTreeMap<u64, Known>,
    head: u64,
    /// Below the first event on disk a start finds out nothing: there may have been events, or EIDs that were burned.
    unknown: u64,
    numbers: BTreeMap<u64, u64>,
}

impl Model {
    fn visible(&mut self, eid: u64, known: Known, attributes: &ChannelAttributes) {
        assert!(eid > self.head, "event {eid} comes after {}", self.head);
        self.head = eid;
        self.seen.insert(eid, known.clone());
        self.kept.insert(eid, known);
        self.limit(attributes);
    }

    fn limit(&mut self, attributes: &ChannelAttributes) {
        let ring = if attributes.kind == ChannelKind::Transient { RING as u64 } else { u64::MAX };
        let capacity = attributes.capacity.unwrap_or(u64::MAX).min(ring);
        let bytes = attributes.bytes.unwrap_or(u64::MAX);
        let weight = |kept: &BTreeMap<u64, Known>| kept.values().map(|known| known.weight).sum::<u64>();
        while self.kept.len() as u64 > capacity || (weight(&self.kept) > bytes && self.kept.len() > 1) {
            self.kept.pop_first();
        }
    }

    /// Expired events at the front do not count against the limits.
    fn expire(&mut self, now: u64) {
        while self.kept.first_key_value().is_some_and(|(_, known)| known.expires <= now) {
            self.kept.pop_first();
        }
    }
}

const RING: usize = 4;

struct Reader {
    cursor: u64,
    epoch: Epoch,
}

struct World {
    realm: Realm,
    channel: Arc<Channel>,
    attributes: ChannelAttributes,
    model: Model,
    asked: Vec<Asked>,
    readers: Vec<Reader>,
    now: u64,
    number: u64,
    faulty: bool,
}

impl World {
    fn new(attributes: ChannelAttributes) -> World {
        let realm = Realm::with(Settings { ring_events_max: RING, ..Settings::default() });
        let channel = realm.create("c", attributes);
        let readers = (0..3).map(|_| Reader { cursor: 0, epoch: channel.epoch() }).collect();
        World {
            realm,
            channel,
            attributes,
            model: Model::default(),
            asked: Vec::new(),
            readers,
            now: 1_000,
            number: 0,
            faulty: false,
        }
    }

    fn run(&mut self, action: Action) {
        match action {
            Action::Publish { disk, bytes, ttl } => {
                self.number += 1;
                self.publish(self.number, disk, bytes, ttl);
            }
            Action::Repeat { back } => {
                let number = self.number.saturating_sub(back);
                if number > 0 {
                    self.publish(number, false, 5, None);
                }
            }
            Action::Commit => self.commit(),
            Action::Wait(time) => {
                self.now += time;
                self.realm.engine.expire(self.now);
                self.model.expire(self.now);
            }
            Action::Read { reader, events, bytes } => self.read(reader, ReadLimit { events, bytes }),
            Action::Begin { reader, from } => self.begin(reader, from),
            Action::Fault(on) => {
                self.faulty = on;
                self.realm.store.fail(on.then(|| StoreError::Failed("EIO".into())));
            }
            Action::Delete => self.delete(),
            Action::Restart => self.restart(true),
            Action::Crash => self.restart(false),
        }
    }

    fn on_disk(&self, disk: bool) -> bool {
        match self.attributes.kind {
            ChannelKind::Persistent => true,
            ChannelKind::Mixed => disk,
            ChannelKind::Transient | ChannelKind::Reliable => false,
        }
    }

    fn publish(&mut self, number: u64, disk: bool, bytes: usize, ttl: Option<u64>) {
        let mut body = text(&"x".repeat(bytes));
        body.ttl = ttl;
        let own = ttl.unwrap_or(u64::MAX).min(self.attributes.ttl.unwrap_or(u64::MAX));
        let disk = self.on_disk(disk);
        let known = Known { expires: self.now.saturating_add(own), weight: bytes as u64, disk };
        let mixed = self.attributes.kind == ChannelKind::Mixed;
        let persistent = mixed.then_some(disk);
        let publish = Publish { channel: self.channel.clone(), origin: session(1, number), body, persistent };
        let waits = self.asked.iter().any(|asked| asked.number == number);
        let (outcome, later) = self.realm.publish(publish, self.now);
        match outcome {
            None => {
                // The first of a mixed channel after a start waits for the disk to know of its EID.
                assert!(disk || mixed || waits || !self.asked.is_empty(), "an event in memory need not wait");
                self.asked.push(Asked { number, known, later, repetition: waits });
            }
            Some(outcome) => self.answered(number, known, outcome, false),
        }
    }

    fn answered(&mut self, number: u64, known: Known, outcome: Outcome, repetition: bool) {
        let expected = self.model.numbers.get(&number).copied();
        match outcome {
            Ok(published) if published.duplicate => {
                assert!(expected.is_some() || repetition);
                assert_eq!(Some(published.eid.0), expected, "a repetition has the first EID");
            }
            Ok(published) => {
                assert_eq!(expected, None, "a repetition was published again");
                self.model.numbers.insert(number, published.eid.0);
                self.model.expire(self.now);
                self.model.visible(published.eid.0, known, &self.attributes);
            }
            Err(_) => assert!(self.faulty, "nothing fails without a fault"),
        }
    }

    fn commit(&mut self) {
        self.realm.store.commit();
        self.collect();
        assert!(self.asked.is_empty(), "a commit answers everyone");
    }

    fn collect(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        for ask in asked {
            match ask.later.try_recv() {
                Ok(outcome) => self.answered(ask.number, ask.known, outcome, ask.repetition),
                Err(_) => self.asked.push(ask),
            }
        }
    }

    fn begin(&mut self, reader: usize, from: usize) {
        self.model.expire(self.now);
        let head = self.model.head;
        assert_eq!(self.channel.head().0, head);
        let from = [From::New, From::All, From::Eid(Eid(head.max(1)))][from];
        let position = self.channel.position(from, self.now).unwrap();
        let cursor = position.cursor.0;
        match from {
            From::Eid(eid) => assert_eq!(cursor, eid.0 - 1),
            From::All if self.attributes.kind != ChannelKind::Transient => {
                assert!(cursor <= head && self.model.kept.range(..=cursor).next().is_none());
            }
            _ => assert_eq!(cursor, head),
        }
        self.readers[reader] = Reader { cursor, epoch: position.epoch };
    }

    /// One page, and that it is the right one.
    fn read(&mut self, reader: usize, limit: ReadLimit) {
        self.resume(reader);
        self.model.expire(self.now);
        let after = self.readers[reader].cursor;
        let page = page(&self.channel, after, limit, self.now);
        let live = |eid: &u64| self.model.kept.get(eid).is_some_and(|known| known.expires > self.now);
        let first = page.events.first().map_or(page.next.0 + 1, |event| event.eid.0);
        let missed: Vec<u64> = self.model.seen.range(after + 1..first).map(|(eid, _)| *eid).collect();
        assert!(!missed.iter().any(live), "events {missed:?} were passed over");
        match page.gap {
            Some(gap) => {
                assert_eq!(gap.from.0, after + 1);
                assert!(gap.to.0 < first && gap.to.0 >= gap.from.0);
                assert!(missed.last().is_none_or(|last| *last <= gap.to.0), "the gap covers what was missed");
                if !page.events.is_empty() {
                    assert_eq!(gap.to.0, first - 1);
                }
                let unknown = gap.reason == GapReason::Restart || after < self.model.unknown;
                assert!(unknown || !missed.is_empty(), "nothing was missed");
            }
            None => assert!(missed.is_empty(), "events {missed:?} were lost silently"),
        }
        let given: Vec<u64> = page.events.iter().map(|event| event.eid.0).collect();
        if let (Some(first), Some(last)) = (given.first(), given.last()) {
            let expected: Vec<u64> = self.model.seen.range(*first..=*last).map(|(eid, _)| *eid).collect();
            assert_eq!(given, expected, "a gap within a page");
            assert!(given.iter().all(live), "expired or removed events were given out");
        }
        assert!(given.len() <= limit.events);
        assert_eq!(page.more, page.next.0 < self.channel.head().0);
        assert!(page.next.0 > after || !page.more, "a page makes progress");
        self.readers[reader].cursor = page.next.0;
    }

    /// A reader's cursor is good for ever, or its epoch says that it is not.
    fn resume(&mut self, reader: usize) {
        let Reader { cursor, epoch } = self.readers[reader];
        let from = From::After { after: Eid(cursor), epoch };
        let position = self.channel.position(from, self.now).unwrap();
        if epoch == self.channel.epoch() {
            assert_eq!((position.cursor.0, position.gap), (cursor, None));
        } else {
            assert_eq!(position.gap.unwrap().reason, GapReason::Epoch);
            self.readers[reader] = Reader { cursor: position.cursor.0, epoch: position.epoch };
        }
    }

    fn delete(&mut self) {
        if self.faulty && self.attributes.kind.on_disk() {
            assert!(self.realm.engine.delete("c").is_err());
            return;
        }
        self.realm.engine.delete("c").unwrap();
        self.asked.clear();
        self.fresh();
    }

    fn fresh(&mut self) {
        self.channel = self.realm.create("c", self.attributes);
        self.model = Model::default();
    }

    fn restart(&mut self, orderly: bool) {
        self.realm = if orderly {
            self.realm.engine.stop();
            self.collect();
            self.realm.crash()
        } else {
            self.asked.clear();
            self.realm.crash()
        };
        self.faulty = false;
        let Some(channel) = self.realm.engine.channel("c") else {
            assert!(!self.attributes.kind.on_disk());
            return self.fresh();
        };
        self.channel = channel;
        self.recover();
    }

    /// What the disk holds is what there is. Events that others had pushed out may be back when those are gone.
    fn recover(&mut self) {
        let stored = self.realm.store.read(self.channel.number(), Eid::NONE, usize::MAX, usize::MAX).unwrap();
        let stored: BTreeSet<u64> = stored.iter().map(|event| event.eid.0).collect();
        let model = &mut self.model;
        for (eid, known) in &model.kept {
            assert!(!known.disk || stored.contains(eid), "event {eid} was answered and is gone");
        }
        assert!(stored.iter().all(|eid| model.seen[eid].disk), "an event that was never answered is there");
        let head = self.channel.head().0;
        let last = model.seen.keys().next_back().copied().unwrap_or(0);
        match self.attributes.kind {
            ChannelKind::Mixed => assert!(head >= last, "EIDs would be given out twice"),
            _ => assert_eq!(head, last),
        }
        model.head = head;
        model.unknown = stored.first().map_or(head, |first| first - 1);
        model.kept = stored.iter().map(|eid| (*eid, model.seen[eid].clone())).collect();
        model.numbers.retain(|_, eid| model.seen[eid].disk);
        model.limit(&self.attributes);
        model.expire(self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(
        attributes in limits(),
        actions in prop::collection::vec(action(), 1..120),
    ) {
        let mut world = World::new(attributes);
        for action in actions {
            world.run(action);
        }
    }
}
