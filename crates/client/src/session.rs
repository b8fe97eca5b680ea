//! A session with a realm: the handle that programs hold.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use throughline_session::{
    ClientState, LinkLoss, Links, Memory, PathSummary, PublishError, PublishFault, SubscribeError,
};
use throughline_wire::event::{Body, Eid};
use throughline_wire::message::From;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::core::{Answer, BufferLimits, Shared};
use crate::driver;
use crate::options::Options;
use crate::subscription::Subscription;
use crate::url::{BadUrl, RealmUrl};

/// The answer to a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The event's id in its channel.
    pub eid: Eid,
    /// True when the event had been stored before and this publish was a repetition.
    pub duplicate: bool,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A link is being opened.
    Connecting,
    /// The realm has welcomed the session.
    Open,
    /// Between two attempts.
    Waiting {
        /// Why the last link ended or could not be opened.
        cause: Option<Arc<LinkLoss>>,
    },
    /// Over for good.
    Closed {
        /// Close code of PROTOCOL.md section 7; 1006 when no server said one.
        code: u16,
        /// Why.
        reason: Arc<str>,
    },
}

impl State {
    pub(crate) fn from_session(state: ClientState, cause: Option<Arc<LinkLoss>>) -> State {
        match state {
            ClientState::Open => State::Open,
            ClientState::Waiting { .. } => State::Waiting { cause },
            ClientState::Connecting | ClientState::Closed => State::Connecting,
        }
    }
}

/// Why a link was lost, in one line for a person.
pub fn describe_loss(loss: &LinkLoss) -> String {
    match loss {
        LinkLoss::Closed { code, reason } if reason.is_empty() => format!("the server closed the link ({code})"),
        LinkLoss::Closed { code, reason } => format!("the server closed the link: {reason} ({code})"),
        LinkLoss::Broken(text) | LinkLoss::Hopeless(text) => text.clone(),
        LinkLoss::Refused { reason, .. } => reason.clone(),
    }
}

/// Why a session did not come about.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is no realm's.
    Url(BadUrl),
    /// The first attempt to connect failed; holds why and the way out.
    Failed(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Url(bad) => bad.fmt(f),
            OpenError::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}

/// Why an event was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishFailure {
    /// It was not taken into the queue.
    NotQueued(PublishError),
    /// It got no good answer.
    Fault(PublishFault),
}

impl fmt::Display for PublishFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishFailure::NotQueued(error) => error.fmt(f),
            PublishFailure::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for PublishFailure {}

/// Closes the session when the last handle is gone.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().links.session_mut().close();
        self.shared.wake.notify_one();
    }
}

/// A conversation with a realm that outlives connections. Clones share it; it ends with [`close`](Session::close), or when
/// the last clone and the last subscription are dropped.
///
/// A connection that breaks is replaced: subscriptions go on where they were, and publishes without an answer are sent again
/// in a way that stores each once.
#[derive(Clone)]
pub struct Session {
    handle: Arc<Handle>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &*self.handle.shared.state.borrow()).finish()
    }
}

impl Session {
    /// Connects to the realm at `url` (`http://HOST:PORT[/prefix]`) and waits until it has welcomed the session. Fails when
    /// the first attempt fails. To be called within a tokio runtime with I/O and time enabled.
    pub async fn connect(url: &str, options: Options) -> Result<Session, OpenError> {
        let session = Session::start(url, options).map_err(OpenError::Url)?;
        session.opened().await.map_err(OpenError::Failed)?;
        Ok(session)
    }

    /// Starts a session that tries to connect until it succeeds. Subscriptions and publishes wait for it.
    pub fn start(url: &str, options: Options) -> Result<Session, BadUrl> {
        let url = url.parse::<RealmUrl>()?.through(options.route.clone());
        let limits = BufferLimits { events_max: options.buffer_events_max, bytes_max: options.buffer_bytes_max };
        let links = Links::new(options.settings(), &options.ladder(), Memory::default(), seed(), 0, unix_ms());
        let shared = Arc::new(Shared::new(links, limits, Instant::now()));
        tokio::spawn(driver::drive(Arc::clone(&shared), url, options));
        Ok(Session { handle: Arc::new(Handle { shared }) })
    }

    /// Waits for the first attempt's outcome.
    async fn opened(&self) -> Result<(), String> {
        let mut state = self.handle.shared.state.subscribe();
        let decided = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match decided.as_deref() {
            Ok(State::Open) => Ok(()),
            Ok(State::Waiting { cause: Some(loss) }) => Err(describe_loss(loss)),
            Ok(State::Closed { reason, .. }) => Err(reason.to_string()),
            Ok(State::Waiting { cause: None } | State::Connecting) | Err(_) => {
                Err("the connection could not be opened".to_owned())
            }
        }
    }

    /// Where the session stands, and every change of it.
    pub fn state(&self) -> watch::Receiver<State> {
        self.handle.shared.state.subscribe()
    }

    /// The way between this session and the realm: what carries it, what was measured, and what failed last.
    pub fn path(&self) -> PathSummary {
        self.handle.shared.lock().links.path()
    }

    /// The same, at every change of transport and every failure.
    pub fn path_changes(&self) -> watch::Receiver<PathSummary> {
        self.handle.shared.path.subscribe()
    }

    /// Receives a channel. Whether the server takes the subscription up is told by the subscription itself.
    pub fn subscribe(&self, channel: &str, from: From) -> Result<Subscription, SubscribeError> {
        let shared = &self.handle.shared;
        let mut core = shared.lock();
        let id = core.links.session_mut().subscribe(channel, from)?;
        core.add_inbox(id);
        drop(core);
        shared.wake.notify_one();
        Ok(Subscription::new(Arc::clone(&self.handle), id, channel.into()))
    }

    /// Publishes an event and waits for the answer: on a persistent channel, until it is on disk. `persistent` counts on
    /// channels of type `mixed`.
    pub async fn publish(
        &self,
        channel: &str,
        body: Body,
        persistent: Option<bool>,
    ) -> Result<Published, PublishFailure> {
        let receipt = self.publish_queued(channel, body, persistent).await.map_err(PublishFailure::NotQueued)?;
        receipt.await.map_err(PublishFailure::Fault)
    }

    /// Puts an event into the queue, waiting for room if need be, and gives what its answer will come by. Any number of
    /// publishes may be under way; they are stored in the order they were queued.
    pub async fn publish_queued(
        &self,
        channel: &str,
        body: Body,
        persistent: Option<bool>,
    ) -> Result<Receipt, PublishError> {
        loop {
            let mut room = std::pin::pin!(self.handle.shared.room.notified());
            // Registered before the attempt, so that an answer between the two is not missed.
            room.as_mut().enable();
            match self.try_publish(channel, body.clone(), persistent) {
                Err(PublishError::Full { .. }) => room.await,
                done => return done,
            }
        }
    }

    /// Puts an event into the queue, or says that it is full.
    pub fn try_publish(&self, channel: &str, body: Body, persistent: Option<bool>) -> Result<Receipt, PublishError> {
        let shared = &self.handle.shared;
        let mut core = shared.lock();
        let id = core.links.session_mut().publish(channel, body, persistent)?;
        let receiver = core.add_receipt(id);
        drop(core);
        shared.wake.notify_one();
        Ok(Receipt { receiver })
    }

    /// Ends the session and waits until the connection is closed, at most a second. Publishes without an answer fail:
    /// await their receipts first.
    pub async fn close(self) {
        let shared = &self.handle.shared;
        shared.lock().links.session_mut().close();
        shared.wake.notify_one();
        let mut finished = shared.finished.subscribe();
        // The sender lives in `shared`, so waiting cannot fail.
        let _ = finished.wait_for(|finished| *finished).await;
    }
}

/// The answer to a queued publish, to come. Dropping it does not take the publish back.
#[derive(Debug)]
pub struct Receipt {
    receiver: oneshot::Receiver<Answer>,
}

impl Future for Receipt {
    type Output = Result<Published, PublishFault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(PublishFault::Closed { sent: true })))
    }
}

/// A number that differs from client to client. Without the system's randomness any will do.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}

/// Milliseconds since 1970, by which what was learned about a path grows old.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
