//! Masking (RFC 6455 section 5.3), eight bytes at a time so that the compiler makes vector code of it.

/// Masks or unmasks `payload`, whose first byte is number `offset` of its frame.
pub(super) fn apply(payload: &mut [u8], mut key: [u8; 4], offset: u64) {
    key.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use alloc::vec::Vec;

    #[test]
    fn every_length_and_offset_is_masked_byte_by_byte() {
        let key = [1, 2, 4, 8];
        for length in 0..70_usize {
            for offset in 0..9_u64 {
                let mut bytes: Vec<u8> = (0..length as u8).collect();
                apply(&mut bytes, key, offset);
                for (i, byte) in bytes.iter().enumerate() {
                    assert_eq!(*byte, i as u8 ^ key[(i + offset as usize) % 4]);
                }
            }
        }
    }
}
