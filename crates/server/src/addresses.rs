//! How many connections each client address has: one client must not take all that there are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The bits of an address of IPv6 that are a network's; a client chooses the others.
const NETWORK_BITS: u128 = !(u64::MAX as u128);

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// 0 means as many as there are.
    max: u64,
    counts: Mutex<HashMap<IpAddr, u64>>,
}

/// A connection that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

/// The address has as many connections as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Addresses {
    pub(crate) fn new(max: u64) -> Arc<Addresses> {
        Arc::new(Addresses { max, counts: Mutex::default() })
    }

    /// Counts a connection of `address`, if there is a limit.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Option<Guest>, Crowded> {
        if self.max == 0 {
            return Ok(None);
        }
        let address = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK_BITS).into(),
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.max {
            return Err(Crowded);
        }
        *count += 1;
        Ok(Some(Guest { addresses: Arc::clone(self), address }))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&self.address) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_and_a_network_of_ipv6_is_one() {
        let addresses = Addresses::new(2);
        let admit = |text: &str| addresses.admit(text.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), Crowded);
        assert!(admit("192.0.2.2").is_ok());
        drop(first);
        let _third = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), Crowded);
        let _near = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert_eq!(admit("2001:db8::3").unwrap_err(), Crowded);
        assert!(admit("2001:db8:0:1::1").is_ok());
        assert_eq!(addresses.counts.lock().unwrap().len(), 2, "those that have none are forgotten");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let addresses = Addresses::new(0);
        assert!(addresses.admit("192.0.2.1".parse().unwrap()).unwrap().is_none());
        assert!(addresses.counts.lock().unwrap().is_empty());
    }
}
