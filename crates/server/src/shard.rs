//! A shard: one thread's share of the links, and how events reach them.
//!
//! The shard does not take care of reading, waiting or time: it is handed bytes, mail and the time, writes through
//! [`Sock`], and says what it waits for. So it runs under a runtime as well as in a simulation. The obligations of
//! whoever drives it:
//!
//! - after any call that may have made work ([`Shard::on_bytes`], [`Shard::deliver`], [`Shard::on_writable`],
//!   [`Shard::on_timeout`], [`Shard::drain`]): call [`Shard::flush`] until it returns false;
//! - after a flush: carry out [`Shard::take_reads`], await writability for [`Shard::take_blocked`], let the readers of
//!   [`Shard::take_resumed`] go on, and call [`Shard::on_timeout`] at [`Shard::next_timeout`];
//! - read from a link only while [`Shard::wants_input`], and [`Shard::remove`] it when its connection has ended.

mod creating;
mod ending;
mod frames;
mod framing;
mod input;
mod link;
mod mail;
mod open;
mod partial;
mod pull;
mod sock;
#[cfg(test)]
mod tests;
mod uplink;
mod wheel;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use slab::Slab;
use throughline_engine::{Channel, Engine, ReadLimit, WatcherId};
use throughline_session::ServerSettings;
use throughline_wire::close::CloseCode;
use throughline_wire::event::Eid;
use throughline_wire::message::{CloseReason, ServerMessage};
use throughline_wire::path::{Group, Transport};
use throughline_wire::ws::deflate;

use crate::budget::Budget;
use crate::metrics::Metrics;
use creating::Owed;
use frames::{Encoder, FrameLogs};
use link::{End, Inlet, Life, Link};
use partial::Partials;
use pull::{Arrived, Slot};
use wheel::Wheel;

pub use crate::network::Network;
pub use mail::{Mail, Mailbox};
pub use open::{HttpLink, Purpose};
pub use sock::Sock;
pub use uplink::{PieceDone, PieceOutcome};

/// Smallest page read for one link, bytes of event bodies.
pub(crate) const PAGE_BYTES_MIN: u32 = 16 * 1024;
/// Largest page read for one link.
pub(crate) const PAGE_BYTES_MAX: u32 = 512 * 1024;
/// Interval of links on polls, milliseconds: a poll that is held is no silence, and is held for up to 25 s.
const POLL_HEARTBEAT_MS: u64 = 30_000;
/// How long a peer may take to answer a close frame, milliseconds.
const CLOSE_MS: u64 = 3_000;
/// How often frames of quiet channels are let go, milliseconds.
const REST_MS: u64 = 1_000;
/// An echo on which nothing is heard for this long is ended, milliseconds.
const ECHO_IDLE_MS: u64 = 600_000;

/// Names a link of a shard. Keys are used again, generations tell their users apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(crate) key: u32,
    pub(crate) generation: u32,
}

/// The time, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never goes back.
    pub monotonic: u64,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub unix: u64,
}

/// A read from the disk that a link needs. Carry out `channel.read_stored(after, limit, now)` off the shard's thread
/// and post the outcome as [`Mail::Stored`].
#[derive(Debug)]
pub struct ReadRequest {
    /// Who needs it.
    pub link: LinkId,
    /// The channel.
    pub channel: Arc<Channel>,
    /// The cursor.
    pub after: Eid,
    /// How much.
    pub limit: ReadLimit,
}

/// What a shard is told once.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// The protocol's intervals and limits.
    pub session: ServerSettings,
    /// Messages below this go uncompressed, bytes.
    pub compression_bytes_min: usize,
    /// Bytes of event data that one link may have waiting for the disk.
    pub publish_bytes_max: usize,
    /// Bytes of replies that wait for a link, beyond which nothing more is read from it.
    pub control_bytes_max: usize,
    /// What a `drain` tells clients: reconnect after a random delay up to this, milliseconds.
    pub drain_spread_ms: u64,
}

impl ShardSettings {
    /// What holds for links on a transport.
    fn session_of(&self, transport: Transport) -> ServerSettings {
        match transport.group() {
            Group::WebSocket | Group::Streams => self.session,
            Group::Polls => self.session.with_fixed_heartbeat(self.session.heartbeat_ms.max(POLL_HEARTBEAT_MS)),
        }
    }

    /// Largest message of a link, bytes: an event's data with escapes or base64, and its header.
    fn message_bytes_max(&self) -> usize {
        (self.session.limits.event_bytes as usize).saturating_mul(2).saturating_add(65_536)
    }
}

/// What all shards of a realm share.
#[derive(Clone, Debug)]
pub struct Common {
    engine: Arc<Engine>,
    logs: Arc<FrameLogs>,
    metrics: Arc<Metrics>,
    partial: Arc<Budget>,
}

impl Common {
    /// For the shards of one realm. Messages that clients have begun and not finished take `partial_bytes_max` bytes in all.
    pub fn new(engine: Arc<Engine>, metrics: Arc<Metrics>, partial_bytes_max: u64) -> Common {
        Common { engine, logs: Arc::default(), metrics, partial: Arc::new(Budget::new(partial_bytes_max)) }
    }
}

/// See the module's text.
pub struct Shard<S> {
    settings: ShardSettings,
    engine: Arc<Engine>,
    logs: Arc<FrameLogs>,
    counts: Arc<Metrics>,
    watcher: WatcherId,
    mailbox: Arc<Mailbox>,
    random: Box<dyn FnMut() -> u128>,
    links: Slab<Link<S>>,
    generation: u32,
    slots: Slab<Slot>,
    by_number: HashMap<u32, u32>,
    encoder: Encoder,
    /// Serves every link that keeps no compression window.
    inflater: deflate::Inflater,
    /// Links that have something pending, or that have to be looked at for all their subscriptions.
    queue: VecDeque<LinkId>,
    /// Links that catch up. They wait apart, so that many of them are not ahead of one that has a word to say.
    behind: VecDeque<LinkId>,
    /// Links whose publishes were answered, which they are told after the events.
    answered: VecDeque<LinkId>,
    /// When the first of them was, on the monotonic clock.
    answered_at: u64,
    /// Keys of slots that have something new and whose walk has not begun.
    dirty: VecDeque<u32>,
    /// Keys of slots whose walk is under way, or has to be repeated.
    walking: VecDeque<u32>,
    /// Whose turn was last: that of `dirty`, or of `walking`.
    fresh_turn: bool,
    /// Keys of slots that hold frames.
    holding: Vec<u32>,
    rest_at: u64,
    wheel: Wheel,
    due: Vec<LinkId>,
    reads: Vec<ReadRequest>,
    /// Pages from the disk that the next flush writes.
    arrived: Vec<Arrived>,
    blocked: Vec<LinkId>,
    resumed: Vec<LinkId>,
    partials: Partials,
    owed: Owed,
    draining: bool,
}

impl<S> fmt::Debug for Shard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("links", &self.links.len())
            .field("slots", &self.slots.len())
            .finish_non_exhaustive()
    }
}

impl<S: Sock> Shard<S> {
    /// A shard without links. `random` gives new session ids.
    pub fn new(
        common: &Common,
        settings: ShardSettings,
        mailbox: Arc<Mailbox>,
        random: impl FnMut() -> u128 + 'static,
        now: Now,
    ) -> Shard<S> {
        let watcher = common.engine.register(Arc::clone(&mailbox) as _);
        Shard {
            encoder: Encoder::new(settings.compression_bytes_min),
            settings,
            engine: Arc::clone(&common.engine),
            logs: Arc::clone(&common.logs),
            counts: Arc::clone(&common.metrics),
            watcher,
            mailbox,
            random: Box::new(random),
            links: Slab::new(),
            generation: 0,
            slots: Slab::new(),
            by_number: HashMap::new(),
            inflater: deflate::Inflater::new(15, false),
            queue: VecDeque::new(),
            behind: VecDeque::new(),
            answered: VecDeque::new(),
            answered_at: now.monotonic,
            dirty: VecDeque::new(),
            walking: VecDeque::new(),
            fresh_turn: false,
            holding: Vec::new(),
            rest_at: now.monotonic,
            wheel: Wheel::new(now.monotonic),
            due: Vec::new(),
            reads: Vec::new(),
            arrived: Vec::new(),
            blocked: Vec::new(),
            resumed: Vec::new(),
            partials: Partials::new(Arc::clone(&common.partial)),
            owed: Owed::new(),
            draining: false,
        }
    }

    /// Forgets a link whose connection has ended, and gives its socket back.
    pub fn remove(&mut self, id: LinkId) -> Option<S> {
        self.link_mut(id)?;
        let link = self.links.remove(id.key as usize);
        self.partials.forget(id);
        self.forget_owed(id);
        for sub in &link.subs {
            self.leave(sub.slot, sub.index);
        }
        self.counts.links_open(link.transport).dec();
        Some(link.sock)
    }

    /// The socket of a link.
    pub fn sock(&self, id: LinkId) -> Option<&S> {
        self.links.get(id.key as usize).filter(|l| l.generation == id.generation).map(|l| &l.sock)
    }

    /// How many links there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// True when there is no link.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// False while a link has so much under way that nothing more should be read from it; it will be in
    /// [`Shard::take_resumed`] when that has changed.
    pub fn wants_input(&mut self, id: LinkId) -> bool {
        let over = self.over_limits(id);
        match self.link_mut(id) {
            // Its input comes in other ways, and its connection is read to see its end.
            Some(Link { inlet: Inlet::Http(_), .. }) => true,
            Some(link) => {
                link.paused = over;
                !over
            }
            None => true,
        }
    }

    fn over_limits(&self, id: LinkId) -> bool {
        let Some(link) = self.links.get(id.key as usize) else { return false };
        let over = u64::from(link.inflight) >= self.settings.session.limits.publishes_max
            || link.inflight_bytes >= self.settings.publish_bytes_max
            || link.control_bytes() > self.settings.control_bytes_max;
        // A link that ends is read from, so that its end is seen.
        over && link.is_open() && !link.dead
    }

    /// A link's socket takes bytes again.
    pub fn on_writable(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id) {
            link.blocked = false;
            link.awaited = false;
            self.enqueue_behind(id);
        }
    }

    /// Takes notes from other threads.
    pub fn deliver(&mut self, now: Now, mail: impl IntoIterator<Item = Mail>) {
        for note in mail {
            match note {
                Mail::Dirty(number) => self.mark_dirty(number),
                Mail::Deleted(number) => self.deleted(number),
                Mail::Heard(link) => self.heard(now, link),
                Mail::Piece { link, number, bytes, done } => self.on_piece(now, link, number, &bytes, done),
                Mail::Onward(link) => self.take_rest(now, link),
                Mail::Created { link, channel, result } => self.created(link, channel, &result),
                Mail::Published { link, id, weight, result } => self.published(now, link, id, weight, result),
                Mail::Stored { link, channel, after, page } => match page {
                    Ok(page) => self.arrived(link, channel, after, page),
                    Err(e) => {
                        self.counts.read_failed();
                        let reason = format!("reading stored events failed: {e}");
                        self.close(now, link, CloseReason::new(CloseCode::Internal, reason), false);
                    }
                },
            }
        }
    }

    fn mark_dirty(&mut self, number: u32) {
        let Some(key) = self.by_number.get(&number).copied() else { return };
        let Some(slot) = self.slots.get_mut(key as usize) else { return };
        if slot.dirty {
            slot.again = true;
        } else {
            slot.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Does what is due at `now`.
    pub fn on_timeout(&mut self, now: Now) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now.monotonic, &mut due);
        for id in due.drain(..) {
            self.timed_out(now, id);
        }
        self.due = due;
        if now.monotonic >= self.rest_at && !self.holding.is_empty() {
            self.rest();
            self.rest_at = now.monotonic + REST_MS;
        }
    }

    /// When [`Shard::on_timeout`] is due, on the monotonic clock.
    pub fn next_timeout(&self) -> Option<u64> {
        let rest = (!self.holding.is_empty()).then_some(self.rest_at);
        [self.wheel.next_deadline(), rest].into_iter().flatten().min()
    }

    fn timed_out(&mut self, now: Now, id: LinkId) {
        if self.link_mut(id).is_none() {
            return;
        }
        if self.deadline(id) <= now.monotonic {
            self.expire_link(now, id);
        }
        // An aborted link stays until its reader sees the end.
        let again = self.deadline(id).max(now.monotonic + wheel::TICK_MS);
        self.wheel.insert(id, again);
    }

    fn expire_link(&mut self, now: Now, id: LinkId) {
        let Shard { links, settings, .. } = self;
        let link = links.get_mut(id.key as usize).filter(|l| l.generation == id.generation);
        let Some(link) = link else { return };
        let settings = settings.session_of(link.transport);
        match (&mut link.life, &mut link.end) {
            (Life::Closing { deadline, .. }, _) => {
                *deadline = now.monotonic + CLOSE_MS;
                link.sock.abort();
            }
            (Life::Open, End::Echo(_)) => {
                self.close(now, id, CloseReason::new(CloseCode::GoingAway, "nothing was heard for ten minutes"), true);
            }
            (Life::Open, End::Session(session)) => match session.tick(now.monotonic, &settings) {
                throughline_session::Tick::Nothing => {}
                // Whoever wants a link takes its first answer within seconds: this one was abandoned.
                throughline_session::Tick::Ping if link.sock.is_untaken() => {
                    self.close(
                        now,
                        id,
                        CloseReason::new(CloseCode::Heartbeat, "its first answer was never taken"),
                        false,
                    );
                }
                throughline_session::Tick::Ping => self.send(id, &ServerMessage::Ping),
                throughline_session::Tick::Close(reason) => self.close(now, id, reason, false),
            },
        }
    }

    fn deadline(&self, id: LinkId) -> u64 {
        let Some(link) = self.links.get(id.key as usize) else { return 0 };
        match (&link.life, &link.end) {
            (Life::Closing { deadline, .. }, _) => *deadline,
            (Life::Open, End::Echo(heard)) => heard + ECHO_IDLE_MS,
            (Life::Open, End::Session(session)) => session.deadline(&self.settings.session_of(link.transport)),
        }
    }

    /// Reads from the disk to carry out.
    #[must_use]
    pub fn take_reads(&mut self) -> Vec<ReadRequest> {
        std::mem::take(&mut self.reads)
    }

    /// Links whose sockets take nothing: [`Shard::on_writable`] is awaited for each.
    #[must_use]
    pub fn take_blocked(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.blocked)
    }

    /// Links that were paused and may be read from again.
    #[must_use]
    pub fn take_resumed(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.resumed)
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link<S>> {
        self.links.get_mut(id.key as usize).filter(|l| l.generation == id.generation)
    }

    fn note_blocked(&mut self, id: LinkId) {
        let Some(link) = self.link_mut(id) else { return };
        if link.dead {
            self.note_resumed(id);
        } else if link.blocked && !link.awaited {
            link.awaited = true;
            self.blocked.push(id);
        }
    }

    fn note_resumed(&mut self, id: LinkId) {
        if self.over_limits(id) {
            return;
        }
        let Some(link) = self.link_mut(id) else { return };
        let onward = match &mut link.inlet {
            Inlet::Http(uplink) => uplink.resume(),
            Inlet::WebSocket { .. } | Inlet::Hixie(_) => false,
        };
        if std::mem::take(&mut link.paused) {
            self.resumed.push(id);
        }
        if onward {
            self.mailbox.put(Mail::Onward(id));
        }
    }

    /// Queues a message ahead of events.
    fn send(&mut self, id: LinkId, message: &ServerMessage) {
        self.write(id, message);
        self.enqueue(id);
    }

    fn write(&mut self, id: LinkId, message: &ServerMessage) {
        let Shard { links, encoder, counts, .. } = self;
        match message {
            ServerMessage::Reply { result: Err(error), .. } => counts.reply_refused(error.code.clone()),
            ServerMessage::Gap { gap, .. } => counts.gap(gap),
            _ => {}
        }
        if let Some(link) = links.get_mut(id.key as usize).filter(|l| l.generation == id.generation) {
            encoder.message(link.framing.control(), message, link.control());
        }
    }
}
