//! Names for the networks that clients come from: what a client learns about a path holds as long as the name does.

use std::net::IpAddr;
use std::num::NonZeroU64;

use crate::fnv::fnv1a;

/// An opaque name: addresses that are near each other have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(NonZeroU64);

impl Network {
    /// The network of a client.
    pub(crate) fn of(address: Option<IpAddr>) -> Option<Network> {
        let address = address?;
        // No secret is kept from a client by hiding its own address from it.
        let hash = match address {
            IpAddr::V4(v4) => fnv1a(&v4.octets()[..3]),
            IpAddr::V6(v6) => {
                v6.to_ipv4_mapped().map_or_else(|| fnv1a(&v6.octets()[..6]), |v4| fnv1a(&v4.octets()[..3]))
            }
        };
        NonZeroU64::new(hash).map(Network)
    }

    /// As a `welcome` gives it.
    pub(crate) fn name(self) -> Box<str> {
        format!("{:016x}", self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_name() {
        let of = |text: &str| Network::of(Some(text.parse().unwrap())).unwrap().name();
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:1:ff::2"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        assert_eq!(Network::of(None), None);
        assert_eq!(of("192.0.2.1").len(), 16);
    }
}
