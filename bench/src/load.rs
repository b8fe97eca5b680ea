//! Connections of subscribers and publishers on one epoll loop.

mod connection;
mod receive;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::clock::now;
use crate::histogram::Histogram;
use crate::marker::{MARK, write_mark};
use crate::profile::{Endpoint, Kind, Profile, Side};
use crate::template::{Context, render};
use connection::{Connection, Role, State};

/// Most publishers of one load; a marker's sequence has 8 bits for them.
pub const PUBLISHERS_MAX: usize = 256;
/// Bits of a marker's sequence that count a publisher's messages of a channel.
const SEQUENCE_BITS: u32 = 24;
/// Most bytes of one read.
const READ_BYTES: usize = 256 * 1024;
/// Bytes that may wait for a publisher's socket before nothing more is published.
const BACKLOG_BYTES: usize = 256 * 1024;
/// Connections served between two looks at the clock.
const BATCH: usize = 512;

/// What was received.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Messages that arrived, all subscribers together.
    pub delivered: u64,
    /// Messages missing before a later one of the same publisher, channel and subscriber.
    pub gaps: u64,
    /// Messages that came after a later one, or twice.
    pub late: u64,
    /// Bytes that subscribers read.
    pub bytes: u64,
    /// Reads of subscribers.
    pub reads: u64,
    /// Acknowledgements that publishers read.
    pub acknowledged: u64,
}

/// What goes into the histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Nothing.
    Nothing,
    /// From publishing to arrival, each delivery.
    Deliveries,
    /// From publishing to acknowledgement.
    Acknowledgements,
}

#[derive(Debug)]
struct Channel {
    name: String,
    /// The next number of each publisher.
    sequences: Vec<u32>,
    subscribers: u64,
}

/// The connections, and what came over them.
pub struct Load {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    batch: usize,
    connections: Vec<Connection>,
    subscriber: Side,
    publisher: Side,
    channels: Vec<Channel>,
    publishers: Vec<usize>,
    /// Subscribers that are ready.
    pub ready: usize,
    /// Connections that ended.
    pub dead: usize,
    /// What was received.
    pub counts: Counts,
    /// Latencies, nanoseconds.
    pub latency: Histogram,
    /// What goes into `latency`.
    pub record: Record,
    /// Messages given to publishers' connections.
    pub published: u64,
    /// Deliveries that these must lead to.
    pub expected: u64,
    buffer: Vec<u8>,
    payload: Vec<u8>,
    message: Vec<u8>,
    id: u64,
}

impl Load {
    /// Without connections; `payload` is the size of a message's payload in bytes, at least [`MARK`].
    pub fn new(profile: &Profile, channels: usize, payload: usize) -> Result<Load, String> {
        static LOADS: AtomicU64 = AtomicU64::new(0);
        // Names that no other run has used, for servers that remember.
        let id = u64::from(std::process::id()) * 1000 + LOADS.fetch_add(1, Ordering::Relaxed);
        let channel = |i| Channel { name: format!("c{id}x{i}"), sequences: Vec::new(), subscribers: 0 };
        Ok(Load {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?,
            events: Vec::with_capacity(BATCH),
            batch: BATCH,
            connections: Vec::new(),
            subscriber: Side::new(&profile.subscriber)?,
            publisher: Side::new(&profile.publisher)?,
            channels: (0..channels).map(channel).collect(),
            publishers: Vec::new(),
            ready: 0,
            dead: 0,
            counts: Counts::default(),
            latency: Histogram::default(),
            record: Record::Nothing,
            published: 0,
            expected: 0,
            buffer: vec![0; READ_BYTES + MARK],
            payload: vec![b'x'; payload.max(MARK)],
            message: Vec::new(),
            id,
        })
    }

    /// Serves at most `batch` connections between two looks at the clock.
    pub fn in_batches_of(mut self, batch: usize) -> Load {
        self.batch = batch.min(BATCH);
        self
    }

    /// Subscribers from now on are made in another way.
    pub fn subscribe_by(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        self.subscriber = Side::new(endpoint)?;
        Ok(())
    }

    /// A channel's name.
    pub fn channel(&self, channel: usize) -> &str {
        &self.channels[channel].name
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Ready subscribers of all channels.
    pub fn subscribers(&self) -> u64 {
        self.channels.iter().map(|channel| channel.subscribers).sum()
    }

    fn open(&mut self, channel: usize, role: Role) -> Result<(), String> {
        let side = if role == Role::Subscriber { &self.subscriber } else { &self.publisher };
        let index = self.connections.len();
        let connection = Connection::open(side.addr, index, channel, role)
            .map_err(|e| format!("connecting to {}: {e}", side.addr))?;
        if let Some(stream) = &connection.stream {
            let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            epoll::add(&self.epoll, stream, epoll::EventData::new_u64(index as u64), both)
                .map_err(|e| format!("epoll: {e}"))?;
        }
        self.connections.push(connection);
        Ok(())
    }

    /// Opens `n` subscribers, `inflight` at a time, channel by channel in turn, and waits until all are ready.
    pub fn connect(&mut self, n: usize, inflight: usize, limit: Duration) -> Result<(), String> {
        let end = now() + limit.as_nanos() as u64;
        let (ready_before, dead_before) = (self.ready, self.dead);
        let mut opened = 0;
        while self.ready < ready_before + n {
            let dead = self.dead - dead_before;
            let under_way = opened - dead - (self.ready - ready_before);
            if now() > end || dead > n / 10 || (opened == n && under_way == 0) {
                let ready = self.ready - ready_before;
                return Err(format!("only {ready} of {n} subscribers got ready; {dead} were disconnected"));
            }
            for _ in under_way..inflight.min(n - opened + under_way) {
                self.open(opened % self.channels.len(), Role::Subscriber)?;
                opened += 1;
            }
            self.poll(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Opens `n` publishers and waits until they are ready.
    pub fn connect_publishers(&mut self, n: usize, limit: Duration) -> Result<(), String> {
        if self.publishers.len() + n > PUBLISHERS_MAX {
            return Err(format!("at most {PUBLISHERS_MAX} publishers"));
        }
        for _ in 0..n {
            self.publishers.push(self.connections.len());
            self.open(0, Role::Publisher(self.publishers.len() - 1))?;
        }
        let end = now() + limit.as_nanos() as u64;
        let waiting = |load: &Load| load.publishers.iter().any(|p| load.connections[*p].state != State::Ready);
        while waiting(self) {
            if now() > end {
                return Err("a publisher did not get ready".into());
            }
            self.poll(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether a publisher's socket, and its limit of unacknowledged messages, have room for one more.
    pub fn can_publish(&self, publisher: usize) -> bool {
        let connection = &self.connections[self.publishers[publisher]];
        let pipeline = self.publisher.endpoint.pipeline;
        connection.state == State::Ready
            && connection.out.len() - connection.out_at < BACKLOG_BYTES
            && (pipeline == 0 || connection.sent.len() < pipeline)
    }

    /// Messages of a publisher that wait for their acknowledgement.
    pub fn unacknowledged(&self, publisher: usize) -> usize {
        self.connections[self.publishers[publisher]].sent.len()
    }

    /// Gives a message to a publisher's connection, which [`Load::flush_publishers`] sends. `time` is from when latency counts.
    pub fn publish(&mut self, publisher: usize, channel: usize, time: u64) {
        let to = &mut self.channels[channel];
        if to.sequences.len() <= publisher {
            to.sequences.resize(publisher + 1, 0);
        }
        let sequence = (publisher as u32) << SEQUENCE_BITS | to.sequences[publisher];
        to.sequences[publisher] += 1;
        write_mark(&mut self.payload, time, sequence);
        let connection = &mut self.connections[self.publishers[publisher]];
        connection.n += 1;
        let context = Context {
            channel: &to.name,
            payload: &self.payload,
            id: self.id,
            n: connection.n,
            captured: &connection.captured,
        };
        self.message.clear();
        let endpoint = &self.publisher.endpoint;
        render(endpoint.message.as_bytes(), &context, &mut self.message);
        endpoint.frame(endpoint.binary, &self.message, &mut connection.out);
        if endpoint.ack.is_some() {
            connection.sent.push_back(time);
        }
        self.published += 1;
        self.expected += to.subscribers;
    }

    /// Sends what publishers were given.
    pub fn flush_publishers(&mut self) {
        for i in 0..self.publishers.len() {
            let publisher = self.publishers[i];
            if !self.connections[publisher].out.is_empty() {
                self.flush(publisher);
            }
        }
    }

    fn flush(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        let Some(mut stream) = connection.stream.as_ref() else { return };
        while connection.out_at < connection.out.len() {
            match stream.write(&connection.out[connection.out_at..]) {
                Ok(n) => connection.out_at += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.await_writable(i, true);
                    return;
                }
                Err(_) => {
                    self.kill(i);
                    return;
                }
            }
        }
        connection.out.clear();
        connection.out_at = 0;
        self.await_writable(i, false);
    }

    fn await_writable(&mut self, i: usize, wanted: bool) {
        let connection = &mut self.connections[i];
        let Some(stream) = connection.stream.as_ref().filter(|_| connection.writing != wanted) else { return };
        connection.writing = wanted;
        let write = if wanted { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(i as u64);
        if epoll::modify(&self.epoll, stream, data, epoll::EventFlags::IN | write).is_err() {
            self.kill(i);
        }
    }

    fn kill(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        if connection.state == State::Dead {
            return;
        }
        if std::env::var_os("BENCH_DEBUG").is_some() {
            let seen = String::from_utf8_lossy(&connection.inbox);
            crate::say(&format!("connection {i} ({:?}) ended; unread: {seen:?}", connection.role));
        }
        if connection.state == State::Ready && connection.role == Role::Subscriber {
            self.ready -= 1;
            self.channels[connection.channel].subscribers -= 1;
        }
        connection.state = State::Dead;
        connection.stream = None;
        self.dead += 1;
    }

    /// Waits at most `wait` for something to happen, and deals with it.
    pub fn poll(&mut self, wait: Duration) {
        let wait = if self.sleep_briefly(wait) { Duration::ZERO } else { wait };
        let time = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_millis()) * 1_000_000 };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        events.reserve_exact(self.batch);
        events.shrink_to(self.batch);
        if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&time)).is_ok() {
            for event in &events {
                self.happened(event.data.u64() as usize, event.flags);
            }
        }
        self.events = events;
    }

    /// Waits if `wait` is too short for epoll, which counts milliseconds.
    fn sleep_briefly(&self, wait: Duration) -> bool {
        if wait.is_zero() || wait >= Duration::from_millis(1) {
            return false;
        }
        let time = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let epoll = self.epoll.as_fd();
        let _ = poll(&mut [PollFd::from_borrowed_fd(epoll, PollFlags::IN)], Some(&time));
        true
    }

    fn happened(&mut self, i: usize, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        if flags.contains(Flags::OUT) {
            match self.connections[i].state {
                State::Connecting => self.opened(i),
                State::Dead => {}
                State::Handshake(_) | State::Ready => self.flush(i),
            }
        }
        let readable = flags.intersects(Flags::IN | Flags::HUP | Flags::ERR);
        if readable && self.connections[i].state != State::Dead {
            self.readable(i);
        }
    }

    fn opened(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        let side = if connection.role == Role::Subscriber { &self.subscriber } else { &self.publisher };
        let channel = &self.channels[connection.channel].name;
        let context = Context { channel, id: self.id * 1_000_000 + i as u64, ..Context::default() };
        if connection.role == Role::Subscriber || side.endpoint.kind != Kind::Http {
            connection.out = side.endpoint.opening(&context);
        }
        connection.state = State::Handshake(0);
        self.advance(i);
        self.flush(i);
    }
}
