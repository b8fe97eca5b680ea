//! Ranges of addresses: RFC 4632 for IPv4, RFC 4291 for IPv6.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRange {
    /// It is not an address, or not one with a number of bits.
    Shape,
    /// Bits behind those that count are set.
    Rest,
}

impl fmt::Display for BadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRange::Shape => {
                f.write_str("expected an address such as 192.0.2.7 or ::1, or a range such as 10.0.0.0/8")
            }
            BadRange::Rest => {
                f.write_str("bits behind the range's own are set; write its first address, as in 10.0.0.0/8")
            }
        }
    }
}

impl std::error::Error for BadRange {}

/// The address as a number of 128 bits, and how many of them its family has.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl FromStr for Range {
    type Err = BadRange;

    fn from_str(s: &str) -> Result<Range, BadRange> {
        let (address, bits) = s.split_once('/').map_or((s, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| BadRange::Shape)?;
        let (value, width) = number(first);
        let plain = |bits: &&str| !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => {
                let bits = Some(bits).filter(plain).and_then(|bits| bits.parse().ok());
                bits.filter(|bits| *bits <= width).ok_or(BadRange::Shape)?
            }
        };
        let rest = u32::from(width - bits);
        let clean = rest == 128 && value == 0 || value.checked_shr(rest).is_some_and(|kept| kept << rest == value);
        if clean { Ok(Range { first, bits }) } else { Err(BadRange::Rest) }
    }
}

impl Range {
    /// Whether an address is one of these. An IPv4 address that was written as one of IPv6 counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, width) = number(self.first);
        let (value, family) = number(address.to_canonical());
        width == family && (first ^ value).checked_shr(u32::from(width - self.bits)).unwrap_or(0) == 0
    }
}

/// Whether an address is in one of the ranges.
pub(crate) fn listed(ranges: &[Range], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "127.0.0.1", false),
            ("::1", "::1", true),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
        ];
        for (range, address, holds) in cases {
            let range: Range = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), holds, "{range:?} {address}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10/8", "::/129", "/8", "1.2.3.4 "] {
            assert_eq!(text.parse::<Range>(), Err(BadRange::Shape), "{text}");
        }
        for text in ["10.0.0.1/8", "::1/0", "192.0.2.7/31"] {
            assert_eq!(text.parse::<Range>(), Err(BadRange::Rest), "{text}");
        }
    }
}
