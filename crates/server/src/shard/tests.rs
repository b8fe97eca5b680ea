//! A shard over sockets that take as many bytes as a test allows.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;

use throughline_engine::memory::MemoryStore;
use throughline_engine::store::Store;
use throughline_engine::{ChannelAttributes, ChannelKind, Publish, Settings};
use throughline_wire::event::{Body, Data};
use throughline_wire::message::{ClientMessage, From};
use throughline_wire::ws::{self, Opcode};

use super::*;

mod creating;
mod hixie;
mod http;
mod partial;

const PARTIAL_BYTES_MAX: u64 = 100_000;
const NOW: Now = Now { monotonic: 0, unix: 1_700_000_000_000 };

#[derive(Clone, Default)]
struct Peer(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    received: Vec<u8>,
    writes: usize,
    room: usize,
    untaken: bool,
}

impl Peer {
    fn received(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.0.borrow().received).matches(what).count()
    }

    fn bytes(&self) -> usize {
        self.0.borrow().received.len()
    }

    /// How often it was written to since it was asked last.
    fn writes(&self) -> usize {
        std::mem::take(&mut self.0.borrow_mut().writes)
    }

    fn allow(&self, room: usize) {
        self.0.borrow_mut().room = room;
    }
}

impl Sock for Peer {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let n = bytes.len().min(state.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.room -= n;
        state.writes += 1;
        state.received.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(slices.iter().find(|slice| !slice.is_empty()).map_or(&[], |slice| slice))
    }

    fn is_untaken(&self) -> bool {
        self.0.borrow().untaken
    }

    fn shutdown(&self) {}

    fn abort(&self) {}
}

struct World {
    engine: Arc<Engine>,
    store: Arc<MemoryStore>,
    mailbox: Arc<Mailbox>,
    shard: Shard<Peer>,
}

impl World {
    fn new() -> World {
        World::with(Settings::default())
    }

    fn with(settings: Settings) -> World {
        let store = MemoryStore::manual();
        let seam: Arc<dyn Store> = store.clone();
        let engine = Engine::open(settings, seam, &[], 1, NOW.unix).unwrap();
        let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
        for name in ["c", "d"] {
            engine.create(name, attributes, NOW.unix).unwrap();
        }
        let mailbox = Arc::new(Mailbox::new(|| ()));
        let common = Common::new(Arc::clone(&engine), Arc::new(Metrics::new()), PARTIAL_BYTES_MAX);
        let settings = ShardSettings {
            session: ServerSettings::default(),
            compression_bytes_min: 512,
            publish_bytes_max: 1 << 20,
            control_bytes_max: 1 << 16,
            drain_spread_ms: 0,
        };
        let shard = Shard::new(&common, settings, Arc::clone(&mailbox), || 7, NOW);
        World { engine, store, mailbox, shard }
    }

    fn subscriber(&mut self) -> (LinkId, Peer) {
        let peer = Peer::default();
        peer.allow(usize::MAX);
        let id = self.shard.open(NOW, peer.clone(), Purpose::Session, None);
        self.say(id, &ClientMessage::Connect { versions: vec![1], session: None, client: None, heartbeat: None });
        self.say(id, &ClientMessage::Subscribe { id: 1, channel: "c".into(), from: From::New });
        self.turn();
        (id, peer)
    }

    fn say(&mut self, id: LinkId, message: &ClientMessage) {
        let (mut text, mut frame) = (Vec::new(), Vec::new());
        message.encode(&mut text);
        ws::write_masked_frame(&mut frame, Opcode::Text, false, &text, [1, 2, 3, 4]);
        self.shard.on_bytes(NOW, id, &mut frame);
    }

    /// An event that is on disk, and that the shard has not been told of.
    fn publish(&self, channel: &str, data: &str) {
        let channel = self.engine.channel(channel).unwrap();
        let publish = Publish { channel, origin: None, body: Body::new(Data::text(data)), persistent: None };
        assert!(self.engine.publish(publish, NOW.unix, |_| ()).is_none());
        self.store.commit();
    }

    fn flush(&mut self) {
        while self.shard.flush(NOW) {}
    }

    fn turn(&mut self) {
        self.shard.deliver(NOW, self.mailbox.take());
        self.flush();
    }
}

#[test]
fn gaps_of_links_that_lag_are_counted() {
    let mut world = World::new();
    let attributes = ChannelAttributes { kind: ChannelKind::Reliable, capacity: Some(2), bytes: None, ttl: None };
    let few = world.engine.create("few", attributes, NOW.unix).unwrap().channel();
    let (id, peer) = world.subscriber();
    world.say(id, &ClientMessage::Subscribe { id: 2, channel: "few".into(), from: From::New });
    world.turn();
    peer.allow(0);
    for n in 0..5 {
        let body = Body::new(Data::text(format!("event {n}")));
        let publish = Publish { channel: Arc::clone(&few), origin: None, body, persistent: None };
        assert!(world.engine.publish(publish, NOW.unix, |_| ()).is_some());
    }
    world.turn();
    assert_eq!(world.shard.take_blocked(), [id]);
    peer.allow(usize::MAX);
    world.shard.on_writable(id);
    world.turn();
    let shown = world.shard.counts.render(&world.engine.totals());
    for line in [
        "throughline_gaps_reported_total{reason=\"capacity\"} 1",
        "throughline_events_missed_total{reason=\"capacity\"} 3",
        // One for which the socket had no room, and the same again.
        "throughline_pages_read_total{source=\"memory\"} 2",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in\n{shown}");
    }
    world.say(id, &ClientMessage::Unsubscribe { id: 3, channel: "none".into() });
    let shown = world.shard.counts.render(&world.engine.totals());
    assert!(shown.contains("throughline_replies_refused_total{code=\"not_subscribed\"} 1"), "{shown}");
}

#[test]
fn a_link_whose_first_answer_is_never_taken_is_closed_in_place_of_a_ping() {
    for untaken in [false, true] {
        let mut world = World::new();
        let (_, peer) = world.subscriber();
        peer.0.borrow_mut().untaken = untaken;
        let heartbeat = ServerSettings::default().heartbeat_ms;
        world.shard.on_timeout(Now { monotonic: heartbeat - 1_000, ..NOW });
        world.flush();
        assert_eq!((peer.received("ping"), peer.received("never taken")), (0, 0));
        world.shard.on_timeout(Now { monotonic: heartbeat + 1_000, ..NOW });
        world.flush();
        assert_eq!(
            (peer.received("ping"), peer.received("never taken")),
            (usize::from(!untaken), usize::from(untaken))
        );
    }
}

#[test]
fn a_draining_link_is_closed_also_when_a_walk_gave_it_its_last_event() {
    let mut world = World::new();
    let (id, peer) = world.subscriber();
    world.publish("c", "before");
    world.turn();
    peer.allow(0);
    world.publish("c", "first");
    world.turn();
    assert_eq!(world.shard.take_blocked(), [id]);
    world.publish("c", "second");
    world.shard.drain();
    peer.allow(usize::MAX);
    world.shard.on_writable(id);
    world.flush();
    assert_eq!((peer.received("first"), peer.received("the server is stopping")), (1, 0));
    world.turn();
    assert_eq!((peer.received("second"), peer.received("the server is stopping")), (1, 1));
}

#[test]
fn members_that_leave_during_a_walk_make_nobody_miss_an_event() {
    let mut world = World::new();
    let mut links: Vec<_> = (0..600).map(|_| world.subscriber()).collect();
    world.publish("c", "payload");
    world.shard.deliver(NOW, world.mailbox.take());
    let mut turns = 0;
    while world.shard.flush(NOW) {
        turns += 1;
        // From the front, which was served: those who take the places come from the end, which was not.
        for (id, peer) in links.drain(..50) {
            assert_eq!(peer.received("payload"), 1);
            world.shard.remove(id);
        }
    }
    assert!(turns > 1, "the walk has to be interrupted for this test to say anything");
    assert!(links.iter().all(|(_, peer)| peer.received("payload") == 1));
}

#[test]
fn a_link_with_a_word_to_say_does_not_wait_for_all_who_catch_up() {
    let mut world = World::new();
    let late: Vec<_> = (0..1_000).map(|_| world.subscriber()).collect();
    let (quick, peer) = world.subscriber();
    late.iter().for_each(|(_, peer)| peer.allow(0));
    world.publish("c", "payload");
    world.turn();
    for (id, peer) in &late {
        peer.allow(usize::MAX);
        world.shard.on_writable(*id);
    }
    world.say(quick, &ClientMessage::Ping);
    assert!(world.shard.flush(NOW), "one flush may not serve all for this test to say anything");
    assert_eq!(peer.received("pong"), 1);
    // One that catches up has its word before its turn, and its event once.
    let (last, peer) = &late[late.len() - 1];
    world.say(*last, &ClientMessage::Ping);
    assert!(world.shard.flush(NOW));
    assert_eq!((peer.received("pong"), peer.received("payload")), (1, 1));
    world.flush();
    assert!(late.iter().all(|(_, peer)| peer.received("payload") == 1));
}

#[test]
fn a_link_that_one_subscription_has_blocked_reads_nothing_for_the_others() {
    let mut world = World::new();
    let (id, peer) = world.subscriber();
    world.say(id, &ClientMessage::Subscribe { id: 2, channel: "d".into(), from: From::New });
    world.turn();
    let before = peer.bytes();
    world.publish("c", "1");
    world.turn();
    let frame = peer.bytes() - before;
    world.publish("c", "2");
    world.publish("c", "3");
    for _ in 0..2_000 {
        world.publish("d", "x");
    }
    // Room for one event to the byte: nothing is left over that would have to go out first.
    peer.allow(frame);
    world.shard.on_writable(id);
    world.flush();
    assert_eq!((peer.bytes() - before, world.shard.take_blocked()), (2 * frame, vec![id]));
    assert!(world.shard.take_reads().is_empty(), "a page that cannot be written is read for nothing");
    peer.allow(usize::MAX);
    world.shard.on_writable(id);
    world.flush();
    assert_eq!(world.shard.take_reads().len(), 1);
}

/// Carries out the reads that the shard asks for, and gives it the pages without a flush.
fn read_for(world: &mut World) -> usize {
    let requests = world.shard.take_reads();
    let carry_out = |request: &ReadRequest| Mail::Stored {
        link: request.link,
        channel: request.channel.number(),
        after: request.after,
        page: request.channel.read_stored(request.after, request.limit, NOW.unix),
    };
    let pages: Vec<_> = requests.iter().map(carry_out).collect();
    world.shard.deliver(NOW, pages);
    requests.len()
}

#[test]
fn pages_are_read_ahead_for_a_socket_that_takes_them_whole_and_for_no_other() {
    let mut world = World::new();
    let data = "x".repeat(16 << 10);
    for _ in 0..600 {
        world.publish("d", &data);
    }
    let (id, peer) = world.subscriber();
    world.say(id, &ClientMessage::Subscribe { id: 2, channel: "d".into(), from: From::All });
    world.flush();
    // Pages grow while the socket takes them; none is asked for before the one in front is written.
    while world.shard.link_mut(id).unwrap().page_bytes < PAGE_BYTES_MAX {
        assert_eq!(read_for(&mut world), 1);
        assert!(world.shard.take_reads().is_empty());
        world.flush();
    }
    // From now on the next one is asked for as soon as one has come.
    assert_eq!(read_for(&mut world), 1);
    let ahead = world.shard.take_reads();
    assert_eq!(ahead.len(), 1);
    // A socket that takes no more: what was read ahead is dropped, and nothing more is read until it does.
    peer.allow(data.len());
    world.flush();
    world.shard.reads.extend(ahead);
    assert_eq!(read_for(&mut world), 1);
    world.flush();
    assert!(world.shard.take_reads().is_empty());
    peer.allow(usize::MAX);
    world.shard.on_writable(id);
    world.flush();
    while read_for(&mut world) > 0 {
        world.flush();
    }
    assert_eq!(peer.received(&format!("\"{data}\"")), 600);
}

#[test]
fn answers_to_publishes_follow_the_events_and_wait_for_no_other_millisecond() {
    let mut world = World::new();
    let attributes = ChannelAttributes { kind: ChannelKind::Reliable, capacity: None, bytes: None, ttl: None };
    world.engine.create("live", attributes, NOW.unix).unwrap();
    let subscribers: Vec<_> = (0..600).map(|_| world.subscriber()).collect();
    for (id, _) in &subscribers {
        world.say(*id, &ClientMessage::Subscribe { id: 2, channel: "live".into(), from: From::New });
    }
    let (publisher, peer) = world.subscriber();
    world.turn();
    let before = peer.received("\"eid\":");
    let answers = || peer.received("\"eid\":") - before;
    let publish = |world: &mut World, id| {
        let body = Body::new(Data::text("payload"));
        world.say(publisher, &ClientMessage::Publish { id, channel: "live".into(), body, persistent: None });
        world.shard.deliver(NOW, world.mailbox.take());
    };
    peer.writes();
    publish(&mut world, 1);
    publish(&mut world, 2);
    let mut flushes = 1;
    while world.shard.flush(NOW) {
        assert_eq!(answers(), 0, "after {flushes} flushes");
        flushes += 1;
    }
    assert!(flushes > 1, "one flush may not serve all for this test to say anything");
    assert!(subscribers.iter().all(|(_, peer)| peer.received("payload") == 2));
    assert_eq!((answers(), peer.writes()), (2, 1), "answers of one turn go out together");

    publish(&mut world, 3);
    assert!(world.shard.flush(Now { monotonic: NOW.monotonic + 1, ..NOW }));
    assert_eq!((answers(), peer.writes()), (3, 1));
    world.flush();

    // Another word takes the answer along, in order, and it is not told twice.
    publish(&mut world, 4);
    world.shard.send(publisher, &ServerMessage::Ping);
    assert!(world.shard.flush(NOW));
    assert_eq!((answers(), peer.received("ping"), peer.writes()), (4, 1, 1));
    world.flush();
    assert_eq!((answers(), peer.writes()), (4, 0));
}
