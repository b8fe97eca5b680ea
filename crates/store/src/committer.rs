//! The thread that writes. It takes everything that was queued while the last commit was on its way to the disk,
//! and makes one commit of it.
//!
//! After a failed commit fjall accepts no more. The commit is then cut off the journal before anyone is told that it
//! failed, the database stays open for readers, and a later append opens it anew once there is room.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use throughline_engine::store::StoreError;
use throughline_wire::event::{Eid, SessionId};

use crate::answer::{Answer, To, answer};
use crate::disk::{self, Disk, store_error};
use crate::draft::{Draft, Tails};
use crate::journal;
use crate::progress::{Progress, Watch};
use crate::queue::Command;
use crate::reclaim::{self, Garbage};
use crate::recovery;
use crate::store::Shared;

/// Rows removed in one commit by trimming and by deletion of channels.
const REMOVALS_MAX: usize = 4096;
/// Publish windows held in memory; when there are more they are read again as needed.
const TAILS_MAX: usize = 16_384;
/// Event time between two attempts to open the database anew, milliseconds.
const RETRY_MS: u64 = 1000;
/// Free bytes without which nothing is written, not even what makes room, and opening anew is not tried.
const REMOVAL_BYTES_MIN: u64 = 1024 * 1024;
/// Between two looks at a full disk while nobody asks for anything.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// fjall itself waits, without an end when its workers have failed, at 4 sealed memtables and at 30 runs.
const SEALED_MEMTABLES_MAX: usize = 2;
const L0_TABLES_MAX: usize = 24;

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
    /// Bytes of events that are no more.
    bytes: u64,
}

/// A commit or a compaction failed, and the database has not been opened since.
struct Broken {
    commit: Option<u64>,
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
    /// Why nothing is written any more.
    stopped: Option<&'static str>,
    /// Removals are waiting and can go on.
    removing: bool,
    garbage: Garbage,
    /// Events are refused for want of room, and that was told.
    full: bool,
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
            stopped: None,
            removing,
            garbage: Garbage::unknown(),
            full: false,
            watch,
        }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (events, bytes) = (shared.settings.commit_events_max, shared.settings.commit_bytes_max);
        loop {
            let patience = match (self.removing, self.full) {
                (true, _) => Some(Duration::ZERO),
                (false, true) => Some(FULL_PAUSE),
                (false, false) => None,
            };
            let Some(commands) = shared.queue.take(patience, events, bytes) else { break };
            if catch_unwind(AssertUnwindSafe(|| self.turn(commands))).is_err() {
                tracing::error!(
                    "the store's thread panicked; nothing is kept on disk until the realm is started again"
                );
                // Readers go on, and whoever asks for more is answered.
                self.stopped = Some("the store's thread has panicked; start the realm again");
                self.removing = false;
            }
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
        if !commands.is_empty() || ((self.removing || self.full) && stop.is_none()) {
            let gate = self.gate(&commands);
            self.commit(commands, &gate);
            if !self.removing && stop.is_none() {
                self.reclaim();
            }
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
        if let Some(why) = self.stopped {
            return Gate::Shut(StoreError::Failed(why.to_owned()));
        }
        if let Some(error) = self.mend(commands) {
            return Gate::Shut(error);
        }
        let settings = &self.shared.settings;
        let min = settings.free_bytes_min;
        let free = match disk::free_bytes(&settings.dir) {
            Ok(free) => free,
            Err(e) => return Gate::Shut(StoreError::Failed(format!("{}: {e}", settings.dir.display()))),
        };
        self.tell_room(free < min, free);
        if free >= min {
            Gate::Open
        } else if free >= min.min(REMOVAL_BYTES_MIN) {
            Gate::Removals(self.lacking(free))
        } else {
            Gate::Shut(self.lacking(free))
        }
    }

    fn lacking(&self, free: u64) -> StoreError {
        let settings = &self.shared.settings;
        let (dir, min) = (settings.dir.display(), settings.free_bytes_min);
        StoreError::Full(format!("{free} bytes are free for {dir}, free_bytes_min is {min}"))
    }

    /// Says when events begin to be refused for want of room, and when they are taken again.
    fn tell_room(&mut self, full: bool, free: u64) {
        if self.full == full {
            return;
        }
        self.full = full;
        let (dir, min) = (self.shared.settings.dir.display(), self.shared.settings.free_bytes_min);
        if full {
            tracing::warn!(
                "the disk is full: {free} bytes are free for {dir}, store.free_bytes_min is {min}; no event is kept on disk \
                 until channels are deleted or other files removed"
            );
        } else {
            tracing::info!("the disk has room again: {free} bytes are free for {dir}; events are kept");
        }
        (self.watch)(Progress::Full(full));
    }

    /// Gives the room of what was removed back to a disk that lacks it.
    fn reclaim(&mut self) {
        if !self.full || self.stopped.is_some() || self.broken.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let dir = shared.settings.dir.display();
        let Ok(free) = disk::free_bytes(&shared.settings.dir) else { return };
        let compacted = {
            let slot = shared.disk.read().unwrap_or_else(PoisonError::into_inner);
            let Some(disk) = slot.as_ref() else { return };
            if !self.garbage.is_due(disk, &shared.counters(), free, &dir) {
                return;
            }
            reclaim::compact(disk)
        };
        let error = compacted.err().map(|e| store_error(&format!("giving room back in {dir}"), &e));
        let failed = error.is_some();
        let error = error.unwrap_or_else(|| StoreError::Failed("the store is opened anew".to_owned()));
        self.broken = Some(Broken { commit: None, error, tried: None });
        if failed {
            tracing::error!("the room of removed events in {dir} could not be given back");
        } else if self.reopen(None, true).is_none() {
            self.garbage = Garbage::default();
            // Told at once when there is room again.
            drop(self.gate(&[]));
        }
    }

    /// Opens a broken database anew if it is time to: when somebody writes, and on a disk that was full whenever that is looked
    /// at. Returns why it is still broken.
    fn mend(&mut self, commands: &[Command]) -> Option<StoreError> {
        let broken = self.broken.as_mut()?;
        let settings = &self.shared.settings;
        let now = commands.iter().rev().find_map(Command::accepted);
        let due = match (now, broken.tried) {
            (Some(now), Some(tried)) => now.abs_diff(tried) >= RETRY_MS,
            (Some(_), None) => true,
            (None, _) if commands.is_empty() || self.full => true,
            (None, _) => commands.iter().any(|c| matches!(c, Command::PutChannel(..) | Command::DeleteChannel(..))),
        };
        if !due {
            return Some(broken.error.clone());
        }
        broken.tried = now.or(broken.tried);
        let failed = broken.commit;
        // What is removed makes room, and readers need none.
        let closed = self.shared.disk.read().unwrap_or_else(PoisonError::into_inner).is_none();
        let waiting = !(self.trims.is_empty() && self.deleted.is_empty() && self.forgotten.is_empty());
        let removal = closed || waiting || commands.iter().any(|c| matches!(c, Command::DeleteChannel(..)));
        let needed = if removal { REMOVAL_BYTES_MIN } else { settings.free_bytes_min.max(REMOVAL_BYTES_MIN) };
        match disk::free_bytes(&settings.dir) {
            Ok(free) if free < needed => {
                self.tell_room(true, free);
                return Some(StoreError::Full(format!("{free} bytes are free, {needed} are needed to go on")));
            }
            _ => {}
        }
        self.reopen(failed, false)
    }

    /// Opens the database anew, with another journal if `sealed` says so: fjall then writes what the old one holds to tables,
    /// and removes it.
    fn reopen(&mut self, failed: Option<u64>, sealed: bool) -> Option<StoreError> {
        let shared = Arc::clone(&self.shared);
        // Readers are kept out, because fjall's files can be opened only after its last user has gone.
        let mut slot = shared.disk.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        let sealing = if sealed { disk::seal_journal(&shared.settings) } else { Ok(()) };
        let opened = sealing
            .and_then(|()| Disk::open(&shared.settings, failed))
            .and_then(|disk| recovery::load(&shared.settings, &disk).map(|state| (disk, state)));
        match opened {
            Ok((disk, state)) => {
                *slot = Some(disk);
                shared.replace_counters(state.counters);
                self.commit = state.commit;
                self.deleted = state.deleted.into();
                self.tails.clear();
                self.broken = None;
                if !sealed {
                    tracing::info!(dir = %shared.settings.dir.display(), "the store works again");
                }
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
        let mut removed = match self.draft_removals(&mut draft) {
            Ok(removed) => removed,
            Err(error) => {
                tracing::error!(%error, "old events cannot be removed");
                self.trims.clear();
                self.deleted.clear();
                self.forgotten.clear();
                Removed::default()
            }
        };
        removed.bytes = draft.removed;
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
                self.garbage.add(removed.bytes);
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
            if budget == 0 {
                break;
            }
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
        Ok(Removed { swept, forgotten, bytes: 0 })
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
        let free = disk::free_bytes(&settings.dir).unwrap_or(u64::MAX);
        let full = free < settings.free_bytes_min.max(REMOVAL_BYTES_MIN);
        let error = match store_error(&what, e) {
            StoreError::Failed(text) if full => StoreError::Full(text),
            error => error,
        };
        if let Err(e) = journal::repair(settings, Some(number)) {
            tracing::error!(error = ?e, "a failed commit cannot be cut off the journal yet");
        }
        self.removing = false;
        self.broken = Some(Broken { commit: Some(number), error: error.clone(), tried: None });
        if matches!(error, StoreError::Full(_)) {
            self.tell_room(true, free);
        }
        error
    }

    fn close(&mut self) {
        self.stopped = Some("the store has been stopped");
        self.removing = false;
        let mut slot = self.shared.disk.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        if let Some(broken) = self.broken.take() {
            // Closing writes what fjall had still buffered, which may be the failed commit.
            if let Err(e) = journal::repair(&self.shared.settings, broken.commit) {
                tracing::error!(error = ?e, "a failed commit cannot be cut off the journal");
            }
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
        (Command::Trim(..) | Command::Drop(..) | Command::Settle(_) | Command::Stop(_), _) => {}
    }
    Ok(())
}

/// Waits for fjall's workers when they are behind.
fn throttle(disk: &Disk) -> Result<(), fjall::Error> {
    let behind =
        |k: &fjall::Keyspace| k.sealed_memtable_count() > SEALED_MEMTABLES_MAX || k.l0_table_count() > L0_TABLES_MAX;
    disk.wait_while(|| [&disk.events, &disk.meta, &disk.windows].into_iter().any(behind))
}
