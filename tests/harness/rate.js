// A steady rate of numbered events, maybe with pauses.

/**
 * Calls `publish(n)` for 0, 1, 2, ... at `rate` per second while `pattern` says so; the result stops it and tells how
 * many there were. `pattern`: { onMs, offMs }, repeated; without it there are no pauses.
 */
export function steady(rate, pattern, publish) {
  const began = Date.now();
  let last = began;
  let due = 0;
  let count = 0;
  const tick = () => {
    const now = Date.now();
    const at = now - began;
    const pausing = pattern !== null && at % (pattern.onMs + pattern.offMs) >= pattern.onMs;
    if (!pausing) due += ((now - last) * rate) / 1000;
    last = now;
    while (count <= due) publish(count++);
  };
  tick();
  const timer = setInterval(tick, 1000 / rate);
  return () => {
    clearInterval(timer);
    return count;
  };
}

/** What went wrong in a list of numbers that should be 0, 1, 2, ... `count` - 1. */
export function verdict(numbers, count) {
  const seen = new Set(numbers);
  let lost = 0;
  for (let n = 0; n < count; n++) if (!seen.has(n)) lost += 1;
  const reordered = numbers.filter((n, at) => at > 0 && n < numbers[at - 1]).length;
  return { events: count, lost, doubled: numbers.length - seen.size, reordered };
}
