// Data of events that both sides of a test know.

/** Data of event `n`: what follows the number follows from it, so that a mangled event shows. */
export function textOf(n) {
  return `${n} ä€😀\u2028</script> ${"x".repeat((n * 37) % 120)}`;
}

/** The number of such an event; throws when it is not whole. */
export function numberOf(text) {
  const n = Number.parseInt(text, 10);
  if (textOf(n) !== text) throw new Error(`an event holds what nobody published: ${text.slice(0, 80)}`);
  return n;
}
