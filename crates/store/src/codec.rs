//! Bytes of the rows: variable-length integers and a reader that cannot leave its slice.

use std::fmt;

/// A row that does not decode. Holds what was wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRow(pub &'static str);

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadRow {}

/// Appends `value` in 7-bit groups, least first: 1 to 10 bytes.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Maps small numbers of either sign to small unsigned numbers.
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Takes values off the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], BadRow> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(BadRow("cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRow> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(BadRow("cut short"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, BadRow> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, BadRow> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(BadRow("integer over 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadRow("integer over 64 bits"))
    }

    /// As many bytes as the varint before them says.
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], BadRow> {
        let n = self.varint()?;
        self.take(usize::try_from(n).map_err(|_| BadRow("cut short"))?)
    }

    /// The version byte, which must be `expected`.
    pub(crate) fn version(&mut self, expected: u8) -> Result<(), BadRow> {
        if self.byte()? == expected { Ok(()) } else { Err(BadRow("version of the row is unknown")) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, BadRow> {
    std::str::from_utf8(bytes).map_err(|_| BadRow("text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert!(out.len() <= 10);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }

    #[test]
    fn integers_that_are_none() {
        for bytes in
            [&[][..], &[0x80], &[0xff; 9], &[0xff; 10], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]]
        {
            assert!(Reader::new(bytes).varint().is_err(), "{bytes:x?}");
        }
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Reader::new(&largest).varint(), Ok(u64::MAX));
    }
}
