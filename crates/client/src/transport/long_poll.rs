//! A session over held requests that are answered when there is something to say: PROTOCOL.md, HTTP transports.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use throughline_wire::message::{Carriage, ClientMessage, ServerMessage};
use tokio::time::{Instant, sleep};

use super::Received;
use super::answers;
use super::fault::Fault;
use super::hold::Hold;
use super::requests::{LinkId, Requests};
use super::uplink::{Uplink, is_passing, pause};
use crate::error::ConnectError;
use crate::options::Options;
use crate::url::RealmUrl;

/// Most bytes that the first poll carries up.
const FIRST_BYTES_MAX: usize = 256 << 10;
/// Time for the answer beyond the hold, milliseconds.
const ANSWER_MARGIN_MS: u64 = 8_000;
/// Failures in a row after which the link is over.
const FAILURES_MAX: u32 = 4;
/// Empty answers come at least so far apart, milliseconds, however short something on the way makes the hold.
const EMPTY_SPACING_MS: u64 = 500;

type Outcome = (Requests, Result<Bytes, ConnectError>);

pub(crate) struct Link {
    /// Absent while a poll is under way.
    requests: Option<Requests>,
    poll: Option<Poll>,
    /// What came and was not decoded.
    answer: Bytes,
    /// Of the last answer; zero while none came.
    number: u64,
    failures: u32,
    /// The wait before the next poll.
    wait: Duration,
    hold: Hold,
    uplink: Uplink,
    over: bool,
}

struct Poll {
    since: Instant,
    outcome: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

impl Link {
    /// Connects. The first poll follows with the first messages.
    pub(super) async fn open(url: &RealmUrl, options: &Options, hold: Hold) -> Result<Link, Fault> {
        let id = LinkId::draw().map_err(Fault::broken)?;
        let mut requests = Requests::new(url.clone(), id, options.open_timeout_ms);
        requests.connect().await.map_err(Fault::Failed)?;
        Ok(Link {
            requests: Some(requests),
            poll: None,
            answer: Bytes::new(),
            number: 0,
            failures: 0,
            wait: Duration::ZERO,
            hold,
            uplink: Uplink::new(url.clone(), id, options),
            over: false,
        })
    }

    pub(super) fn queue(&mut self, message: &ClientMessage) {
        self.uplink.queue(message);
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.uplink.queued_bytes()
    }

    pub(super) async fn exchange(&mut self, reading: bool) -> Result<(), Fault> {
        if reading && !self.answer.is_empty() {
            return Ok(());
        }
        if reading || self.uplink.is_fresh() {
            self.ask();
        }
        if self.uplink.is_fresh() {
            // Nothing goes up before the poll that opens the link.
            return pending().await;
        }
        let Link { poll, uplink, .. } = self;
        let outcome = tokio::select! {
            answered = answered(poll) => self.answered(answered),
            sent = uplink.drive() => sent,
        };
        self.over = outcome.is_err();
        outcome
    }

    /// Sends the next poll, if none is under way. The first one takes along what is queued, and waits for it.
    fn ask(&mut self) {
        let fresh = self.uplink.is_fresh();
        if fresh && self.uplink.queued_bytes() == 0 {
            return;
        }
        let Some(mut requests) = self.requests.take() else { return };
        let (body, piece) = if fresh { (self.uplink.take_first(FIRST_BYTES_MAX), "&n=1") } else { (Bytes::new(), "") };
        let hold = self.hold.ms();
        let query = format!("&ack={}&hold={hold}{piece}", self.number);
        let wait = std::mem::take(&mut self.wait);
        let outcome = Box::pin(async move {
            sleep(wait).await;
            let outcome = requests.call("/poll", &query, body, hold + ANSWER_MARGIN_MS).await;
            (requests, outcome)
        });
        self.poll = Some(Poll { since: Instant::now(), outcome });
    }

    fn answered(&mut self, (since, (requests, outcome)): (Instant, Outcome)) -> Result<(), Fault> {
        self.requests = Some(requests);
        match outcome {
            Ok(body) => {
                self.failures = 0;
                let (number, mut messages) = answers::answer(&body).map_err(Fault::broken)?;
                if messages.next().is_none() {
                    return self.empty(since);
                }
                if number == self.number {
                    // Repeated, since its acknowledgement was lost.
                    return Ok(());
                }
                if number != self.number + 1 {
                    return Err(Fault::broken(format_args!("answer {number} came after answer {}", self.number)));
                }
                drop(messages);
                self.number = number;
                self.answer = body;
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                let again = self.number > 0 && is_passing(&error) && self.failures < FAILURES_MAX;
                if !again {
                    return Err(error.into());
                }
                self.hold.failed();
                self.wait = pause(self.failures);
                Ok(())
            }
        }
    }

    fn empty(&mut self, since: Instant) -> Result<(), Fault> {
        let spacing = Duration::from_millis(EMPTY_SPACING_MS);
        let took = since.elapsed();
        if took < spacing {
            self.wait = spacing;
        } else {
            self.hold.survived();
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
        let body = std::mem::take(&mut self.answer);
        if body.is_empty() {
            return Ok(());
        }
        let (_, messages) = answers::answer(&body).map_err(Fault::broken)?;
        for line in messages {
            let message = ServerMessage::decode(Carriage::Text(line));
            self.over |= matches!(message, Ok(ServerMessage::Close { .. }));
            out.push(message);
        }
        Ok(())
    }

    /// Tells the server, unless the link is over.
    pub(super) async fn finish(mut self, reason: String) {
        if self.over || self.uplink.is_fresh() {
            return;
        }
        self.queue(&ClientMessage::Close { reason: Some(reason) });
        while self.queued_bytes() > 0 && self.exchange(false).await.is_ok() {}
    }
}

async fn answered(poll: &mut Option<Poll>) -> (Instant, Outcome) {
    let Some(Poll { since, outcome }) = poll else { return pending().await };
    let came = (*since, outcome.as_mut().await);
    *poll = None;
    came
}
