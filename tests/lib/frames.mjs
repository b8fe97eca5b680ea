// Where the frames of a WebSocket begin and end, as a middlebox that looks into them sees it.

/** Cuts a stream of unmasked frames at the ends of frames. */
export class FrameCounter {
  constructor() {
    this.head = [];
    this.left = 0;
    /** Whether the part given last ended a frame. */
    this.whole = false;
    /** What passes is no WebSocket. */
    this.ignore = false;
  }

  /** The bytes in parts, none of which goes beyond the end of a frame; {@link whole} tells of each. */
  *split(bytes) {
    if (this.ignore) {
      this.whole = false;
      yield bytes;
      return;
    }
    for (let at = 0; at < bytes.length; ) {
      const begin = at;
      while (this.left === 0 && at < bytes.length) {
        this.head.push(bytes[at++]);
        if (!this.measure()) continue;
        break;
      }
      const taken = Math.min(this.left, bytes.length - at);
      at += taken;
      this.left -= taken;
      this.whole = this.left === 0 && this.head.length === 0;
      yield bytes.subarray(begin, at);
    }
  }

  /** Reads the length when the head is complete; true then. */
  measure() {
    const { head } = this;
    if (head.length < 2) return false;
    const short = head[1] & 0x7f;
    const size = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (head.length < size) return false;
    this.left = head.slice(2).reduce((length, byte) => length * 256 + byte, size === 2 ? short : 0);
    this.head = [];
    return true;
  }
}
