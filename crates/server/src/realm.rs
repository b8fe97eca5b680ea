//! A running realm: its engine, its shards, and the listener that feeds them.

use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, Socket, Type};
use throughline_engine::{Engine, OpenError as EngineError};
use throughline_store::{FjallStore, OpenError as StoreOpenError};
use tokio::sync::watch;

use crate::clock::{Clock, unix_ms};
use crate::config::{Config, PublicUrl};
use crate::http::Context;
use crate::metrics::{Metrics, Turned};
use crate::rare::Rare;
use crate::runtime::{Phase, ShardHandle, ShardStart};
use crate::shard::{Common, ShardSettings};
use crate::tls::{Certificates, TlsError};
use crate::transport::Directory;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// Milliseconds to wait after the system refused to accept, for want of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Clients of a stopping realm come back within this time, each after a random delay, milliseconds.
const DRAIN_SPREAD_MS: u64 = 2_000;
/// Descriptors that are kept for the store and for listeners.
const DESCRIPTORS_RESERVED: u64 = 256;

/// Why a realm did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address could not be listened on.
    Listen {
        /// The address as it was given.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// The data directory could not be opened.
    Store(StoreOpenError),
    /// The engine did not accept what the disk or the configuration holds.
    Engine(EngineError),
    /// The certificates cannot be used.
    Tls(TlsError),
    /// The system gave no thread or runtime.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: another program does; give another address with --listen")
            }
            StartError::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            StartError::Store(error) => error.fmt(f),
            StartError::Engine(error) => error.fmt(f),
            StartError::Tls(error) => error.fmt(f),
            StartError::System(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A realm that runs on threads of its own until it is stopped.
#[derive(Debug)]
pub struct Realm {
    address: SocketAddr,
    public_url: Option<PublicUrl>,
    certificates: Option<Arc<Certificates>>,
    stop: mpsc::Sender<()>,
    keeper: Option<JoinHandle<()>>,
}

impl Realm {
    /// Opens the store, starts the shards and listens.
    pub fn start(config: Config) -> Result<Realm, StartError> {
        raise_descriptor_limit(config.limits.connections_max);
        let certificates = Certificates::load(&config).map_err(StartError::Tls)?.map(Arc::new);
        let listener = listen(&config.listen)?;
        let address = listener.local_addr().ok().and_then(|address| address.as_socket());
        let address = address.ok_or_else(|| StartError::System(io::Error::other("the listener has no address")))?;
        let metrics = Arc::new(Metrics::new());
        let watch = Box::new(metrics.watch_store());
        let store = FjallStore::open_watched(config.store_settings(), unix_ms(), watch).map_err(StartError::Store)?;
        let seed = getrandom::u64().map_err(|e| StartError::System(io::Error::other(e)))?;
        let engine = Engine::open(config.engine_settings(), store, &config.configured_channels(), seed, unix_ms())
            .map_err(StartError::Engine)?;
        let public_url = config.public_url.clone();
        let parts = Parts { config: Arc::new(config), engine, metrics, certificates: certificates.clone() };
        let shards = parts.start_shards().map_err(StartError::System)?;
        let links = Arc::clone(&shards.http.links);
        let max = parts.config.limits.connections_max;
        let acceptor = Acceptor::start(listener, max, shards).map_err(StartError::System)?;
        let (stop, stopping) = mpsc::channel();
        let body = move || {
            parts.keep_house(&links, &stopping);
            if let Some(shards) = acceptor.stop() {
                parts.drain(shards);
            }
        };
        let keeper = std::thread::Builder::new().name("keeper".into()).spawn(body).map_err(StartError::System)?;
        Ok(Realm { address, public_url, certificates, stop, keeper: Some(keeper) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients find it: the address with its scheme.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// By which address clients come, where that is another.
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.public_url.as_ref()
    }

    /// Reads the certificates again; they are also read when their files change. False when there are none.
    pub fn reload(&self) -> bool {
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
        self.certificates.is_some()
    }

    /// Stops: no new connections, clients are told and given what is theirs, the store is closed. Waits for all of it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The thread may have ended already, for want of a receiver of this.
        let _ = self.stop.send(());
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the realm's thread panicked");
        }
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a realm until SIGTERM or SIGINT, then drains it. Prints `listening on http://HOST:PORT` when it is ready, and
/// the public address where there is another.
pub fn run(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::System)?;
    let mut signals = {
        let _guard = runtime.enter();
        Signals::new().map_err(StartError::System)?
    };
    let realm = Realm::start(config)?;
    let mut stdout = io::stdout();
    let public = realm.public_url().map(|url| format!("clients come by {url}\n"));
    // A closed standard output is no reason not to serve.
    let _ =
        write!(stdout, "listening on {}\n{}", realm.url(), public.unwrap_or_default()).and_then(|()| stdout.flush());
    while runtime.block_on(signals.wait()) == Signal::Reload {
        let without = if realm.reload() { "" } else { ", and there are none" };
        tracing::info!(
            "SIGHUP: only certificates are read again{without}; a change of the configuration, of its channels too, takes effect at \
             the next start"
        );
    }
    tracing::info!("stopping: telling clients, giving them what is theirs");
    realm.stop();
    Ok(())
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

/// What a signal asks for.
#[derive(PartialEq, Eq)]
enum Signal {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

fn listen(address: &str) -> Result<Socket, StartError> {
    let failed = |error| StartError::Listen { address: address.to_owned(), error };
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "expected HOST:PORT");
    for candidate in address.to_socket_addrs().map_err(failed)? {
        match listen_on(candidate) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = e,
        }
    }
    Err(failed(last))
}

fn listen_on(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Inherited by the connections that are accepted.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A realm holds a descriptor per connection; the limit that shells set by default is far lower.
fn raise_descriptor_limit(connections_max: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections_max.saturating_add(DESCRIPTORS_RESERVED);
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return };
    let reach = limit.maximum.map_or(wanted, |max| wanted.min(max));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(reach), maximum: limit.maximum }).is_err() || reach < wanted {
        tracing::warn!(
            "the system allows {} open files; limits.connections_max = {connections_max} cannot be reached",
            reach.max(current)
        );
    }
}

fn shard_settings(config: &Config) -> ShardSettings {
    ShardSettings {
        session: config.session_settings(),
        compression_bytes_min: config.websocket.compression_bytes_min as usize,
        publish_bytes_max: config.limits.publish_bytes_max as usize,
        control_bytes_max: config.limits.control_bytes_max as usize,
        drain_spread_ms: DRAIN_SPREAD_MS,
    }
}

/// What the realm's threads share.
struct Parts {
    config: Arc<Config>,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    certificates: Option<Arc<Certificates>>,
}

/// The shards and the switch that they listen to.
struct Shards {
    handles: Vec<ShardHandle>,
    phase: watch::Sender<Phase>,
    http: Arc<Context>,
}

impl Parts {
    fn start_shards(&self) -> io::Result<Shards> {
        let count = match self.config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n as usize,
        };
        let (phase, watched) = watch::channel(Phase::Running);
        let partial = self.config.limits.partial_bytes_max;
        let common = Common::new(Arc::clone(&self.engine), Arc::clone(&self.metrics), partial);
        let http = Arc::new(Context::new(
            Arc::clone(&self.engine),
            Arc::clone(&self.config),
            Arc::clone(&self.metrics),
            unix_ms,
        ));
        let clock = Clock::start();
        let start = |index| {
            let start = ShardStart {
                settings: shard_settings(&self.config),
                common: common.clone(),
                http: Arc::clone(&http),
                certificates: self.certificates.clone(),
                clock,
                phase: watched.clone(),
                waiting_max: usize::try_from(self.config.limits.waiting_connections_max).unwrap_or(usize::MAX) / count,
            };
            ShardHandle::start(index, start)
        };
        let handles = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Shards { handles, phase, http })
    }

    /// Does what is due with time until the realm is to stop, then stops it.
    fn keep_house(&self, links: &Directory, stop: &mpsc::Receiver<()>) {
        while stop.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.engine.expire(unix_ms());
            let ended = links.sweep();
            if ended > 0 {
                let max = self.config.limits.poll_bytes_max;
                tracing::warn!(
                    "limits.poll_bytes_max = {max} is reached; ended {ended} links that acknowledged nothing"
                );
                self.metrics.polls_ended.add(ended);
            }
            if let Some(certificates) = &self.certificates {
                certificates.look();
            }
        }
    }

    /// Tells clients, gives them what is theirs, and ends what is left when that takes too long.
    fn drain(self, shards: Shards) {
        let Shards { handles, phase, http } = shards;
        http.set_draining();
        let _ = phase.send(Phase::Draining);
        let (ended, all_ended) = mpsc::channel();
        let joiner = std::thread::spawn(move || {
            handles.into_iter().for_each(ShardHandle::join);
            let _ = ended.send(());
        });
        let patience = Duration::from_millis(self.config.timeouts.drain_ms);
        if all_ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("connections are still open after timeouts.drain_ms; ending them");
            let _ = phase.send(Phase::Ended);
        }
        if joiner.join().is_err() {
            tracing::error!("a shard's thread panicked");
        }
        self.engine.stop();
    }
}

/// Accepts on a thread of its own, which hardly does more than wait: the sockets live on the shards' runtimes.
struct Acceptor {
    listener: Arc<Socket>,
    thread: JoinHandle<Shards>,
}

impl Acceptor {
    fn start(listener: Socket, connections_max: u64, shards: Shards) -> io::Result<Acceptor> {
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let body = move || {
            shards.accept(&accepting, connections_max);
            shards
        };
        let thread = std::thread::Builder::new().name("acceptor".into()).spawn(body)?;
        Ok(Acceptor { listener, thread })
    }

    /// Stops listening and gives the shards back; `None` when the thread panicked.
    fn stop(self) -> Option<Shards> {
        // A listener that is shut down wakes the thread that waits in accept.
        let _ = self.listener.shutdown(Shutdown::Both);
        self.thread.join().ok()
    }
}

impl Shards {
    fn accept(&self, listener: &Socket, connections_max: u64) {
        let (clock, failures, refusals) = (Clock::start(), Rare::default(), Rare::default());
        let mut taken = 0;
        loop {
            match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => {
                    if !self.take(socket.into())
                        && let Some(times) = refusals.happened(clock.now().monotonic)
                    {
                        tracing::warn!(
                            "limits.connections_max = {connections_max} is reached; connections refused: {times}"
                        );
                    }
                    taken += 1;
                }
                Err(Errno::AGAIN) if taken > 0 => {
                    // A shard on this processor has the new ones answered before more are taken; otherwise each that comes
                    // in would interrupt it.
                    std::thread::yield_now();
                    taken = 0;
                }
                Err(Errno::AGAIN) => await_readable(listener),
                Err(Errno::INVAL) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(e) => {
                    if let Some(times) = failures.happened(clock.now().monotonic) {
                        tracing::warn!("accepting a connection failed, {times} times since the last such line: {e}");
                    }
                    std::thread::sleep(Duration::from_millis(ACCEPT_PAUSE_MS));
                }
            }
        }
    }

    /// Gives a connection to the shard that has the fewest; false when there are too many.
    fn take(&self, socket: Socket) -> bool {
        if self.http.is_full() {
            self.http.metrics.turned_away(Turned::Full);
            // What its buffer does not take at once is not worth waiting for.
            let _ = socket.send(&crate::http::full_response());
            return false;
        }
        if let Some(shard) = self.handles.iter().min_by_key(|handle| handle.load()) {
            shard.give(socket.into());
        }
        true
    }
}

fn await_readable(listener: &Socket) {
    // A failure shows in the accept that follows.
    let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], None);
}
