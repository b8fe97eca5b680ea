//! Which publishes a channel has accepted, by session and publish number: PROTOCOL.md section 5, guarantee 1.

use std::collections::{HashMap, VecDeque};

use throughline_wire::event::{Eid, SessionId};

use crate::store::Window;
use crate::types::Origin;

/// What a session takes beside its numbers, bytes.
const SESSION_BYTES: u64 = 128;
/// What a number takes with its EID, and with room for more, bytes.
const NUMBER_BYTES: u64 = 24;

/// What a channel knows of a publish number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Not accepted yet.
    New,
    /// Accepted with this EID.
    Accepted(Eid),
    /// Too old to tell. Holds the lowest number that can be told.
    Forgotten(u64),
}

/// A session that was forgotten, and when it published last.
pub(crate) type Forgotten = (SessionId, u64);

#[derive(Debug, Default)]
struct Session {
    entries: VecDeque<(u64, Eid)>,
    time: u64,
    /// The highest number that was given up for want of room; zero when none was.
    floor: u64,
}

impl Session {
    fn bytes(&self) -> u64 {
        SESSION_BYTES + self.entries.len() as u64 * NUMBER_BYTES
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        match self.entries.back() {
            Some(&(last, _)) if number <= last => self.entries.binary_search_by_key(&number, |entry| entry.0),
            _ => Err(self.entries.len()),
        }
    }
}

/// The windows of a channel.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    sessions: HashMap<SessionId, Session>,
    /// About what they take in memory.
    bytes: u64,
}

impl Windows {
    /// The windows that the disk remembers. One that is full may have given up numbers below.
    pub(crate) fn restore(stored: Vec<(SessionId, Window)>, entries_max: usize) -> Windows {
        let restored = stored.into_iter().map(|(id, window)| {
            let full = window.entries.len() >= entries_max;
            let floor = if full { window.entries.front().map_or(0, |(number, _)| number.saturating_sub(1)) } else { 0 };
            (id, Session { entries: window.entries, time: window.time, floor })
        });
        let sessions: HashMap<_, _> = restored.collect();
        let bytes = sessions.values().map(Session::bytes).sum();
        Windows { sessions, bytes }
    }

    /// About what they take in memory, bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The highest EID remembered.
    pub(crate) fn last(&self) -> Eid {
        let eids = self.sessions.values().flat_map(|session| session.entries.iter().map(|entry| entry.1));
        eids.max().unwrap_or(Eid::NONE)
    }

    pub(crate) fn look_up(&self, origin: Origin) -> Known {
        let Some(session) = self.sessions.get(&origin.session) else { return Known::New };
        match session.find(origin.number) {
            Ok(index) => Known::Accepted(session.entries[index].1),
            Err(_) if origin.number <= session.floor => Known::Forgotten(session.floor.saturating_add(1)),
            Err(_) => Known::New,
        }
    }

    /// Remembers a publish that was just accepted.
    pub(crate) fn insert(&mut self, origin: Origin, eid: Eid, now: u64, entries_max: usize) {
        let before = self.sessions.get(&origin.session).map_or(0, Session::bytes);
        let session = self.sessions.entry(origin.session).or_default();
        session.time = session.time.max(now);
        if let Err(index) = session.find(origin.number) {
            session.entries.insert(index, (origin.number, eid));
        }
        while session.entries.len() > entries_max.max(1) {
            if let Some((number, _)) = session.entries.pop_front() {
                session.floor = number;
            }
        }
        self.bytes = self.bytes + session.bytes() - before;
    }

    /// Forgets a publish that failed, so that its repetition is tried anew.
    pub(crate) fn remove(&mut self, origin: Origin) {
        let Some(session) = self.sessions.get_mut(&origin.session) else { return };
        if let Ok(index) = session.find(origin.number) {
            session.entries.remove(index);
            self.bytes -= NUMBER_BYTES;
        }
    }

    /// Forgets the sessions that published nothing at or after `before`. Gives which.
    pub(crate) fn forget(&mut self, before: u64) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        self.sessions.retain(|id, session| {
            let kept = session.time >= before;
            if !kept {
                self.bytes -= session.bytes();
                forgotten.push((*id, session.time));
            }
            kept
        });
        self.shrink();
        forgotten
    }

    /// Forgets the sessions that published longest ago, until `bytes` are free. Gives which.
    pub(crate) fn shed(&mut self, bytes: u64) -> Vec<Forgotten> {
        let aim = self.bytes.saturating_sub(bytes);
        let mut oldest: Vec<Forgotten> = self.sessions.iter().map(|(id, session)| (*id, session.time)).collect();
        oldest.sort_unstable_by_key(|(_, time)| *time);
        let mut count = 0;
        for (id, _) in &oldest {
            if self.bytes <= aim {
                break;
            }
            self.bytes -= self.sessions.remove(id).map_or(0, |session| session.bytes());
            count += 1;
        }
        oldest.truncate(count);
        self.shrink();
        oldest
    }

    fn shrink(&mut self) {
        if self.sessions.len() < self.sessions.capacity() / 4 {
            self.sessions.shrink_to_fit();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(number: u64) -> Origin {
        Origin { session: SessionId(7), number }
    }

    #[test]
    fn numbers_are_found_in_any_order_until_they_fall_out() {
        let mut windows = Windows::default();
        assert_eq!(windows.look_up(origin(5)), Known::New);
        windows.insert(origin(5), Eid(50), 1, 3);
        windows.insert(origin(9), Eid(51), 1, 3);
        windows.insert(origin(7), Eid(52), 1, 3);
        for (number, eid) in [(5, 50), (7, 52), (9, 51)] {
            assert_eq!(windows.look_up(origin(number)), Known::Accepted(Eid(eid)));
        }
        assert_eq!(windows.look_up(origin(4)), Known::New, "nothing was given up yet");
        assert_eq!(windows.look_up(origin(8)), Known::New);
        windows.insert(origin(10), Eid(53), 1, 3);
        for number in [4, 5] {
            assert_eq!(windows.look_up(origin(number)), Known::Forgotten(6));
        }
        assert_eq!(windows.look_up(origin(6)), Known::New);
        assert_eq!(windows.look_up(Origin { session: SessionId(8), number: 5 }), Known::New);
    }

    #[test]
    fn a_failed_publish_is_new_again() {
        let mut windows = Windows::default();
        windows.insert(origin(1), Eid(1), 1, 10);
        windows.insert(origin(2), Eid(2), 1, 10);
        windows.remove(origin(1));
        assert_eq!(windows.look_up(origin(1)), Known::New);
        assert_eq!(windows.look_up(origin(2)), Known::Accepted(Eid(2)));
    }

    #[test]
    fn silent_sessions_are_forgotten() {
        let mut windows = Windows::default();
        windows.insert(origin(1), Eid(1), 100, 10);
        windows.insert(Origin { session: SessionId(8), number: 1 }, Eid(2), 200, 10);
        windows.forget(101);
        assert_eq!(windows.look_up(origin(1)), Known::New);
        assert_eq!(windows.look_up(Origin { session: SessionId(8), number: 1 }), Known::Accepted(Eid(2)));
        windows.forget(201);
        assert!(windows.is_empty());
    }

    #[test]
    fn the_oldest_sessions_go_first_when_room_is_needed() {
        let mut windows = Windows::default();
        for session in 0..100 {
            windows.insert(Origin { session: SessionId(session), number: 1 }, Eid(1), 1_000 - session as u64, 10);
        }
        let full = windows.bytes();
        let forgotten = windows.shed(full / 4);
        assert!(windows.bytes() <= full - full / 4);
        assert_eq!(forgotten.len(), 25);
        assert!(forgotten.iter().all(|(id, time)| id.0 >= 75 && *time <= 925), "{forgotten:?}");
        assert_eq!(windows.look_up(Origin { session: SessionId(0), number: 1 }), Known::Accepted(Eid(1)));
        assert_eq!(windows.look_up(Origin { session: SessionId(99), number: 1 }), Known::New);
        windows.shed(u64::MAX);
        assert_eq!((windows.bytes(), windows.is_empty()), (0, true));
    }

    #[test]
    fn bytes_are_counted_through_every_change() {
        let mut windows = Windows::default();
        for number in 1..=50 {
            windows.insert(origin(number), Eid(number), number, 10);
        }
        assert_eq!(windows.bytes(), SESSION_BYTES + 10 * NUMBER_BYTES);
        windows.remove(origin(50));
        windows.remove(origin(50));
        assert_eq!(windows.bytes(), SESSION_BYTES + 9 * NUMBER_BYTES);
        assert_eq!(windows.forget(51), [(SessionId(7), 50)]);
        assert_eq!(windows.bytes(), 0);
    }

    #[test]
    fn restored_windows_know_what_they_cannot_know() {
        let window = |numbers: &[u64]| Window { entries: numbers.iter().map(|n| (*n, Eid(*n))).collect(), time: 1 };
        let windows = Windows::restore(vec![(SessionId(7), window(&[5, 6])), (SessionId(8), window(&[5]))], 2);
        assert_eq!(windows.look_up(origin(4)), Known::Forgotten(5));
        assert_eq!(windows.look_up(origin(6)), Known::Accepted(Eid(6)));
        assert_eq!(windows.look_up(Origin { session: SessionId(8), number: 4 }), Known::New);
        assert_eq!(windows.last(), Eid(6));
    }
}
