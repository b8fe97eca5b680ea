//! Random masking keys (RFC 6455 section 10.3).

/// Keys fetched from the system at once, bytes.
const BYTES: usize = 1024;

/// A supply of keys. They come from the system in blocks, since one call per frame would cost more than the frame.
pub(super) struct Masks {
    block: Box<[u8; BYTES]>,
    used: usize,
}

impl Default for Masks {
    fn default() -> Masks {
        Masks { block: Box::new([0; BYTES]), used: BYTES }
    }
}

impl Masks {
    pub(super) fn next(&mut self) -> [u8; 4] {
        if self.used >= BYTES {
            // Masking guards proxies against hostile scripts that choose payloads. A system without randomness has none.
            let _ = getrandom::fill(&mut *self.block);
            self.used = 0;
        }
        let key = self.block.get(self.used..).and_then(|rest| rest.first_chunk().copied()).unwrap_or_default();
        self.used += 4;
        key
    }
}
