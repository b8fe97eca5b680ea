//! What the engine's tests share: a realm on a store in memory, and short ways to use it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use throughline_engine::memory::MemoryStore;
use throughline_engine::store::Store;
use throughline_engine::{
    Channel, ChannelAttributes, ChannelKind, Engine, Origin, Page, Publish, Published, Read, ReadLimit, Settings,
    Watcher,
};
use throughline_wire::event::{Body, Data, SessionId};
use throughline_wire::message::{From, ReplyError};

/// The outcome of a publish.
pub type Outcome = Result<Published, ReplyError>;

/// Everything.
pub const ALL: ReadLimit = ReadLimit { events: usize::MAX, bytes: usize::MAX };

pub fn attributes(kind: ChannelKind) -> ChannelAttributes {
    ChannelAttributes { kind, capacity: None, bytes: None, ttl: None }
}

pub fn capacity(kind: ChannelKind, capacity: u64) -> ChannelAttributes {
    ChannelAttributes { capacity: Some(capacity), ..attributes(kind) }
}

pub fn text(text: &str) -> Body {
    Body::new(Data::text(text))
}

pub fn session(session: u128, number: u64) -> Option<Origin> {
    Some(Origin { session: SessionId(session), number })
}

/// A realm, and the store under it.
pub struct Realm {
    pub engine: Arc<Engine>,
    pub store: Arc<MemoryStore>,
    pub settings: Settings,
    seed: u64,
}

impl Realm {
    pub fn new() -> Realm {
        Realm::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Realm {
        Realm::on(MemoryStore::manual(), settings, 1)
    }

    fn on(store: Arc<MemoryStore>, settings: Settings, seed: u64) -> Realm {
        let seam: Arc<dyn Store> = store.clone();
        let engine = Engine::open(settings.clone(), seam, &[], seed, 0).unwrap();
        Realm { engine, store, settings, seed }
    }

    /// After a crash: what was not committed is gone.
    pub fn crash(&self) -> Realm {
        Realm::on(self.store.reopen(), self.settings.clone(), self.seed + 1)
    }

    /// After an orderly stop.
    pub fn restart(&self) -> Realm {
        self.engine.stop();
        self.crash()
    }

    pub fn create(&self, name: &str, attributes: ChannelAttributes) -> Arc<Channel> {
        self.engine.create(name, attributes, 0).unwrap().channel()
    }

    /// Publishes; the outcome comes on the receiver if it is not decided at once.
    pub fn publish(&self, publish: Publish, now: u64) -> (Option<Outcome>, mpsc::Receiver<Outcome>) {
        let (sender, receiver) = mpsc::channel();
        let outcome = self.engine.publish(publish, now, move |outcome| drop(sender.send(outcome)));
        (outcome, receiver)
    }

    /// Publishes and commits, whatever the channel is.
    pub fn put(&self, channel: &Arc<Channel>, body: Body, now: u64) -> u64 {
        self.put_from(channel, None, body, now).unwrap().eid.0
    }

    /// Publishes some events at time 0.
    pub fn fill(&self, channel: &Arc<Channel>, count: usize, data: &str) {
        for _ in 0..count {
            self.put(channel, text(data), 0);
        }
    }

    pub fn put_from(&self, channel: &Arc<Channel>, origin: Option<Origin>, body: Body, now: u64) -> Outcome {
        let publish = Publish { channel: Arc::clone(channel), origin, body, persistent: None };
        let (outcome, later) = self.publish(publish, now);
        self.store.commit();
        outcome.unwrap_or_else(|| later.try_recv().unwrap())
    }

    /// Publishes on a mixed channel, and commits.
    pub fn put_mixed(&self, channel: &Arc<Channel>, persistent: bool, body: Body, now: u64) -> u64 {
        let publish = Publish { channel: Arc::clone(channel), origin: None, body, persistent: Some(persistent) };
        let (outcome, later) = self.publish(publish, now);
        self.store.commit();
        outcome.unwrap_or_else(|| later.try_recv().unwrap()).unwrap().eid.0
    }
}

/// One page, from memory or from the disk.
pub fn page(channel: &Channel, after: u64, limit: ReadLimit, now: u64) -> Page {
    let after = throughline_wire::event::Eid(after);
    match channel.read(after, limit, now) {
        Read::Page(page) => page,
        Read::Stored => channel.read_stored(after, limit, now).unwrap(),
    }
}

/// A gap as numbers and its reason, and the EIDs after it.
pub type Seen = (Option<(u64, u64, &'static str)>, Vec<u64>);

pub fn seen(page: &Page) -> Seen {
    let gap = page.gap.map(|gap| (gap.from.0, gap.to.0, gap.reason.name()));
    (gap, page.events.iter().map(|event| event.eid.0).collect())
}

/// Every page up to the head.
pub fn follow(channel: &Channel, after: u64, now: u64) -> Vec<Seen> {
    let mut cursor = after;
    let mut pages = Vec::new();
    loop {
        let page = page(channel, cursor, ALL, now);
        assert!(page.next.0 > cursor || !page.more, "a page makes progress");
        cursor = page.next.0;
        if page.gap.is_some() || !page.events.is_empty() {
            pages.push(seen(&page));
        }
        if !page.more {
            return pages;
        }
    }
}

pub fn cursor(channel: &Channel, from: From, now: u64) -> u64 {
    channel.position(from, now).unwrap().cursor.0
}

/// Counts its notices.
#[derive(Default)]
pub struct Counter {
    pub dirty: AtomicUsize,
    pub deleted: Mutex<Vec<u32>>,
}

impl Counter {
    pub fn count(&self) -> usize {
        self.dirty.load(Ordering::SeqCst)
    }
}

impl Watcher for Counter {
    fn dirty(&self, _channel: u32) {
        self.dirty.fetch_add(1, Ordering::SeqCst);
    }

    fn deleted(&self, channel: u32) {
        self.deleted.lock().unwrap().push(channel);
    }
}
