//! The thread that writes. It takes everything that was queued while the last commit was on its way to the disk,
//! and makes one commit of it.
//!
//! After a failed commit fjall accepts no more. The commit is then cut off the journal before anyone is told that it
//! failed, the database stays open for readers, and a later append opens it anew once there is room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fjall::PersistMode;
use throughline_engine::store::StoreError;
use throughline_wire::event::{Eid, SessionId};

use crate::disk::{self, Disk, store_error};
use crate::draft::{Draft, Tails};
use crate::journal;
use crate::progress::{Progress, Watch};
use crate::queue::{Command, Reply};
use crate::recovery;
use crate::store::Shared;

/// Rows removed in one commit by trimming and by deletion of channels.
const REMOVALS_MAX: usize = 4096;
/// Publish windows held in memory; when there are more they are read again as needed.
const TAILS_MAX: usize = 16_384;
/// Event time between two attempts to open the database anew, milliseconds.
const RETRY_MS: u64 = 1000;
/// Free bytes without which opening anew is not tried.
const REOPEN_BYTES_MIN: u64 = 1024 * 1024;
/// fjall itself waits, without an end when its workers have failed, at 4 sealed memtables and at 30 runs.
const SEALED_MEMTABLES_MAX: usize = 2;
const L0_TABLES_MAX: usize = 24;
const THROTTLE: Duration = Duration::from_millis(2);

type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Someone to be told of the outcome, and the outcome where it does not depend on the commit.
struct Answer {
    to: To,
    refused: Option<StoreError>,
}

enum To {
    Append(Done),
    Caller(Reply),
}

impl Answer {
    /// An event that the commit holds.
    fn is_event(&self) -> bool {
        self.refused.is_none() && matches!(self.to, To::Append(_))
    }

    fn tell(self, outcome: &Result<(), StoreError>, watch: &mut Watch) {
        let outcome = self.refused.map_or_else(|| outcome.clone(), Err);
        if let Err(error) = &outcome {
            watch(Progress::Failed(error));
        }
        self.to.tell(outcome);
    }
}

impl To {
    fn tell(self, outcome: Result<(), StoreError>) {
        match self {
            To::Append(done) => done(outcome),
            // A caller that has gone needs no answer.
            To::Caller(reply) => drop(reply.send(outcome)),
        }
    }
}

/// What may be written now.
enum Gate {
    Open,
    /// Only what makes room.
    Removals(StoreError),
    Shut(StoreError),
}

/// What of the waiting removals a commit takes.
#[derive(Default)]
struct Removed {
    /// Deleted channels that will be gone.
    swept: usize,
    /// Windows that were looked at.
    forgotten: usize,
}

/// A commit failed, and the database has not been opened since.
struct Broken {
    commit: u64,
    error: StoreError,
    /// Event time of the last attempt to open it anew.
    tried: Option<u64>,
}

pub(crate) struct Committer {
    shared: Arc<Shared>,
    commit: u64,
    tails: Tails,
    trims: BTreeMap<u32, Eid>,
    deleted: VecDeque<u32>,
    /// Windows to be forgotten: channel, session, and when it was used last.
    forgotten: VecDeque<(u32, SessionId, u64)>,
    broken: Option<Broken>,
    stopped: bool,
    /// Removals are waiting and can go on.
    removing: bool,
    watch: Watch,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, commit: u64, deleted: Vec<u32>, watch: Watch) -> Committer {
        let removing = !deleted.is_empty();
        Committer {
            shared,
            commit,
            tails: Tails::new(),
            trims: BTreeMap::new(),
            deleted: deleted.into(),
            forgotten: VecDeque::new(),
            broken: None,
            stopped: false,
            removing,
            watch,
        }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (events, bytes) = (shared.settings.commit_events_max, shared.settings.commit_bytes_max);
        while let Some(commands) = shared.queue.take(!self.removing, events, bytes) {
            self.turn(commands);
        }
        self.close();
    }

    fn turn(&mut self, mut commands: Vec<Command>) {
        let stop = match commands.pop() {
            Some(Command::Stop(reply)) => Some(reply),
            last => {
                commands.extend(last);
                None
            }
        };
        self.note_trims(&commands);
        if !commands.is_empty() || (self.removing && stop.is_none()) {
            let gate = self.gate(&commands);
            self.commit(commands, &gate);
        }
        if let Some(reply) = stop {
            self.close();
            To::Caller(reply).tell(Ok(()));
        }
    }

    fn note_trims(&mut self, commands: &[Command]) {
        for command in commands {
            if let Command::Trim(channel, through) = command {
                let known = self.trims.entry(*channel).or_insert(*through);
                *known = (*known).max(*through);
            }
            if let Command::Drop(channel, sessions) = command {
                self.forgotten.extend(sessions.iter().map(|(session, time)| (*channel, *session, *time)));
            }
        }
    }

    fn gate(&mut self, commands: &[Command]) -> Gate {
        if self.stopped {
            return Gate::Shut(StoreError::Failed("the store has been stopped".to_owned()));
        }
        if let Some(error) = self.mend(commands) {
            return Gate::Shut(error);
        }
        let settings = &self.shared.settings;
        let min = settings.free_bytes_min;
        match disk::free_bytes(&settings.dir) {
            Ok(free) if free >= min => Gate::Open,
            Ok(free) if free >= min / 4 => Gate::Removals(self.full(free)),
            Ok(free) => Gate::Shut(self.full(free)),
            Err(e) => Gate::Shut(StoreError::Failed(format!("{}: {e}", settings.dir.display()))),
        }
    }

    fn full(&self, free: u64) -> StoreError {
        let settings = &self.shared.settings;
        let (dir, min) = (settings.dir.display(), settings.free_bytes_min);
        StoreError::Full(format!("{free} bytes are free for {dir}, free_bytes_min is {min}"))
    }

    /// Opens a broken database anew if it is time to. Returns why it is still broken.
    fn mend(&mut self, commands: &[Command]) -> Option<StoreError> {
        let broken = self.broken.as_mut()?;
        let settings = &self.shared.settings;
        let now = commands.iter().rev().find_map(Command::accepted);
        let due = match (now, broken.tried) {
            (Some(now), Some(tried)) => now.abs_diff(tried) >= RETRY_MS,
            (Some(_), None) => true,
            (None, _) => commands.iter().any(|c| matches!(c, Command::PutChannel(..) | Command::DeleteChannel(..))),
        };
        if !due {
            return Some(broken.error.clone());
        }
        broken.tried = now.or(broken.tried);
        let needed = settings.free_bytes_min.max(REOPEN_BYTES_MIN);
        match disk::free_bytes(&settings.dir) {
            Ok(free) if free < needed => {
                return Some(StoreError::Full(format!("{free} bytes are free, {needed} are needed to go on")));
            }
            _ => {}
        }
        let failed = broken.commit;
        self.reopen(failed)
    }

    fn reopen(&mut self, failed: u64) -> Option<StoreError> {
        let shared = Arc::clone(&self.shared);
        // Readers are kept out, because fjall's files can be opened only after its last user has gone.
        let mut slot = shared.disk.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        let opened = Disk::open(&shared.settings, Some(failed))
            .and_then(|disk| recovery::load(&shared.settings, &disk).map(|state| (disk, state)));
        match opened {
            Ok((disk, state)) => {
                *slot = Some(disk);
                shared.replace_counters(state.counters);
                self.commit = state.commit;
                self.deleted = state.deleted.into();
                self.tails.clear();
                self.broken = None;
                tracing::info!(dir = %shared.settings.dir.display(), "the store works again");
                None
            }
            Err(e) => {
                let error = StoreError::Failed(e.to_string());
                if let Some(broken) = &mut self.broken {
                    broken.error = error.clone();
                }
                Some(error)
            }
        }
    }

    fn commit(&mut self, commands: Vec<Command>, gate: &Gate) {
        let mut answers = Vec::with_capacity(commands.len());
        if let Gate::Shut(error) = gate {
            self.removing = false;
            for command in commands {
                answers.extend(answer(command, Some(error.clone())));
            }
            return self.tell(answers, &Ok(()));
        }
        let outcome = self.write(commands, gate, &mut answers);
        if let Err(error) = &outcome {
            tracing::error!(%error, "a commit failed");
        }
        self.tell(answers, &outcome);
    }

    fn tell(&mut self, answers: Vec<Answer>, outcome: &Result<(), StoreError>) {
        for answer in answers {
            answer.tell(outcome, &mut self.watch);
        }
    }

    fn write(&mut self, commands: Vec<Command>, gate: &Gate, answers: &mut Vec<Answer>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let slot = shared.disk.read().unwrap_or_else(PoisonError::into_inner);
        let Some(disk) = slot.as_ref() else {
            answers.extend(commands.into_iter().filter_map(|command| answer(command, None)));
            return Err(StoreError::Failed("the store is closed".to_owned()));
        };
        (self.watch)(Progress::Begun);
        let oldest = commands.iter().find_map(Command::accepted);
        let committed = shared.counters();
        let mut draft = Draft::new(disk, &committed, &self.tails);
        let mut deleted = Vec::new();
        for command in commands {
            let refused = draft_command(&mut draft, &command, gate, &mut deleted).err();
            answers.extend(answer(command, refused));
        }
        let removed = match self.draft_removals(&mut draft) {
            Ok(removed) => removed,
            Err(error) => {
                tracing::error!(%error, "old events cannot be removed");
                self.trims.clear();
                self.deleted.clear();
                self.forgotten.clear();
                Removed::default()
            }
        };
        if draft.is_empty() {
            drop(draft);
            self.after_removals(removed, deleted);
            return Ok(());
        }
        let number = self.commit + 1;
        let written = throttle(disk).and_then(|()| draft.commit(number));
        drop(committed);
        match written {
            Ok((counters, tails)) => {
                self.commit = number;
                shared.update_counters(counters);
                self.keep_tails(tails, &deleted);
                self.after_removals(removed, deleted);
                let events = answers.iter().filter(|answer| answer.is_event()).count();
                (self.watch)(Progress::Committed { events, oldest });
                Ok(())
            }
            Err(e) => Err(self.fail(number, &e)),
        }
    }

    fn draft_removals(&self, draft: &mut Draft<'_>) -> Result<Removed, StoreError> {
        let mut budget = REMOVALS_MAX;
        for (channel, through) in &self.trims {
            budget = draft.trim(*channel, *through, budget)?;
        }
        let mut swept = 0;
        for channel in &self.deleted {
            if budget == 0 || !draft.sweep(*channel, &mut budget)? {
                break;
            }
            swept += 1;
        }
        let forgotten = self.forgotten.len().min(budget);
        for (channel, session, time) in self.forgotten.iter().take(forgotten) {
            draft.forget(*channel, *session, time.saturating_add(1))?;
        }
        Ok(Removed { swept, forgotten })
    }

    fn after_removals(&mut self, removed: Removed, deleted: Vec<u32>) {
        self.forgotten.drain(..removed.forgotten.min(self.forgotten.len()));
        self.deleted.drain(..removed.swept.min(self.deleted.len()));
        self.deleted.extend(deleted);
        let counters = self.shared.counters();
        self.trims
            .retain(|channel, through| counters.get(channel).is_some_and(|c| c.events > 0 && c.first <= *through));
        self.removing = !self.deleted.is_empty() || !self.trims.is_empty() || !self.forgotten.is_empty();
    }

    fn keep_tails(&mut self, tails: Tails, deleted: &[u32]) {
        if self.tails.len() + tails.len() > TAILS_MAX {
            self.tails.clear();
        }
        self.tails.extend(tails);
        if !deleted.is_empty() {
            self.tails.retain(|(channel, _), _| !deleted.contains(channel));
        }
    }

    /// Makes sure that a commit which is to be answered as failed does not come back.
    fn fail(&mut self, number: u64, e: &fjall::Error) -> StoreError {
        let settings = &self.shared.settings;
        let what = format!("writing to {}", settings.dir.display());
        let full =
            disk::free_bytes(&settings.dir).is_ok_and(|free| free < settings.free_bytes_min.max(REOPEN_BYTES_MIN));
        let error = match store_error(&what, e) {
            StoreError::Failed(text) if full => StoreError::Full(text),
            error => error,
        };
        if let Err(e) = journal::repair(settings, Some(number)) {
            tracing::error!(error = ?e, "a failed commit cannot be cut off the journal yet");
        }
        self.removing = false;
        self.broken = Some(Broken { commit: number, error: error.clone(), tried: None });
        error
    }

    fn close(&mut self) {
        self.stopped = true;
        self.removing = false;
        let mut slot = self.shared.disk.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        if let Some(broken) = self.broken.take() {
            // Closing writes what fjall had still buffered, which may be the failed commit.
            if let Err(e) = journal::repair(&self.shared.settings, Some(broken.commit)) {
                tracing::error!(error = ?e, "a failed commit cannot be cut off the journal");
            }
        }
    }
}

impl Drop for Committer {
    /// Answers what is queued even when this thread ends by a panic.
    fn drop(&mut self) {
        self.stopped = true;
        self.shared.ended.store(true, Ordering::Release);
        self.shared.queue.quit();
        while let Some(commands) = self.shared.queue.take(false, usize::MAX, usize::MAX) {
            let error = StoreError::Failed("the store has ended".to_owned());
            self.tell(commands.into_iter().filter_map(|c| answer(c, Some(error.clone()))).collect(), &Ok(()));
        }
    }
}

fn draft_command(
    draft: &mut Draft<'_>,
    command: &Command,
    gate: &Gate,
    deleted: &mut Vec<u32>,
) -> Result<(), StoreError> {
    match (command, gate) {
        (Command::Append(_) | Command::PutChannel(..), Gate::Removals(error)) => return Err(error.clone()),
        (Command::Append(append), _) => draft.append(append)?,
        (Command::PutChannel(record, _), _) => draft.put_channel(record)?,
        (Command::DeleteChannel(number, _), _) => {
            if draft.delete_channel(*number) {
                deleted.push(*number);
            }
        }
        (Command::Forget(windows, before, _), _) => {
            for (channel, session) in windows {
                draft.forget(*channel, *session, *before)?;
            }
        }
        (Command::Trim(..) | Command::Drop(..) | Command::Stop(_), _) => {}
    }
    Ok(())
}

fn answer(command: Command, refused: Option<StoreError>) -> Option<Answer> {
    let to = match command {
        Command::Append(append) => To::Append(append.done),
        Command::PutChannel(_, reply)
        | Command::DeleteChannel(_, reply)
        | Command::Forget(_, _, reply)
        | Command::Stop(reply) => To::Caller(reply),
        Command::Trim(..) | Command::Drop(..) => return None,
    };
    Some(Answer { to, refused })
}

/// Waits for fjall's workers when they are behind.
fn throttle(disk: &Disk) -> Result<(), fjall::Error> {
    let behind =
        |k: &fjall::Keyspace| k.sealed_memtable_count() > SEALED_MEMTABLES_MAX || k.l0_table_count() > L0_TABLES_MAX;
    while [&disk.events, &disk.meta, &disk.windows].into_iter().any(behind) {
        // Fails when the workers have.
        disk.db.persist(PersistMode::Buffer)?;
        std::thread::sleep(THROTTLE);
    }
    Ok(())
}
