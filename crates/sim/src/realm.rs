//! The server of a run: the engine on a store in memory, and one real shard that writes to simulated sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use throughline_engine::memory::MemoryStore;
use throughline_engine::store::Store;
use throughline_engine::{ChannelAttributes, ChannelKind, Engine, Read, ReadLimit, Settings};
use throughline_server::metrics::Metrics;
use throughline_server::shard::{Common, LinkId, Mail, Mailbox, Now, Purpose, ReadRequest, Shard, ShardSettings, Sock};
use throughline_session::{Cursor, ServerSettings};
use throughline_wire::event::{Eid, Event};
use throughline_wire::ws::deflate::Agreed;

use crate::checker::{Stored, Violation};
use crate::pipe::Shared;
use crate::random::Random;

/// A channel of every run.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it keeps.
    pub kind: ChannelKind,
    /// Most events it keeps.
    pub capacity: Option<u64>,
}

impl Kind {
    /// True when no event is given up while the realm runs.
    pub const fn unlimited(&self) -> bool {
        self.capacity.is_none() && !matches!(self.kind, ChannelKind::Transient)
    }
}

/// The channels of every run.
pub const CHANNELS: [Kind; 5] = [
    Kind { name: "disk", kind: ChannelKind::Persistent, capacity: None },
    Kind { name: "memory", kind: ChannelKind::Reliable, capacity: None },
    Kind { name: "short", kind: ChannelKind::Persistent, capacity: Some(6) },
    Kind { name: "mixed", kind: ChannelKind::Mixed, capacity: None },
    Kind { name: "passing", kind: ChannelKind::Transient, capacity: None },
];

/// The virtual clock's beginning, milliseconds since 1970.
/// Beyond what all simulated clients can begin to say.
const PARTIAL_BYTES_MAX: u64 = 1 << 30;
const UNIX_MS: u64 = 1_700_000_000_000;
/// Everything there is, for readers that are no clients.
const ALL: ReadLimit = ReadLimit { events: 1_000, bytes: 1 << 30 };
/// Turns of a flush after which it must have come to an end.
const FLUSHES_MAX: usize = 10_000;

/// The server's end of a simulated connection.
#[derive(Clone, Debug)]
pub struct Socket(Shared);

impl Sock for Socket {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_down(bytes)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_down_vectored(slices)
    }

    fn shutdown(&self) {
        self.0.0.borrow_mut().down.finish();
    }

    fn abort(&self) {
        let mut connection = self.0.0.borrow_mut();
        connection.down.finish();
        connection.up.finish();
    }
}

/// A realm: it lives over restarts of its process.
pub struct Realm {
    random: Random,
    store: Arc<MemoryStore>,
    process: Process,
    now: u64,
    /// Up to where [`Realm::observe`] has read each channel.
    seen: BTreeMap<&'static str, Cursor>,
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realm").finish_non_exhaustive()
    }
}

/// What ends with the process.
struct Process {
    engine: Arc<Engine>,
    shard: Shard<Socket>,
    mailbox: Arc<Mailbox>,
    links: Vec<(LinkId, Shared)>,
    blocked: Vec<LinkId>,
    reads: Vec<ReadRequest>,
    expire_at: u64,
}

impl Process {
    fn start(store: Arc<MemoryStore>, random: &mut Random, now: u64) -> Result<Process, Violation> {
        let attributes = |k: Kind| ChannelAttributes { kind: k.kind, capacity: k.capacity, bytes: None, ttl: None };
        let channels = CHANNELS.map(|k| (k.name.to_owned(), attributes(k)));
        let settings = Settings { ring_events_max: 4, ..Settings::default() };
        let engine = Engine::open(settings, store as Arc<dyn Store>, &channels, random.next(), UNIX_MS + now)
            .map_err(|e| format!("the engine did not open: {e}"))?;
        let mailbox = Arc::new(Mailbox::new(|| ()));
        let common = Common::new(Arc::clone(&engine), Arc::new(Metrics::new()), PARTIAL_BYTES_MAX);
        let mut ids = random.fork();
        let fresh = move || u128::from(ids.next()) << 64 | u128::from(ids.next());
        let shard = Shard::new(&common, shard_settings(), Arc::clone(&mailbox), fresh, at(now));
        let (links, blocked, reads) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Process { engine, shard, mailbox, links, blocked, reads, expire_at: now })
    }
}

fn shard_settings() -> ShardSettings {
    let mut session = ServerSettings::default();
    session.limits.publishes_max = 4;
    ShardSettings {
        session,
        compression_bytes_min: 64,
        publish_bytes_max: 2_000,
        control_bytes_max: 500,
        drain_spread_ms: 3_000,
    }
}

const fn at(now: u64) -> Now {
    Now { monotonic: now, unix: UNIX_MS + now }
}

impl Realm {
    /// With the channels of [`CHANNELS`], all empty.
    pub fn new(mut random: Random) -> Result<Realm, Violation> {
        let store = MemoryStore::manual();
        let process = Process::start(Arc::clone(&store), &mut random, 0)?;
        Ok(Realm { random, store, process, now: 0, seen: BTreeMap::new() })
    }

    /// A connection was made, its handshake is done.
    pub fn accept(&mut self, now: u64, shared: Shared, deflate: Option<Agreed>) {
        shared.0.borrow_mut().now = now;
        let id = self.process.shard.open(at(now), Socket(shared.clone()), Purpose::Session, deflate);
        self.process.links.push((id, shared));
    }

    /// The process ends, at once or in good order, and another one begins on the same disk.
    pub fn restart(&mut self, crash: bool) -> Result<(), Violation> {
        let random = &mut self.random;
        for (_, shared) in self.process.links.drain(..) {
            shared.cut(random);
        }
        if !crash {
            self.process.engine.stop();
        }
        self.store = self.store.reopen();
        self.process = Process::start(Arc::clone(&self.store), random, self.now)?;
        Ok(())
    }

    /// The process is going to end: clients are told.
    pub fn drain(&mut self) {
        self.process.shard.drain();
    }

    /// Reads, acts, writes. Without `faults`, the disk is quick.
    pub fn turn(&mut self, now: u64, faults: bool) -> Result<(), Violation> {
        self.now = now;
        let Realm { random, store, process, .. } = self;
        process.read(now, random);
        if !faults || random.one_in(3) {
            store.commit();
        }
        if now >= process.expire_at {
            process.engine.expire(UNIX_MS + now);
            process.expire_at = now + 1_000;
        }
        process.turn(now)?;
        if !faults || random.one_in(3) {
            process.read_stored(now);
            process.turn(now)?;
        }
        Ok(())
    }

    /// Events that became visible since the last call.
    pub fn observe(&mut self) -> Result<Vec<Stored>, Violation> {
        let mut all = Vec::new();
        for kind in CHANNELS {
            let Some(head) = self.head(kind.name) else { return Err(format!("{} is gone", kind.name)) };
            let known = self.seen.get(kind.name).filter(|c| c.epoch == head.epoch).map_or(Eid::NONE, |c| c.eid);
            if known == head.eid {
                continue;
            }
            let stored = |(eid, text)| Stored { channel: kind.name.into(), epoch: head.epoch, eid, text };
            all.extend(self.after(kind.name, known)?.into_iter().map(stored));
            self.seen.insert(kind.name, head);
        }
        Ok(all)
    }

    /// Everything a channel keeps after an event.
    pub fn after(&self, name: &str, mut after: Eid) -> Result<Vec<(Eid, String)>, Violation> {
        let Some(channel) = self.process.engine.channel(name) else { return Err(format!("{name} is gone")) };
        let mut all = Vec::new();
        loop {
            let page = match channel.read(after, ALL, UNIX_MS + self.now) {
                Read::Page(page) => page,
                Read::Stored => {
                    channel.read_stored(after, ALL, UNIX_MS + self.now).map_err(|e| format!("{name}: {e}"))?
                }
            };
            all.extend(page.events.iter().map(|e| (e.eid, text(e))));
            if !page.more {
                return Ok(all);
            }
            if page.next <= after {
                return Err(format!("{name}: a page after {after} ends at {} and there is more", page.next));
            }
            after = page.next;
        }
    }

    /// A channel's history and its last event.
    pub fn head(&self, name: &str) -> Option<Cursor> {
        let channel = self.process.engine.channel(name)?;
        Some(Cursor { epoch: channel.epoch(), eid: channel.head() })
    }
}

fn text(event: &Event) -> String {
    event.body.data.as_text().unwrap_or_default().to_owned()
}

impl Process {
    fn read(&mut self, now: u64, random: &mut Random) {
        let Process { shard, links, .. } = self;
        links.retain(|(id, shared)| {
            shared.0.borrow_mut().now = now;
            if !shard.wants_input(*id) {
                return true;
            }
            let mut bytes = shared.0.borrow_mut().up.read(now, random);
            if !bytes.is_empty() {
                shard.on_bytes(at(now), *id, &mut bytes);
            }
            let ended = shared.0.borrow().up.at_end();
            if ended {
                shard.remove(*id);
                shared.0.borrow_mut().down.finish();
            }
            !ended
        });
    }

    fn turn(&mut self, now: u64) -> Result<(), Violation> {
        let Process { shard, mailbox, links, blocked, reads, .. } = self;
        let writable = |id: &LinkId| {
            let socket = links.iter().find(|(link, _)| link == id);
            socket.is_none_or(|(_, shared)| shared.0.borrow().down.room() > 0)
        };
        blocked.retain(|id| {
            let writable = writable(id);
            if writable {
                shard.on_writable(*id);
            }
            !writable
        });
        shard.deliver(at(now), mailbox.take());
        if shard.next_timeout().is_some_and(|due| due <= now) {
            shard.on_timeout(at(now));
        }
        let mut flushes = 0;
        while shard.flush(at(now)) {
            flushes += 1;
            if flushes > FLUSHES_MAX {
                return Err("a flush does not end".into());
            }
        }
        blocked.extend(shard.take_blocked());
        reads.extend(shard.take_reads());
        // Every link that wants input is read from in every turn.
        let _ = shard.take_resumed();
        if shard.len() != links.len() {
            return Err(format!("the shard has {} links, there are {}", shard.len(), links.len()));
        }
        Ok(())
    }

    fn read_stored(&mut self, now: u64) {
        for ReadRequest { link, channel, after, limit } in self.reads.drain(..) {
            let page = channel.read_stored(after, limit, UNIX_MS + now);
            self.mailbox.put(Mail::Stored { link, channel: channel.number(), after, page });
        }
    }
}
