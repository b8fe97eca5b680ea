//! A session over held requests that are answered when there is something to say: PROTOCOL.md, HTTP transports.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use throughline_wire::message::{Carriage, ClientMessage, ServerMessage};
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::hold::Hold;
use super::requests::{LinkId, Requests};
use super::uplink::{Uplink, is_passing, pause, piece};
use super::{Flight, Moved, Received, answers};
use crate::error::ConnectError;
use crate::options::Options;
use crate::url::RealmUrl;

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
    /// The first poll takes up the first flight and the probe.
    pub(super) fn start(url: &RealmUrl, options: &Options, flight: &Flight) -> Result<Link, Fault> {
        let id = LinkId::draw().map_err(Fault::broken)?;
        let mut link = Link {
            requests: Some(Requests::new(url.clone(), id, options.open_timeout_ms)),
            poll: None,
            answer: Bytes::new(),
            number: 0,
            failures: 0,
            wait: Duration::ZERO,
            hold: Hold::new(flight.hold_ms),
            uplink: Uplink::new(url.clone(), id, options),
            over: false,
        };
        link.ask("&n=1", piece(flight.first.iter().chain([&flight.probe])));
        Ok(link)
    }

    pub(super) fn queue(&mut self, message: &ClientMessage) {
        self.uplink.queue(message);
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.uplink.queued_bytes()
    }

    pub(super) async fn exchange(&mut self, reading: bool) -> Result<Moved, Fault> {
        let heard = Moved { heard: true, ..Moved::default() };
        if reading && !self.answer.is_empty() {
            return Ok(heard);
        }
        if reading {
            self.ask("", Bytes::new());
        }
        let Link { poll, uplink, .. } = self;
        let outcome = tokio::select! {
            answered = answered(poll) => self.answered(answered),
            sent = uplink.drive() => sent.map(|()| Moved { uplinked: true, ..Moved::default() }),
        };
        self.over = outcome.is_err();
        outcome
    }

    /// Sends the next poll, if none is under way.
    fn ask(&mut self, piece: &str, body: Bytes) {
        let Some(mut requests) = self.requests.take() else { return };
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

    fn answered(&mut self, (since, (requests, outcome)): (Instant, Outcome)) -> Result<Moved, Fault> {
        let cut = requests.broken(&"the answer to a poll was cut on its way");
        self.requests = Some(requests);
        let body = match outcome {
            Ok(body) => body,
            Err(error) => return self.failed(error),
        };
        let Some((number, mut messages)) = answers::answer(&body).map_err(Fault::broken)? else {
            return self.failed(cut);
        };
        self.failures = 0;
        let empty = messages.next().is_none();
        drop(messages);
        if empty {
            return Ok(self.brought_nothing(since));
        }
        let opened = self.number == 0;
        if number == self.number + 1 {
            self.number = number;
            self.answer = body;
        } else if number != self.number {
            return Err(Fault::broken(format_args!("answer {number} came after answer {}", self.number)));
        }
        // One with the last number is repeated, since its acknowledgement was lost.
        Ok(Moved { opened, heard: true, ..Moved::default() })
    }

    fn brought_nothing(&mut self, since: Instant) -> Moved {
        let spacing = Duration::from_millis(EMPTY_SPACING_MS);
        let hold_learned = if since.elapsed() < spacing {
            self.wait = spacing;
            None
        } else {
            self.hold.survived()
        };
        Moved { heard: true, hold_learned, ..Moved::default() }
    }

    fn failed(&mut self, error: ConnectError) -> Result<Moved, Fault> {
        if self.number == 0 {
            return Err(Fault::Failed(error));
        }
        self.failures += 1;
        if !is_passing(&error) || self.failures >= FAILURES_MAX {
            return Err(error.into());
        }
        self.wait = pause(self.failures);
        Ok(Moved { hold_learned: Some(self.hold.failed()), ..Moved::default() })
    }

    pub(super) fn receive(&mut self, out: &mut Received) -> Result<(), Fault> {
        let body = std::mem::take(&mut self.answer);
        if body.is_empty() {
            return Ok(());
        }
        let whole = answers::answer(&body).map_err(Fault::broken)?;
        for line in whole.into_iter().flat_map(|(_, messages)| messages) {
            let message = ServerMessage::decode(Carriage::Text(line));
            self.over |= matches!(message, Ok(ServerMessage::Close { .. }));
            out.push(message);
        }
        Ok(())
    }

    /// Tells the server, if it knows the link.
    pub(super) async fn finish(mut self, reason: String) {
        if self.over || self.number == 0 {
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
