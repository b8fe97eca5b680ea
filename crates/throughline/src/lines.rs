//! `throughline publish --lines`: a pipe that grows, published line by line, whatever becomes of the connection.

use std::collections::VecDeque;
use std::future::pending;
use std::io::IsTerminal;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use throughline_client::{PublishError, PublishFault, Published, RealmUrl, Receipt, ReplyError, Session};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::arguments::Publish;
use crate::failure::Failure;
use crate::output;
use crate::publish::Template;
use crate::stdin::{self, Batch};
use crate::talk::{self, Narrator};

/// Pause before what the realm could not store is published anew.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Codes after which the same publish may succeed later (PROTOCOL.md section 4.3).
const RETRYABLE: [&str; 3] = ["store_full", "store_failed", "overloaded"];

pub(crate) async fn run(url: &RealmUrl, arguments: Publish) -> Result<(), Failure> {
    let options = arguments.way.options(url);
    let (channel, template) = Template::of(arguments)?;
    let session = Session::start(&url.to_string(), options).map_err(Failure::usage)?;
    let progress = progress();
    let narrator = Narrator::start(&session, {
        let progress = progress.clone();
        move |line| tell(&progress, line)
    });
    let mut work = Work::new(session.clone(), channel, template, progress.clone());
    work.run(stdin::lines()).await;
    drop(narrator);
    progress.finish_and_clear();
    let Work { acknowledged, failed, .. } = work;
    session.close().await;
    let printed = output::print(acknowledged).map_err(Failure::output);
    match failed {
        Some(text) => Err(Failure::Failed(format!("{text} ({acknowledged} acknowledged)"))),
        None => printed,
    }
}

/// Counts on standard error, if that is a terminal.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} acknowledged, {per_sec}{msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn tell(progress: &ProgressBar, line: &str) {
    progress.suspend(|| talk::say(format_args!("{line}")));
}

/// A line on its way.
struct Line {
    number: u64,
    data: Bytes,
}

struct Work {
    session: Session,
    channel: String,
    template: Template,
    progress: ProgressBar,
    /// Read, and not in the session's queue.
    backlog: VecDeque<Line>,
    /// In the session's queue, in order.
    queued: VecDeque<(Line, Receipt)>,
    /// What the realm could not store for now.
    refused: VecDeque<Line>,
    read: u64,
    acknowledged: u64,
    /// Why the whole fails. From then on only answers are waited for.
    failed: Option<String>,
}

impl Work {
    fn new(session: Session, channel: String, template: Template, progress: ProgressBar) -> Work {
        Work {
            session,
            channel,
            template,
            progress,
            backlog: VecDeque::new(),
            queued: VecDeque::new(),
            refused: VecDeque::new(),
            read: 0,
            acknowledged: 0,
            failed: None,
        }
    }

    /// Publishes until the input ends or Ctrl-C, and everything read is answered.
    async fn run(&mut self, input: mpsc::Receiver<Batch>) {
        let mut input = Some(input);
        // One for the whole time, so that no Ctrl-C is lost between two waits.
        let mut interrupts = signal(SignalKind::interrupt()).ok();
        loop {
            if self.failed.is_some() {
                input = None;
                self.backlog.clear();
                self.refused.clear();
            }
            if self.refused.is_empty() {
                self.queue();
            }
            let idle = self.backlog.is_empty() && self.queued.is_empty() && self.refused.is_empty();
            if idle && input.is_none() {
                return;
            }
            let reading = self.backlog.is_empty() && self.refused.is_empty();
            let pausing = self.queued.is_empty() && !self.refused.is_empty();
            tokio::select! {
                answer = front(&mut self.queued) => self.answered(answer),
                batch = next(&mut input), if reading => match batch {
                    Some(Ok(lines)) => self.take(lines),
                    Some(Err(text)) => self.failed = Some(text),
                    None => input = None,
                },
                () = tokio::time::sleep(RETRY_PAUSE), if pausing => {
                    self.refused.append(&mut self.backlog);
                    std::mem::swap(&mut self.refused, &mut self.backlog);
                }
                () = interrupt(&mut interrupts) => {
                    if input.is_none() {
                        let text = "interrupted before all lines were acknowledged";
                        self.failed = Some(text.to_owned());
                        return;
                    }
                    tell(&self.progress, "waiting for what was read to be acknowledged; Ctrl-C again to give up");
                    input = None;
                }
            }
        }
    }

    fn take(&mut self, lines: Vec<Bytes>) {
        for data in lines {
            self.read += 1;
            self.backlog.push_back(Line { number: self.read, data });
        }
    }

    /// Moves lines into the session's queue while there is room.
    fn queue(&mut self) {
        while let Some(line) = self.backlog.pop_front() {
            let body = self.template.body(line.data.clone());
            match self.session.try_publish(&self.channel, body, self.template.persistent()) {
                Ok(receipt) => self.queued.push_back((line, receipt)),
                Err(PublishError::Full { .. }) => {
                    self.backlog.push_front(line);
                    return;
                }
                Err(PublishError::Closed) => return self.fail(line.number, &self.end_of_session()),
                Err(error) => return self.fail(line.number, &error.to_string()),
            }
        }
    }

    fn answered(&mut self, answer: Result<Published, PublishFault>) {
        let Some((line, _)) = self.queued.pop_front() else { return };
        match answer {
            Ok(_) => {
                self.acknowledged += 1;
                self.progress.inc(1);
            }
            Err(PublishFault::Refused(error)) if is_retryable(&error) => {
                if self.refused.is_empty() {
                    tell(&self.progress, &format!("line {}: {error}; trying again", line.number));
                }
                self.refused.push_back(line);
            }
            Err(PublishFault::Closed { .. }) => self.fail(line.number, &self.end_of_session()),
            Err(fault) => self.fail(line.number, &fault.to_string()),
        }
    }

    fn fail(&mut self, number: u64, why: &str) {
        self.failed.get_or_insert_with(|| format!("line {number} was not published: {why}"));
    }

    fn end_of_session(&self) -> String {
        talk::closed_reason(&self.session).unwrap_or_else(|| "the session is closed".to_owned())
    }
}

fn is_retryable(error: &ReplyError) -> bool {
    RETRYABLE.contains(&&*error.code)
}

/// The answer to the oldest queued line. Cancel-safe.
async fn front(queued: &mut VecDeque<(Line, Receipt)>) -> Result<Published, PublishFault> {
    match queued.front_mut() {
        Some((_, receipt)) => receipt.await,
        None => pending().await,
    }
}

async fn interrupt(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => {
            interrupts.recv().await;
        }
        None => pending().await,
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Batch>>) -> Option<Batch> {
    match input {
        Some(input) => input.recv().await,
        None => pending().await,
    }
}
