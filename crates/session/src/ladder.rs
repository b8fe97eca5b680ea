//! Which transports are tried, when, and which one carries the session: "The client's ladder" in PROTOCOL.md.

mod permits;
mod record;
mod round;
mod values;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use throughline_wire::path::{Failure, Transport};

use crate::random::Random;
use permits::{Permits, RESERVE, RETURN_MS};
use record::{CUT_MS, Record, SILENCE_MS};
use round::{Round, heads};

pub use values::{LadderSettings, Step};

/// After how many round trips the next candidate starts beside one that is silent.
const DELAY_RTTS: u64 = 3;
/// Bounds of that delay, milliseconds.
const DELAY_MS: (u64, u64) = (300, 2_000);
/// That delay while no round trip is known, milliseconds.
const DELAY_UNKNOWN_MS: u64 = 500;
/// What worked before waits for this part of the delay.
const HURRY: u64 = 3;
/// Better transports are tried so often, milliseconds.
const UPGRADE_MS: u64 = 30_000;
/// So often while the live link's streams are replaced before others cut them, which takes attempts as well, milliseconds.
const UPGRADE_ROTATING_MS: u64 = 45_000;
/// By so much at most this is shortened or lengthened at random, milliseconds.
const UPGRADE_JITTER_MS: u64 = 6_000;
/// A rotation that failed is tried again after so long, milliseconds.
const ROTATE_AGAIN_MS: u64 = 30_000;
/// So long a search keeps permits for what worked before, milliseconds.
const KEEP_MS: u64 = 30_000;
/// So many.
const KEPT: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Round,
    Upgrade,
    Rotation,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Proving,
    /// Proven, and watched until then.
    Probation(u64),
    /// Asked once more at the end of its probation; given up then.
    Asked(u64),
}

#[derive(Clone, Copy, Debug)]
struct Runner {
    transport: Transport,
    started: u64,
    purpose: Purpose,
    stage: Stage,
}

/// The session's link.
#[derive(Clone, Copy, Debug)]
struct Live {
    transport: Transport,
    started: u64,
    adopted: u64,
}

/// Decides which links are tried and which one carries the session. It sees no message: its caller tells it what became
/// of candidates and of the link.
///
/// Obligations of the caller: after every other call, [`poll`](Ladder::poll) until `None`, then
/// [`deadline`](Ladder::deadline); [`tick`](Ladder::tick) when that has come. Early or repeated ticks are harmless. After a
/// [`Step::GiveUp`] or [`Step::Abandon`] nothing more is to be told of that candidate; after [`Step::Adopt`], its end by
/// [`died`](Ladder::died).
#[derive(Debug)]
pub struct Ladder {
    list: Vec<Transport>,
    give_up: u64,
    jitter: u64,
    random: Random,
    rtt: Option<u64>,
    steps: VecDeque<Step>,
    last_attempt: u64,
    runners: BTreeMap<u64, Runner>,
    live: Option<Live>,
    round: Option<Round>,
    /// Rounds of two candidates, whose second ones take turns.
    turns: usize,
    suspected: bool,
    /// The server of the session's link is stopping.
    drained: bool,
    /// What carried the session last, here or at another time.
    worked: Option<Transport>,
    record: Record,
    permits: Permits,
    /// Rounds have used up all permits: they keep their distance until a link is adopted.
    spaced: bool,
    /// When the next of such rounds may begin.
    apart: u64,
    /// The session has had a link.
    linked: bool,
    /// A session that has no link is looking for one.
    seeking: bool,
    /// Until then it keeps permits for what worked before.
    kept_until: u64,
    upgrade_at: Option<u64>,
    /// When the best transport was tried last.
    best_at: u64,
    /// Permits that the next upgrade leaves for rounds. The first one after an adoption leaves none.
    spared: u32,
    upgrades: u32,
    /// Those besides the best that were tried since the last adoption.
    upgraded: Vec<Transport>,
    rotate_at: Option<u64>,
}

impl Ladder {
    /// A ladder that waits for [`begin`](Ladder::begin). `worked` is the transport that won on this network before.
    pub fn new(settings: &LadderSettings, worked: Option<Transport>, seed: u64) -> Ladder {
        let mut list = settings.transports.clone();
        list.sort_unstable();
        list.dedup();
        if list.is_empty() {
            list.push(Transport::WebSocket);
        }
        Ladder {
            list,
            give_up: settings.give_up_ms,
            jitter: if settings.jitter { UPGRADE_JITTER_MS } else { 0 },
            random: Random::new(seed),
            rtt: None,
            steps: VecDeque::new(),
            last_attempt: 0,
            runners: BTreeMap::new(),
            live: None,
            round: None,
            turns: 0,
            suspected: false,
            drained: false,
            worked,
            record: Record::default(),
            permits: Permits::new(),
            spaced: false,
            apart: 0,
            linked: false,
            seeking: false,
            kept_until: 0,
            upgrade_at: None,
            best_at: 0,
            spared: RESERVE,
            upgrades: 0,
            upgraded: Vec::new(),
            rotate_at: None,
        }
    }

    /// The session has no link and wants one.
    pub fn begin(&mut self, now: u64) {
        if self.live.is_none() {
            self.seek(now);
        }
    }

    /// A round trip was measured, milliseconds.
    pub const fn measured(&mut self, rtt: u64) {
        self.rtt = Some(rtt);
    }

    /// A candidate was welcomed and its ping was answered.
    pub fn proven(&mut self, now: u64, attempt: u64) {
        let watched = self.live.is_some() && !self.suspected;
        let Some(runner) = self.runners.get_mut(&attempt) else { return };
        match self.record.probation(runner.transport) {
            Some(time) if watched => runner.stage = Stage::Probation(now.saturating_add(time)),
            _ => self.settle(now, attempt),
        }
    }

    /// The ping after its probation was answered.
    pub fn answered(&mut self, now: u64, attempt: u64) {
        if self.runners.get(&attempt).is_some_and(|r| matches!(r.stage, Stage::Asked(_))) {
            self.settle(now, attempt);
        }
    }

    /// A candidate ended by itself, or could not be opened.
    pub fn failed(&mut self, now: u64, attempt: u64) {
        let Some(runner) = self.runners.remove(&attempt) else { return };
        if !matches!(runner.stage, Stage::Proving) {
            self.record.strike(now, runner.transport);
        }
        if runner.purpose == Purpose::Rotation && self.live.is_some() {
            self.rotate_at = Some(now.saturating_add(ROTATE_AGAIN_MS));
        }
        self.step(now);
    }

    /// The session's link ended; without a failure it was with intent. `silent`: nothing had been heard for too long.
    pub fn died(&mut self, now: u64, failure: Option<Failure>, silent: bool) {
        let Some(live) = self.live.take() else { return };
        (self.upgrade_at, self.rotate_at, self.suspected, self.drained) = (None, None, false, false);
        self.worked = Some(live.transport);
        let lived = now.saturating_sub(live.adopted);
        self.record.lived(live.transport, lived);
        if failure.is_none() {
            return;
        }
        if lived < CUT_MS || (silent && lived < SILENCE_MS) {
            self.record.strike(now, live.transport);
        } else if !silent {
            self.record.ended(now, live.transport, now.saturating_sub(live.started));
        }
    }

    /// Nothing comes on the session's link though something should: another one is sought beside it.
    pub fn suspect(&mut self, now: u64) {
        if self.live.is_some() && !self.suspected {
            self.suspected = true;
            self.seek(now);
        }
    }

    /// The session's link has spoken again.
    pub fn calm(&mut self) {
        if core::mem::take(&mut self.suspected) {
            self.round = None;
            self.abandon(|r| r.purpose == Purpose::Round);
        }
    }

    /// The session's link should be replaced by another one of its kind.
    pub fn rotate(&mut self, now: u64) {
        if self.live.is_some() && !self.drained && !self.runners.values().any(|r| r.purpose == Purpose::Rotation) {
            self.rotate_at = Some(self.rotate_at.map_or(now, |at| at.min(now)));
            self.tick(now);
        }
    }

    /// The server is stopping: nothing is tried until the session asks.
    pub fn drain(&mut self) {
        (self.round, self.suspected, self.drained) = (None, false, true);
        (self.upgrade_at, self.rotate_at) = (None, None);
        self.abandon(|_| true);
    }

    /// The session is over.
    pub fn stop(&mut self) {
        self.live = None;
        self.drain();
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        let due: Vec<u64> = self.runners.iter().filter(|(_, r)| self.due(r) <= now).map(|(a, _)| *a).collect();
        for attempt in due {
            self.expire(now, attempt);
        }
        if let Some(live) = self.live {
            self.record.lived(live.transport, now.saturating_sub(live.adopted));
            // Rotations that use up every permit must not keep the best transport from being tried.
            self.upgrade_if_due(now, live);
            self.rotate_if_due(now, live);
        }
        self.step(now);
    }

    /// What to do, in order; `None` when there is nothing more.
    pub fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// When [`tick`](Ladder::tick) is due.
    pub fn deadline(&self) -> Option<u64> {
        let wishes = [(self.upgrade_at, self.spared), (self.rotate_at, RESERVE)];
        let wished = wishes.into_iter().filter_map(|(at, spared)| Some(at?.max(self.permits.at(spared + 1))));
        self.runners.values().map(|r| self.due(r)).chain(wished).chain(self.step_at()).min()
    }

    /// When something happens to a candidate of which nothing more is heard.
    const fn due(&self, runner: &Runner) -> u64 {
        match runner.stage {
            Stage::Proving => runner.started.saturating_add(self.give_up),
            Stage::Probation(at) | Stage::Asked(at) => at,
        }
    }

    fn expire(&mut self, now: u64, attempt: u64) {
        let give_up = now.saturating_add(self.give_up);
        let Some(runner) = self.runners.get_mut(&attempt) else { return };
        if matches!(runner.stage, Stage::Probation(_)) {
            runner.stage = Stage::Asked(give_up);
            self.steps.push_back(Step::Ping { attempt });
        } else {
            self.steps.push_back(Step::GiveUp { attempt });
            self.failed(now, attempt);
        }
    }

    fn start(&mut self, now: u64, transport: Transport, purpose: Purpose) -> u64 {
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        self.permits.take(now);
        self.spaced |= self.live.is_none() && self.permits.left(now) == 0;
        if self.list.first() == Some(&transport) {
            self.best_at = now;
        }
        if self.spaced {
            self.apart = self.apart.max(now).saturating_add(RETURN_MS);
        }
        self.runners.insert(attempt, Runner { transport, started: now, purpose, stage: Stage::Proving });
        self.steps.push_back(Step::Start { attempt, transport });
        attempt
    }

    fn abandon(&mut self, which: impl Fn(&Runner) -> bool) {
        let steps = &mut self.steps;
        self.runners.retain(|attempt, runner| {
            let gone = which(runner);
            if gone {
                steps.push_back(Step::Abandon { attempt: *attempt });
            }
            !gone
        });
    }

    /// A candidate has passed all there is to pass: it is adopted if it is better than what there is.
    fn settle(&mut self, now: u64, attempt: u64) {
        let Some(runner) = self.runners.get(&attempt) else { return };
        let wanted = self.suspected || runner.purpose == Purpose::Rotation;
        if wanted || self.live.is_none_or(|live| runner.transport < live.transport) {
            self.adopt(now, attempt);
        } else {
            self.runners.remove(&attempt);
            self.steps.push_back(Step::Abandon { attempt });
        }
    }

    fn adopt(&mut self, now: u64, attempt: u64) {
        let Some(Runner { transport, started, .. }) = self.runners.remove(&attempt) else { return };
        self.steps.push_back(Step::Adopt { attempt });
        let before = self.live.map(|live| live.transport);
        if self.suspected {
            let upgrade_at = self.upgrade_at;
            self.died(now, Some(Failure::Idle), true);
            self.upgrade_at = upgrade_at;
        } else if let Some(old) = self.live {
            self.record.lived(old.transport, now.saturating_sub(old.adopted));
        }
        (self.live, self.drained) = (Some(Live { transport, started, adopted: now }), false);
        self.worked = Some(transport);
        (self.spaced, self.seeking, self.linked) = (false, false, true);
        let best = self.list.first().copied().filter(|best| *best < transport);
        let passed_over = self.round.take().is_some_and(|round| best.is_some_and(|best| !round.has_tried(best)));
        self.abandon(|r| r.transport >= transport);
        // A rotation changes nothing about what would be better, nor about when to look for it.
        if before != Some(transport) || self.upgrade_at.is_none() {
            self.upgraded.clear();
            self.spared = 0;
            let due = self.next_upgrade(if passed_over { self.best_at } else { now }, transport);
            self.upgrade_at = best.map(|best| due.max(now).max(self.record.out_until(best)));
        }
        let age = self.record.rotate_at_age(now, transport);
        self.rotate_at = age.map(|age| started.saturating_add(age));
    }

    /// Probation is for those who have something: a candidate that is proven is adopted, or else one is looked for.
    fn seek(&mut self, now: u64) {
        let first = self.live.is_some() || !core::mem::replace(&mut self.seeking, true);
        if first && self.live.is_none() {
            self.kept_until = now.saturating_add(KEEP_MS);
        }
        let proven = self.runners.iter().find(|(_, r)| !matches!(r.stage, Stage::Proving));
        if let Some(attempt) = proven.map(|(attempt, _)| *attempt) {
            self.adopt(now, attempt);
        } else if self.round.is_none() {
            let running = self.runners.values().map(|r| r.transport).collect();
            self.round = Some(self.new_round(now, running, first));
            self.step(now);
        }
    }

    /// The first round of a search is over everything, struck transports last; once the session has had a link, without those
    /// that are unlikely to pass alone. Later ones, and all when permits are few, are over what worked before and then one other.
    fn new_round(&mut self, now: u64, running: Vec<Transport>, first: bool) -> Round {
        let (mut list, struck): (Vec<_>, Vec<_>) =
            self.list.iter().copied().partition(|transport| self.record.out_until(*transport) <= now);
        let worked = self.worked.filter(|worked| list.contains(worked));
        list.extend(struck);
        let heads = heads(&list);
        if first && self.permits.left(now) > RESERVE && !self.spaced {
            if self.live.is_none() && self.linked {
                list.retain(|transport| heads.contains(transport) || Some(*transport) == worked);
            }
            return Round::new(list, running, worked);
        }
        let Some(home) = worked.or(list.first().copied()) else { return Round::new(list, running, None) };
        list.retain(|transport| *transport != home);
        self.turns = self.turns.wrapping_add(1);
        Round::pair(home, list, &heads, self.turns.wrapping_sub(1), running)
    }

    /// When the round's next candidate is due; `None` when there is no round, or none to start.
    fn step_at(&self) -> Option<u64> {
        let round = self.round.as_ref()?;
        let runs = |attempt| self.runners.contains_key(&attempt);
        if round.next(runs).is_none() {
            return self.runners.is_empty().then_some(0);
        }
        let delay = if round.is_hurried() { self.delay() / HURRY } else { self.delay() };
        let youngest = self.runners.values().map(|r| r.started.saturating_add(delay)).max();
        let apart = if self.spaced && !round.has_begun() { self.apart } else { 0 };
        // Doubts about a link must not leave nothing for its end.
        let wanted = if self.live.is_some() { RESERVE + 1 } else { 1 };
        Some(youngest.unwrap_or(0).max(self.permits.at(wanted)).max(apart))
    }

    fn step(&mut self, now: u64) {
        loop {
            let spent = self.is_spent(now);
            if !spent && self.step_at().is_none_or(|at| now < at) {
                return;
            }
            let runs = |attempt| self.runners.contains_key(&attempt);
            let next = self.round.as_ref().and_then(|round| round.next(runs)).filter(|_| !spent);
            let Some(next) = next else {
                self.round = None;
                if self.live.is_none() {
                    self.steps.push_back(Step::Over);
                }
                return;
            };
            let attempt = self.start(now, next, Purpose::Round);
            if let Some(round) = &mut self.round {
                round.started(attempt, next);
            }
        }
    }

    /// All that the round has started failed, what worked before too, and the permits that are left are kept for that. A search
    /// that takes long keeps none: what passes may be another one by now.
    fn is_spent(&self, now: u64) -> bool {
        let Some(round) = &self.round else { return false };
        let kept = if self.spaced || now >= self.kept_until { 0 } else { KEPT };
        let tried = round.has_begun() && !round.is_hurried();
        tried && self.live.is_none() && self.runners.is_empty() && self.permits.left(now) <= kept
    }

    fn delay(&self) -> u64 {
        let measured = |rtt: u64| rtt.saturating_mul(DELAY_RTTS).clamp(DELAY_MS.0, DELAY_MS.1);
        self.rtt.map_or(DELAY_UNKNOWN_MS, measured)
    }

    fn next_upgrade(&mut self, now: u64, live: Transport) -> u64 {
        let rotates = self.record.rotate_at_age(now, live).is_some();
        let period = if rotates { UPGRADE_ROTATING_MS } else { UPGRADE_MS };
        now.saturating_add(period - self.jitter + self.random.up_to(self.jitter * 2))
    }

    /// Tries the best transport, and every second time also the best of the other better ones that was not tried yet.
    fn upgrade_if_due(&mut self, now: u64, live: Live) {
        if self.upgrade_at.is_none_or(|at| now < at) || self.permits.left(now) <= self.spared {
            return;
        }
        self.upgrade_at = Some(self.next_upgrade(now, live.transport));
        self.upgrades = self.upgrades.wrapping_add(1);
        let better: Vec<Transport> = self.list.iter().copied().filter(|t| *t < live.transport).collect();
        let Some((best, others)) = better.split_first() else { return };
        self.try_better(now, *best);
        self.spared = RESERVE;
        if !self.upgrades.is_multiple_of(2) || others.is_empty() {
            return;
        }
        if others.iter().all(|t| self.upgraded.contains(t)) {
            self.upgraded.clear();
        }
        if let Some(other) = others.iter().copied().find(|t| !self.upgraded.contains(t)) {
            self.upgraded.push(other);
            self.try_better(now, other);
        }
    }

    fn try_better(&mut self, now: u64, transport: Transport) {
        let running = self.runners.values().any(|r| r.transport == transport);
        if !running && self.permits.left(now) > self.spared {
            self.start(now, transport, Purpose::Upgrade);
        }
    }

    fn rotate_if_due(&mut self, now: u64, live: Live) {
        if self.rotate_at.is_some_and(|at| at <= now) && self.permits.left(now) > RESERVE {
            self.rotate_at = None;
            self.start(now, live.transport, Purpose::Rotation);
        }
    }
}
