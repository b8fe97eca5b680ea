//! The task behind a session: moves messages between the state machine and its link, and keeps the clock.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use throughline_session::{ClientState, LinkCommand};
use throughline_wire::close::CloseCode;
use throughline_wire::message::{DecodeError, ServerMessage};
use tokio::time::{sleep_until, timeout};

use crate::core::Shared;
use crate::options::{Options, TRANSPORTS};
use crate::transport::{Fault, Hold, Link};
use crate::url::RealmUrl;

/// Bytes that may wait for the socket before more are encoded.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// Longest wait for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Link, Fault>> + Send>>;

/// Runs the session until it is closed.
pub(crate) async fn drive(shared: Arc<Shared>, url: RealmUrl, options: Options) {
    let mut driver = Driver { shared, url, options, link: None, opening: None, paused: false, received: Vec::new() };
    while let Some(deadline) = driver.turn().await {
        driver.wait(deadline).await;
    }
    driver.shared.finished.send_replace(true);
}

struct Driver {
    shared: Arc<Shared>,
    url: RealmUrl,
    options: Options,
    link: Option<Link>,
    opening: Option<Opening>,
    /// The socket is not read because a subscription is full.
    paused: bool,
    received: Vec<Result<ServerMessage, DecodeError>>,
}

impl Driver {
    /// Does all that can be done without waiting; gives the time of the next tick, or `None` once the session is over.
    async fn turn(&mut self) -> Option<u64> {
        let (commands, deadline) = self.step();
        for command in commands {
            match command {
                LinkCommand::Doubt | LinkCommand::Trust => {}
                LinkCommand::Open => self.opening = Some(Box::pin(open(self.url.clone(), self.options.clone()))),
                LinkCommand::Close { code, reason } => self.close_link(code, reason, deadline.is_none()).await,
            }
        }
        deadline
    }

    fn step(&mut self) -> (Vec<LinkCommand>, Option<u64>) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = shared.now();
        core.session.tick(now);
        let full = core.is_full() && core.session.state() == ClientState::Open;
        if full && !self.paused {
            core.session.pause();
        } else if self.paused && !full {
            core.session.resume(now);
        }
        self.paused = full;
        let mut commands = Vec::new();
        while let Some(command) = core.session.poll_link() {
            commands.push(command);
        }
        if let Some(link) = &mut self.link {
            while link.queued_bytes() < OUTPUT_BYTES_MAX {
                let Some(message) = core.session.poll_transmit() else { break };
                link.queue(&message);
            }
        }
        shared.dispatch(&mut core);
        (commands, core.session.poll_timeout())
    }

    async fn close_link(&mut self, code: u16, reason: String, last: bool) {
        self.opening = None;
        let Some(link) = self.link.take() else { return };
        let finish = timeout(CLOSE_TIMEOUT, link.finish(code, reason));
        if last {
            // The program may end right after, and with it every other task.
            let _ = finish.await;
        } else {
            tokio::spawn(finish);
        }
    }

    /// Waits until there is something to do, and takes in what came.
    async fn wait(&mut self, deadline: u64) {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = shared.wake.notified() => {}
            () = sleep_until(shared.instant(deadline)) => {}
            outcome = opened(&mut self.opening) => {
                self.opening = None;
                self.link_opened(outcome);
            }
            moved = exchange(&mut self.link, !self.paused) => self.moved(moved),
        }
    }

    fn link_opened(&mut self, outcome: Result<Link, Fault>) {
        let mut core = self.shared.lock();
        let now = self.shared.now();
        match outcome {
            Ok(link) => {
                self.link = Some(link);
                self.paused = false;
                core.session.link_opened(now);
            }
            Err(fault) => {
                let welcomed = core.session.session().is_some();
                core.session.link_lost(now, fault.loss(welcomed));
            }
        }
    }

    fn moved(&mut self, moved: Result<(), Fault>) {
        let Some(link) = &mut self.link else { return };
        let lost = moved.and_then(|()| link.receive(&mut self.received)).err();
        let mut core = self.shared.lock();
        let now = self.shared.now();
        core.session.heard(now);
        for message in self.received.drain(..) {
            core.session.input(now, message);
        }
        if let Some(fault) = lost {
            if let Some(link) = self.link.take() {
                // The server's close frame is answered, or its fault named.
                tokio::spawn(timeout(CLOSE_TIMEOUT, link.finish(CloseCode::Normal.code(), String::new())));
            }
            let welcomed = core.session.session().is_some();
            core.session.link_lost(now, fault.loss(welcomed));
        }
        self.shared.dispatch(&mut core);
    }
}

async fn open(url: RealmUrl, options: Options) -> Result<Link, Fault> {
    let transport = options.transports.first().copied().unwrap_or(TRANSPORTS[0]);
    Link::open(transport, &url, &options, Hold::default()).await
}

async fn opened(opening: &mut Option<Opening>) -> Result<Link, Fault> {
    match opening {
        Some(opening) => opening.await,
        None => pending().await,
    }
}

async fn exchange(link: &mut Option<Link>, reading: bool) -> Result<(), Fault> {
    match link {
        Some(link) => link.exchange(reading).await,
        None => pending().await,
    }
}
