//! Drives one shard on a thread of its own: a tokio current_thread runtime with a tiny task per connection that
//! only reads, without a buffer while it is quiet, and one task that writes for all of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use throughline_wire::ws::Version;
use throughline_wire::ws::deflate::Agreed;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use crate::addresses::Guest;
use crate::clock::Clock;
use crate::connection;
use crate::http::Context as HttpContext;
use crate::load::{Counted, Load};
use crate::rare::Rare;
use crate::shard::{
    Common, HttpLink, LinkId, Mail, Mailbox, Network, PieceDone, Purpose, ReadRequest, Shard, ShardSettings,
};
use crate::socket::Stream;
use crate::tls::Certificates;
use crate::transport::{Place, PollSlot, Reserved, StreamStart};
use crate::waiting::Waiting;

/// Bytes read from one connection before another has its turn.
const READ_BYTES: usize = 64 * 1024;
/// Threads of a shard that read from the disk; more would only queue there.
const BLOCKING_THREADS_MAX: usize = 8;
/// Session ids taken from the operating system at once.
const IDS_AT_ONCE: usize = 16;
/// Notes for which a shard keeps room.
const NOTES_KEPT_MAX: usize = 1024;
/// Milliseconds between looks at whether a stopping shard has emptied.
const STOP_POLL_MS: u64 = 20;

/// What the realm asks of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Tell clients, give them what is theirs, and close.
    Draining,
    /// The time to drain is over.
    Ended,
}

/// What a shard's thread is started with.
pub(crate) struct ShardStart {
    pub(crate) settings: ShardSettings,
    pub(crate) common: Common,
    pub(crate) http: Arc<HttpContext>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) clock: Clock,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Most connections that it waits for.
    pub(crate) waiting_max: usize,
}

/// A running shard, as the acceptor sees it.
#[derive(Debug)]
pub(crate) struct ShardHandle {
    sockets: mpsc::UnboundedSender<std::net::TcpStream>,
    load: Load,
    thread: std::thread::JoinHandle<()>,
}

impl ShardHandle {
    /// Starts the thread.
    pub(crate) fn start(index: usize, start: ShardStart) -> io::Result<ShardHandle> {
        let (sockets, incoming) = mpsc::unbounded_channel();
        let load = Load::new(&start.http.connections);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        let counter = load.clone();
        let body = move || {
            let tasks = LocalSet::new();
            runtime.block_on(tasks.run_until(run(start, incoming, counter)));
        };
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(body)?;
        Ok(ShardHandle { sockets, load, thread })
    }

    /// Connections it has.
    pub(crate) fn load(&self) -> usize {
        self.load.get()
    }

    /// Gives it a connection; the socket is lost when the shard has ended.
    pub(crate) fn give(&self, socket: std::net::TcpStream) {
        self.load.inc();
        if self.sockets.send(socket).is_err() {
            self.load.dec();
        }
    }

    /// Waits for the thread's end.
    pub(crate) fn join(self) {
        drop(self.sockets);
        if self.thread.join().is_err() {
            tracing::error!("a shard's thread panicked");
        }
    }
}

/// What the tasks of a shard share.
pub(crate) struct Local {
    shard: RefCell<Shard<Stream>>,
    /// Bytes of whichever connection is being read.
    pub(crate) buffer: RefCell<Vec<u8>>,
    /// Readers of links that take no input for now.
    paused: RefCell<HashMap<LinkId, Waker>>,
    /// Tasks that wait until a link can be written to. A socket that is dropped wakes nobody.
    blocked: RefCell<HashMap<LinkId, Waker>>,
    /// Wakes the writer.
    work: Arc<Notify>,
    mailbox: Arc<Mailbox>,
    /// Notes of the mailbox, while they are delivered.
    notes: RefCell<Vec<Mail>>,
    load: Load,
    pub(crate) clock: Clock,
    pub(crate) http: Arc<HttpContext>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// One TLS handshake is computed at a time, and others have their turn before the next.
    pub(crate) handshakes: Semaphore,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) waiting: Rc<Waiting>,
    /// Lines of the log about connections that had to make room there.
    pub(crate) waited_for: Rare,
    /// The same about addresses that have too many.
    pub(crate) crowded: Rare,
    /// Lines of the log about key bytes that did not come.
    pub(crate) keys_lost: Rare,
    /// The same about connections that were refused for a PROXY header.
    pub(crate) headers_refused: Rare,
    /// The same about requests that were refused for what a trusted proxy said of them.
    pub(crate) forwarded_refused: Rare,
}

/// What a WebSocket link begins with.
#[derive(Debug)]
pub(crate) struct WebSocketStart {
    pub(crate) purpose: Purpose,
    pub(crate) version: Version,
    pub(crate) deflate: Option<Agreed>,
    pub(crate) network: Option<Network>,
    /// What an echo says first.
    pub(crate) hello: Option<Vec<u8>>,
}

/// What one read of a connection came to.
enum Reading {
    /// The socket holds nothing more for now.
    Emptied,
    /// There may be more, after others had their turn.
    More,
    Ended,
}

async fn run(start: ShardStart, mut incoming: mpsc::UnboundedReceiver<std::net::TcpStream>, load: Load) {
    let work = Arc::new(Notify::new());
    let wake = Arc::clone(&work);
    let mailbox = Arc::new(Mailbox::new(move || wake.notify_one()));
    let ShardStart { settings, common, http, certificates, clock, phase, waiting_max } = start;
    let shard = Shard::new(&common, settings, Arc::clone(&mailbox), session_ids(), clock.now());
    let metrics = Arc::clone(&http.metrics);
    let local = Rc::new(Local {
        shard: RefCell::new(shard),
        buffer: RefCell::new(vec![0; READ_BYTES]),
        paused: RefCell::default(),
        blocked: RefCell::default(),
        work,
        mailbox,
        notes: RefCell::default(),
        load,
        clock,
        http,
        certificates,
        handshakes: Semaphore::new(1),
        phase: phase.clone(),
        waiting: Waiting::new(waiting_max, metrics),
        waited_for: Rare::default(),
        crowded: Rare::default(),
        keys_lost: Rare::default(),
        headers_refused: Rare::default(),
        forwarded_refused: Rare::default(),
    });
    let writer = spawn_local(Rc::clone(&local).write_loop());
    spawn_local(Rc::clone(&local).await_drain());
    while let Some(socket) = incoming.recv().await {
        let counted = Counted(local.load.clone());
        let local = Rc::clone(&local);
        spawn_local(async move {
            if let Err(e) = connection::run(&local, socket).await {
                tracing::debug!("connection ended: {e}");
            }
            drop(counted);
        });
    }
    // The acceptor is gone: the realm is stopping.
    local.drained(phase).await;
    writer.abort();
}

/// Gives session ids of 128 random bits. The operating system is asked for several at a time.
fn session_ids() -> impl FnMut() -> u128 {
    let mut ids = [[0; 16]; IDS_AT_ONCE];
    let mut used = ids.len();
    move || {
        if used == ids.len() {
            random(ids.as_flattened_mut());
            used = 0;
        }
        used += 1;
        u128::from_ne_bytes(std::mem::take(&mut ids[used - 1]))
    }
}

fn random(bytes: &mut [u8]) {
    if let Err(e) = getrandom::fill(bytes) {
        // Ids that could be guessed would let one client take over another's session.
        tracing::error!("the system gives no random numbers: {e}; ending");
        std::process::abort()
    }
}

impl Local {
    /// Opens a link on a connection whose handshake is done, and has it read to its end. `early` are bytes that came
    /// behind the handshake; `guest` is held as long as the connection.
    pub(crate) fn link(
        self: &Rc<Self>,
        socket: Stream,
        WebSocketStart { purpose, version, deflate, network, hello }: WebSocketStart,
        early: &mut [u8],
        guest: Option<Guest>,
    ) {
        let now = self.clock.now();
        let id = {
            let mut shard = self.shard.borrow_mut();
            let id = match version.has_number() {
                true => shard.open(now, socket, purpose, deflate),
                false => shard.open_hixie(now, socket, purpose),
            };
            shard.set_network(id, network);
            if let Some(hello) = hello {
                shard.greet(id, &hello);
            }
            shard.on_bytes(now, id, early);
            id
        };
        self.work.notify_one();
        self.load.inc();
        // A task of its own, since the one that answered the handshake is many times as large.
        spawn_local(Rc::clone(self).read_loop(id, guest));
    }

    /// Opens a link on a connection whose request asked for a stream, and has it read to its end.
    pub(crate) fn stream_link(self: &Rc<Self>, socket: Stream, start: StreamStart, guest: Option<Guest>) {
        let StreamStart { http, piece, reserved, headers: _ } = start;
        let id = self.http_link(socket, http, piece);
        reserved.fill(Place { mailbox: Arc::clone(&self.mailbox), link: id, slot: None });
        self.load.inc();
        let reading = Rc::clone(self).read_loop(id, guest);
        spawn_local(async move {
            reading.await;
            drop(reserved);
        });
    }

    /// Opens a link on polls.
    pub(crate) fn poll_link(
        self: &Rc<Self>,
        slot: Arc<PollSlot>,
        http: HttpLink,
        piece: Option<Bytes>,
        reserved: Reserved,
    ) -> Place {
        let id = self.http_link(Stream::Poll(Arc::clone(&slot)), http, piece);
        let place = Place { mailbox: Arc::clone(&self.mailbox), link: id, slot: Some(slot) };
        reserved.fill(place.clone());
        let local = Rc::clone(self);
        spawn_local(async move {
            local.await_over(id).await;
            drop(reserved);
        });
        place
    }

    fn http_link(&self, stream: Stream, http: HttpLink, piece: Option<Bytes>) -> LinkId {
        let now = self.clock.now();
        let mut shard = self.shard.borrow_mut();
        let id = shard.open_http(now, stream, http);
        if let Some(piece) = piece {
            shard.on_piece(now, id, 1, &piece, PieceDone::new(|_| ()));
        }
        self.work.notify_one();
        id
    }

    /// Forgets a link on polls when it is over.
    async fn await_over(self: Rc<Self>, id: LinkId) {
        poll_fn(|cx| match self.shard.borrow().sock(id) {
            Some(stream) => stream.poll_over(cx),
            None => Poll::Ready(()),
        })
        .await;
        self.forget(id);
    }

    /// Reads a link, which is counted, to its end. Nothing but a reference and the id lives over the wait: this is what an idle
    /// connection costs.
    async fn read_loop(self: Rc<Self>, id: LinkId, guest: Option<Guest>) {
        while poll_fn(|cx| self.poll_readable(cx, id)).await {
            match self.read(id) {
                Reading::Ended => break,
                Reading::Emptied => {}
                Reading::More => tokio::task::yield_now().await,
            }
        }
        self.paused.borrow_mut().remove(&id);
        self.load.dec();
        drop(guest);
        self.forget(id);
    }

    fn forget(&self, id: LinkId) {
        self.shard.borrow_mut().remove(id);
        if let Some(waker) = self.blocked.borrow_mut().remove(&id) {
            waker.wake();
        }
        self.work.notify_one();
    }

    /// True when the link can be read; false when it is gone.
    fn poll_readable(&self, cx: &mut Context<'_>, id: LinkId) -> Poll<bool> {
        let mut shard = self.shard.borrow_mut();
        if !shard.wants_input(id) {
            self.paused.borrow_mut().insert(id, cx.waker().clone());
            return Poll::Pending;
        }
        match shard.sock(id) {
            Some(stream) => stream.poll_readable(cx),
            None => Poll::Ready(false),
        }
    }

    /// Reads once.
    fn read(&self, id: LinkId) -> Reading {
        let mut shard = self.shard.borrow_mut();
        let mut buffer = self.buffer.borrow_mut();
        let Some(stream) = shard.sock(id) else { return Reading::Ended };
        match stream.read(&mut buffer) {
            Ok(0) => Reading::Ended,
            Ok(n) => {
                shard.on_bytes(self.clock.now(), id, &mut buffer[..n]);
                self.work.notify_one();
                if n == buffer.len() { Reading::More } else { Reading::Emptied }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Reading::Emptied,
            Err(_) => Reading::Ended,
        }
    }

    /// The shard's one writer. What it waits on is set up anew only when it has changed: this loop goes round once
    /// per message.
    async fn write_loop(self: Rc<Self>) {
        let mut due = None;
        let mut sleep = pin!(tokio::time::sleep_until(self.clock.instant(0).into()));
        loop {
            if self.turn() {
                tokio::task::yield_now().await;
                continue;
            }
            let next = self.shard.borrow().next_timeout();
            if next != due || sleep.is_elapsed() {
                due = next;
                sleep.as_mut().reset(self.clock.instant(next.unwrap_or(0)).into());
            }
            tokio::select! {
                () = self.work.notified() => {}
                () = sleep.as_mut(), if due.is_some() => {}
            }
        }
    }

    /// Tells the shard when the realm stops.
    async fn await_drain(self: Rc<Self>) {
        let mut phase = self.phase.clone();
        if phase.wait_for(|phase| *phase != Phase::Running).await.is_ok() {
            self.shard.borrow_mut().drain();
            self.work.notify_one();
        }
    }

    /// One turn of the shard; true when there is more to do at once.
    fn turn(self: &Rc<Self>) -> bool {
        let now = self.clock.now();
        let mut shard = self.shard.borrow_mut();
        let mut notes = self.notes.borrow_mut();
        self.mailbox.take_into(&mut notes);
        shard.deliver(now, notes.drain(..));
        if notes.capacity() > NOTES_KEPT_MAX {
            *notes = Vec::new();
        }
        if shard.next_timeout().is_some_and(|at| at <= now.monotonic) {
            shard.on_timeout(now);
        }
        // Before the pages that have come are written, so that the next ones are read meanwhile.
        self.begin_reads(&mut shard);
        let more = shard.flush(now);
        self.begin_reads(&mut shard);
        for id in shard.take_blocked() {
            spawn_local(Rc::clone(self).await_writable(id));
        }
        for id in shard.take_resumed() {
            if let Some(waker) = self.paused.borrow_mut().remove(&id) {
                waker.wake();
            }
        }
        more
    }

    fn begin_reads(&self, shard: &mut Shard<Stream>) {
        for request in shard.take_reads() {
            self.read_stored(request);
        }
    }

    /// Reads from the disk on a thread that may wait.
    fn read_stored(&self, request: ReadRequest) {
        let (mailbox, now) = (Arc::clone(&self.mailbox), self.clock.now().unix);
        let ReadRequest { link, channel, after, limit } = request;
        spawn_blocking(move || {
            let page = channel.read_stored(after, limit, now);
            mailbox.put(Mail::Stored { link, channel: channel.number(), after, page });
        });
    }

    async fn await_writable(self: Rc<Self>, id: LinkId) {
        poll_fn(|cx| {
            let ready = match self.shard.borrow().sock(id) {
                Some(stream) => stream.poll_writable(cx),
                None => Poll::Ready(()),
            };
            if ready.is_pending() {
                self.blocked.borrow_mut().insert(id, cx.waker().clone());
            }
            ready
        })
        .await;
        self.blocked.borrow_mut().remove(&id);
        self.shard.borrow_mut().on_writable(id);
        self.work.notify_one();
    }

    fn busy(&self) -> bool {
        self.load.get() > 0 || !self.shard.borrow().is_empty()
    }

    /// Waits until every link is closed, or the realm's patience has ended.
    async fn drained(&self, mut phase: watch::Receiver<Phase>) {
        while *phase.borrow_and_update() != Phase::Ended && self.busy() {
            let pause = tokio::time::sleep(std::time::Duration::from_millis(STOP_POLL_MS));
            tokio::select! {
                () = pause => {}
                changed = phase.changed() => if changed.is_err() { return },
            }
        }
    }
}
