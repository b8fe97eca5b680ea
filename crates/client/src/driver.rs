//! The task behind a session: moves messages between the state machine and its links, and keeps the clock.

use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use throughline_session::{Attempt, ClientState, LinkOrder};
use throughline_wire::close::CloseCode;
use throughline_wire::message::{DecodeError, ServerMessage};
use throughline_wire::path::Transport;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use crate::core::{Core, Shared};
use crate::options::Options;
use crate::transport::{Fault, Flight, Link, Moved};
use crate::url::RealmUrl;

/// Bytes that may wait for the socket before more are encoded.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// Longest wait for the other side to learn that a link is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the session until it is closed.
pub(crate) async fn drive(shared: Arc<Shared>, url: RealmUrl, options: Options) {
    let mut driver =
        Driver { shared, url, options, lanes: Vec::new(), live: None, paused: false, received: Vec::new() };
    loop {
        let (closing, deadline) = driver.turn();
        let Some(deadline) = deadline else {
            // The program may end right after, and with it every task.
            for closed in closing {
                let _ = closed.await;
            }
            break;
        };
        driver.wait(deadline).await;
    }
    driver.shared.finished.send_replace(true);
}

/// A link under its number.
struct Lane {
    attempt: Attempt,
    transport: Transport,
    link: Link,
}

struct Driver {
    shared: Arc<Shared>,
    url: RealmUrl,
    options: Options,
    /// The session's link and candidates for its place, oldest first.
    lanes: Vec<Lane>,
    /// Which of them is the session's.
    live: Option<Attempt>,
    /// The session's link is not read because a subscription is full.
    paused: bool,
    received: Vec<Result<ServerMessage, DecodeError>>,
}

impl Driver {
    /// Does all that can be done without waiting; gives the links that are being closed, and the time of the next tick, or
    /// `None` once the session is over.
    fn turn(&mut self) -> (Vec<JoinHandle<()>>, Option<u64>) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = shared.now();
        core.links.tick(now);
        self.hold_back(&mut core, now);
        let closing = self.obey(&mut core, now);
        self.live = core.links.live().map(|(attempt, _)| attempt);
        if let Some(lane) = self.lanes.iter_mut().find(|lane| Some(lane.attempt) == self.live) {
            while lane.link.queued_bytes() < OUTPUT_BYTES_MAX {
                let Some(message) = core.links.poll_transmit(now) else { break };
                lane.link.queue(&message);
            }
        }
        shared.dispatch(&mut core);
        (closing, core.links.poll_timeout())
    }

    /// Stops reading while the program is slow.
    fn hold_back(&mut self, core: &mut Core, now: u64) {
        let full = core.is_full() && core.links.session().state() == ClientState::Open;
        if full {
            // Each time: a link that has been adopted since is taken for one that is read.
            core.links.pause();
        } else if self.paused && !full {
            core.links.resume(now);
        }
        self.paused = full;
    }

    /// Opens and closes links as the state machine says.
    fn obey(&mut self, core: &mut Core, now: u64) -> Vec<JoinHandle<()>> {
        let mut closing = Vec::new();
        while let Some(order) = core.links.poll_order(now) {
            match order {
                LinkOrder::Open { attempt, transport, first, probe, hold_ms } => {
                    let flight = Flight { first, probe, hold_ms };
                    match Link::start(transport, &self.url, &self.options, flight) {
                        Ok(link) => self.lanes.push(Lane { attempt, transport, link }),
                        Err(fault) => lost(core, now, attempt, transport, fault),
                    }
                }
                LinkOrder::Send { attempt, message } => {
                    if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.attempt == attempt) {
                        lane.link.queue(&message);
                    }
                }
                LinkOrder::Close { attempt, code, reason } => {
                    if let Some(at) = self.lanes.iter().position(|lane| lane.attempt == attempt) {
                        closing.push(close(self.lanes.remove(at), code, reason));
                    }
                }
            }
        }
        closing
    }

    /// Waits until there is something to do, and takes in what came.
    async fn wait(&mut self, deadline: u64) {
        let shared = Arc::clone(&self.shared);
        let unread = self.live.filter(|_| self.paused);
        tokio::select! {
            () = shared.wake.notified() => {}
            () = sleep_until(shared.instant(deadline)) => {}
            (attempt, moved) = exchange(&mut self.lanes, unread) => self.moved(attempt, moved),
        }
    }

    fn moved(&mut self, attempt: Attempt, outcome: Result<Moved, Fault>) {
        let Some(at) = self.lanes.iter().position(|lane| lane.attempt == attempt) else { return };
        let (moved, mut fault) = match outcome {
            Ok(moved) => (moved, None),
            Err(fault) => (Moved::default(), Some(fault)),
        };
        if let Some(lane) = self.lanes.get_mut(at).filter(|_| moved.heard) {
            fault = lane.link.receive(&mut self.received).err();
        }
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = shared.now();
        tell(&mut core, now, attempt, moved);
        for message in self.received.drain(..) {
            core.links.input(now, attempt, message);
        }
        if let Some(fault) = fault {
            // The server's close frame is answered, or its fault named.
            let lane = self.lanes.remove(at);
            lost(&mut core, now, attempt, lane.transport, fault);
            drop(close(lane, CloseCode::Normal.code(), String::new()));
        }
        shared.dispatch(&mut core);
    }
}

fn tell(core: &mut Core, now: u64, attempt: Attempt, moved: Moved) {
    let links = &mut core.links;
    if moved.opened {
        links.opened(now, attempt);
    }
    if moved.uplinked {
        links.uplinked(attempt);
    }
    if let Some(hold_ms) = moved.hold_learned {
        links.hold_learned(now, hold_ms);
    }
    if moved.heard {
        links.heard(now, attempt);
    }
    if moved.full {
        links.rotate(now, attempt);
    }
}

fn lost(core: &mut Core, now: u64, attempt: Attempt, transport: Transport, fault: Fault) {
    let welcomed = core.links.session().session().is_some();
    let failure = fault.failure(transport);
    core.links.lost(now, attempt, fault.loss(welcomed), failure);
}

/// Closes a link in a task of its own, in limited time.
fn close(lane: Lane, code: u16, reason: String) -> JoinHandle<()> {
    tokio::spawn(async move {
        // A link that does not end in time is dropped.
        let _ = timeout(CLOSE_TIMEOUT, lane.link.finish(code, reason)).await;
    })
}

/// Waits for any of the links, of which `unread` is not read. Cancel-safe.
async fn exchange(lanes: &mut [Lane], unread: Option<Attempt>) -> (Attempt, Result<Moved, Fault>) {
    match lanes {
        [] => pending().await,
        [lane] => (lane.attempt, lane.link.exchange(Some(lane.attempt) != unread).await),
        lanes => {
            let mut waits = Vec::with_capacity(lanes.len());
            // Candidates first: a busy link would hide them.
            for lane in lanes.iter_mut().rev() {
                let reading = Some(lane.attempt) != unread;
                waits.push((lane.attempt, Box::pin(lane.link.exchange(reading))));
            }
            poll_fn(|context| {
                for (attempt, wait) in &mut waits {
                    if let Poll::Ready(outcome) = wait.as_mut().poll(context) {
                        return Poll::Ready((*attempt, outcome));
                    }
                }
                Poll::Pending
            })
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use throughline_session::{Links, Memory};
    use throughline_wire::event::{Eid, Epoch, SessionId};
    use throughline_wire::message::{From, Limits, Reply};
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::core::BufferLimits;

    const HEARTBEAT_MS: u64 = 10_000;

    fn answered(core: &mut Core, now: u64, attempt: u64, messages: Vec<ServerMessage>) {
        let limits = Limits { event_bytes: 1 << 20, publishes_max: 16, subscriptions_max: 16 };
        let (session, heartbeat) = (SessionId(7), HEARTBEAT_MS);
        let welcome = ServerMessage::Welcome { version: 1, session, heartbeat, limits, network: None };
        for message in [welcome, ServerMessage::Pong].into_iter().chain(messages) {
            core.links.input(now, Attempt(attempt), Ok(message));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_takes_over_while_the_program_is_slow_does_not_die_of_not_being_read() {
        let options = Options { transports: vec![Transport::WebSocket, Transport::HttpStream], ..Options::default() };
        let links = Links::new(options.settings(), &options.ladder(), Memory::default(), 1, 0, 0);
        let shared = Arc::new(Shared::new(links, BufferLimits { events_max: 1, bytes_max: 1 }, Instant::now()));
        let url: RealmUrl = "http://127.0.0.1:9".parse().unwrap();
        let lanes = Vec::new();
        let mut driver = Driver {
            shared: Arc::clone(&shared),
            url,
            options,
            lanes,
            live: None,
            paused: false,
            received: Vec::new(),
        };
        let subscription = {
            let mut core = shared.lock();
            let id = core.links.session_mut().subscribe("c", From::New).unwrap();
            core.add_inbox(id);
            id
        };
        driver.turn();
        let gone = Fault::Ended("gone".into());
        lost(&mut shared.lock(), shared.now(), Attempt(1), Transport::WebSocket, gone);
        driver.turn();
        let standing = Reply::Subscribed { number: 0, epoch: Epoch(1), eid: Eid(0) };
        let replies = (1..4).map(|id| ServerMessage::Reply { id, result: Ok(standing.clone()) }).collect();
        answered(&mut shared.lock(), shared.now(), 2, replies);
        shared.dispatch(&mut shared.lock());
        assert!(shared.lock().is_full(), "the subscription {subscription:?} stands, and nobody takes that");
        while driver.live != Some(Attempt(3)) {
            advance(Duration::from_millis(500)).await;
            driver.turn();
            if driver.lanes.iter().any(|lane| lane.attempt == Attempt(3)) {
                answered(&mut shared.lock(), shared.now(), 3, Vec::new());
                driver.turn();
            }
        }
        for _ in 0..10 {
            advance(Duration::from_millis(HEARTBEAT_MS)).await;
            driver.turn();
        }
        assert_eq!(driver.live, Some(Attempt(3)));
    }
}
