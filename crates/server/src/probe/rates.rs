//! How many probes a network may still send.

use std::collections::HashMap;

use crate::network::Network;

/// Networks that are remembered; beyond it the one that has been quiet for longest is forgotten.
const NETWORKS_MAX: usize = 4096;
/// What may be sent at once is what may be sent in this time, microseconds.
const PERIOD_US: u64 = 60_000_000;

/// A bucket of tokens for each network, written as the time at which it will be full again: a network that is not here has a
/// full one.
#[derive(Debug)]
pub(super) struct Rates {
    /// In which one token comes back, microseconds.
    token_us: u64,
    /// When each bucket will be full, microseconds since 1970.
    full_at: HashMap<Option<Network>, u64>,
}

impl Rates {
    pub(super) fn new(per_minute: u64) -> Rates {
        Rates { token_us: PERIOD_US / per_minute.clamp(1, PERIOD_US), full_at: HashMap::new() }
    }

    /// Takes a token, or says in how many milliseconds there will be one. A clock that was set back does no harm beyond a period.
    pub(super) fn take(&mut self, network: Option<Network>, now_ms: u64) -> Result<(), u64> {
        let now = now_ms.saturating_mul(1000);
        let full = now + PERIOD_US;
        let before = self.full_at.get(&network).map_or(now, |at| (*at).clamp(now, full));
        let after = before + self.token_us;
        if after > full {
            self.full_at.insert(network, before);
            return Err((after - full).div_ceil(1000));
        }
        if self.full_at.len() >= NETWORKS_MAX && !self.full_at.contains_key(&network) {
            self.make_room(now);
        }
        self.full_at.insert(network, after);
        Ok(())
    }

    fn make_room(&mut self, now: u64) {
        self.full_at.retain(|_, at| *at > now);
        let soonest = self.full_at.iter().min_by_key(|(_, at)| **at).map(|(network, _)| *network);
        if let Some(network) = soonest.filter(|_| self.full_at.len() >= NETWORKS_MAX) {
            self.full_at.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn network(n: u32) -> Option<Network> {
        Network::of(Some(std::net::Ipv4Addr::from_bits(n << 8).into()))
    }

    fn taken(rates: &mut Rates, network: Option<Network>, now: u64) -> usize {
        std::iter::repeat_with(|| rates.take(network, now)).take_while(Result::is_ok).count()
    }

    #[test]
    fn a_network_may_send_so_many_at_once_and_per_minute() {
        let mut rates = Rates::new(60);
        assert_eq!(taken(&mut rates, network(1), NOW), 60);
        assert_eq!(rates.take(network(1), NOW), Err(1000));
        assert_eq!(rates.take(network(1), NOW + 400), Err(600));
        assert_eq!(taken(&mut rates, network(1), NOW + 3_500), 3);
        assert_eq!(taken(&mut rates, network(2), NOW + 3_500), 60);
        assert_eq!(taken(&mut rates, None, NOW + 3_500), 60);
        assert_eq!(taken(&mut rates, network(1), NOW + 1_000_000), 60);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let mut rates = Rates::new(600);
        assert_eq!(taken(&mut rates, network(1), NOW), 600);
        assert_eq!(rates.take(network(1), NOW - 86_400_000), Err(100));
        assert_eq!(taken(&mut rates, network(1), NOW - 86_400_000 + 60_000), 600);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quiet_first() {
        let mut rates = Rates::new(10);
        assert_eq!(taken(&mut rates, network(0), NOW), 10);
        for n in 1..3 * NETWORKS_MAX as u32 {
            assert_eq!(rates.take(network(n), NOW), Ok(()));
            assert!(rates.full_at.len() <= NETWORKS_MAX);
        }
        assert_eq!(rates.take(network(0), NOW), Err(6000), "the one that sent most is still known");
        assert_eq!(rates.take(network(1 << 20), NOW + 3_600_000), Ok(()));
        assert_eq!(rates.full_at.len(), 1);
    }
}
