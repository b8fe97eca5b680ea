// FNV-1a, 64 bit, as the realm tells it of what it was sent.

/** 2 to the 32nd. */
const WORD = 0x1_0000_0000;
/** The prime is 2 to the 40th and this. */
const PRIME_LOW = 0x1b3;

/** 16 hexadecimal digits. */
export function fnv1a(bytes: Uint8Array): string {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    const product = low * PRIME_LOW;
    high = (high * PRIME_LOW + Math.floor(product / WORD) + low * 256) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}
