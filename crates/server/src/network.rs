//! Names for the networks that clients come from: what a client learns about a path holds as long as the name does.

use std::net::IpAddr;
use std::num::NonZeroU64;

/// An opaque name: addresses that are near each other have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(NonZeroU64);

impl Network {
    /// The network of a connection's peer, or of whom a proxy in front says that it speaks for. A client that makes that up
    /// misleads itself only.
    pub(crate) fn of(peer: Option<IpAddr>, forwarded_for: Option<&str>) -> Option<Network> {
        let first = forwarded_for.and_then(|list| list.split(',').next()).map(str::trim);
        let address = first.and_then(|text| text.parse().ok()).or(peer)?;
        // FNV-1a: no secret is kept from a client by hiding its own address from it.
        let hash = |bytes: &[u8]| {
            bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
        };
        let hash = match address {
            IpAddr::V4(v4) => hash(&v4.octets()[..3]),
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| hash(&v6.octets()[..6]), |v4| hash(&v4.octets()[..3])),
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
        let of = |text: &str| Network::of(Some(text.parse().unwrap()), None).unwrap().name();
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:1:ff::2"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        let proxied = |list: &str| Network::of(Some("10.0.0.1".parse().unwrap()), Some(list)).unwrap().name();
        assert_eq!(proxied("192.0.2.7, 10.9.9.9"), of("192.0.2.1"));
        assert_eq!(proxied("unknown"), of("10.0.0.1"));
        assert_eq!(Network::of(None, None), None);
        assert_eq!(of("192.0.2.1").len(), 16);
    }
}
