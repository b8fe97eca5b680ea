//! What links have shown of their transports: strikes of those that died young, and the age at which streams are cut.

use throughline_wire::path::{Group, Transport};

/// A link that ended earlier after its adoption was cut, milliseconds.
pub(super) const CUT_MS: u64 = 10_000;
/// One that died of silence earlier is struck as well, milliseconds.
pub(super) const SILENCE_MS: u64 = 30_000;
/// How long a strike keeps its transport out of rounds, milliseconds.
const STRUCK_MS: u64 = 30_000;
/// A link that lived so long clears its transport, milliseconds.
const CLEAR_MS: u64 = 60_000;
/// Probation after the first strike, milliseconds; twice as long after each further one.
const PROBATION_MS: u64 = 5_000;
/// Longest probation, milliseconds.
const PROBATION_MS_MAX: u64 = 20_000;
/// No stream is replaced for being cut younger, milliseconds: that would take more attempts than there may be.
const AGE_MS_MIN: u64 = 12_500;
/// How long the age at which streams are cut is known, milliseconds.
const AGE_MS: u64 = 600_000;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    strikes: u32,
    /// Out of rounds until then.
    until: u64,
    /// At which age the last stream was ended by others.
    age: Option<u64>,
    /// An age that has been seen twice, and when it is forgotten.
    twice: Option<(u64, u64)>,
}

/// One entry per transport, by rank.
#[derive(Debug, Default)]
pub(super) struct Record([Entry; Transport::ALL.len()]);

impl Record {
    fn entry(&mut self, transport: Transport) -> Option<&mut Entry> {
        self.0.get_mut(usize::from(transport.rank()))
    }

    fn of(&self, transport: Transport) -> Entry {
        self.0.get(usize::from(transport.rank())).copied().unwrap_or_default()
    }

    pub(super) fn strike(&mut self, now: u64, transport: Transport) {
        if let Some(entry) = self.entry(transport) {
            entry.strikes = entry.strikes.saturating_add(1);
            entry.until = now.saturating_add(STRUCK_MS);
        }
    }

    /// Until when a strike puts it at the end of rounds.
    pub(super) fn out_until(&self, transport: Transport) -> u64 {
        self.of(transport).until
    }

    /// How long a proven link of it is watched before it is adopted, milliseconds.
    pub(super) fn probation(&self, transport: Transport) -> Option<u64> {
        let doublings = self.of(transport).strikes.checked_sub(1)?;
        Some((PROBATION_MS << doublings.min(8)).min(PROBATION_MS_MAX))
    }

    /// A link of it has lived for `lived` milliseconds.
    pub(super) fn lived(&mut self, transport: Transport, lived: u64) {
        if lived >= CLEAR_MS
            && let Some(entry) = self.entry(transport)
        {
            (entry.strikes, entry.until) = (0, 0);
        }
    }

    /// A stream was ended by others at this age.
    pub(super) fn ended(&mut self, now: u64, transport: Transport, age: u64) {
        if transport.group() != Group::Streams || age < AGE_MS_MIN {
            return;
        }
        let Some(entry) = self.entry(transport) else { return };
        if let Some(last) = entry.age.replace(age)
            && last.abs_diff(age) <= last / 4
        {
            entry.twice = Some((last.min(age), now.saturating_add(AGE_MS)));
        }
    }

    /// The age at which a stream of it is to be replaced, before others end it.
    pub(super) fn rotate_at_age(&self, now: u64, transport: Transport) -> Option<u64> {
        let (age, _) = self.of(transport).twice.filter(|(_, until)| now < *until)?;
        Some(age / 10 * 9)
    }
}
