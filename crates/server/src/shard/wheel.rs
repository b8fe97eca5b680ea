//! A timer wheel: one entry per link, in slots of a quarter of a second.

use super::LinkId;

/// Milliseconds per slot: how late a timer may be.
pub(crate) const TICK_MS: u64 = 256;
const SLOTS: usize = 256;

/// Entries are never moved or removed before their time: when one comes up, its owner says when it wants to
/// be seen again. So a timer that is pushed back by every message costs nothing until it comes up.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<LinkId>>,
    /// The tick whose slot comes up next.
    next: u64,
    /// The first tick at or after `next` that has entries; `None` when there are none.
    soonest: Option<u64>,
}

impl Wheel {
    pub(crate) fn new(now: u64) -> Wheel {
        Wheel { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: now / TICK_MS + 1, soonest: None }
    }

    /// Asks for `link` to come up at `deadline`, or earlier when that is beyond the wheel's horizon.
    pub(crate) fn insert(&mut self, link: LinkId, deadline: u64) {
        let tick = deadline.div_ceil(TICK_MS).clamp(self.next, self.next + SLOTS as u64 - 1);
        self.slots[tick as usize % SLOTS].push(link);
        self.soonest = Some(self.soonest.map_or(tick, |soonest| soonest.min(tick)));
    }

    /// Moves what has come up by `now` into `due`.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<LinkId>) {
        let end = now / TICK_MS;
        let last = end.min(self.next + SLOTS as u64 - 1);
        for tick in self.next..=last {
            let slot = &mut self.slots[tick as usize % SLOTS];
            if slot.capacity() > 1024 {
                due.append(&mut std::mem::take(slot));
            } else {
                due.append(slot);
            }
        }
        self.next = self.next.max(end + 1);
        if self.soonest.is_some_and(|soonest| soonest < self.next) {
            self.soonest =
                (self.next..self.next + SLOTS as u64).find(|tick| !self.slots[*tick as usize % SLOTS].is_empty());
        }
    }

    /// When [`Wheel::advance`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.soonest.map(|tick| tick * TICK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: u64) -> Vec<LinkId> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due
    }

    #[test]
    fn entries_come_up_once_and_not_early() {
        let mut wheel = Wheel::new(1_000);
        let link = LinkId { key: 7, generation: 1 };
        wheel.insert(link, 5_000);
        let at = wheel.next_deadline().unwrap();
        assert!((5_000..5_000 + TICK_MS).contains(&at), "{at}");
        assert_eq!(due(&mut wheel, at - 1), []);
        assert_eq!(due(&mut wheel, at), [link]);
        assert_eq!(due(&mut wheel, at + 100_000), []);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn far_and_past_deadlines_come_up_within_the_horizon() {
        let mut wheel = Wheel::new(0);
        let (far, past) = (LinkId { key: 1, generation: 0 }, LinkId { key: 2, generation: 0 });
        wheel.insert(far, u64::MAX / 2);
        wheel.insert(past, 0);
        assert_eq!(due(&mut wheel, TICK_MS), [past]);
        assert_eq!(due(&mut wheel, TICK_MS * 1_000), [far]);
    }
}
