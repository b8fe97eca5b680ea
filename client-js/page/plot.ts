// Events per second over the last minute, drawn as they come.

/** Length of a bar, milliseconds, and how many are shown. */
const STEP_MS = 500;
const STEPS = 120;

export class Plot {
  readonly #canvas: HTMLCanvasElement;
  readonly #counts = new Uint32Array(STEPS);
  readonly #bytes = new Float64Array(STEPS);
  /** Steps during which a link was lost. */
  readonly #cuts = new Uint8Array(STEPS);
  #step = 0;
  #drawn = -1;

  constructor(canvas: HTMLCanvasElement, now: number) {
    this.#canvas = canvas;
    this.#step = Math.floor(now / STEP_MS);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
    new ResizeObserver(() => this.#redraw()).observe(canvas);
  }

  add(now: number, events: number, bytes: number): void {
    const at = this.#advance(now);
    this.#counts[at] = (this.#counts[at] ?? 0) + events;
    this.#bytes[at] = (this.#bytes[at] ?? 0) + bytes;
  }

  cut(now: number): void {
    this.#cuts[this.#advance(now)] = 1;
    this.#redraw();
  }

  /** Events and bytes per second over the last two full seconds. */
  rate(now: number): { readonly events: number; readonly bytes: number } {
    this.#advance(now);
    const steps = 4;
    let events = 0;
    let bytes = 0;
    for (let back = 1; back <= steps; back += 1) {
      const at = (this.#step - back + STEPS) % STEPS;
      events += this.#counts[at] ?? 0;
      bytes += this.#bytes[at] ?? 0;
    }
    const seconds = (steps * STEP_MS) / 1000;
    return { events: events / seconds, bytes: bytes / seconds };
  }

  /** Draws when a step has passed since the last time. */
  draw(now: number): void {
    this.#advance(now);
    if (this.#drawn === this.#step) return;
    this.#drawn = this.#step;
    this.#paint();
  }

  #redraw(): void {
    this.#drawn = -1;
  }

  #advance(now: number): number {
    const step = Math.floor(now / STEP_MS);
    for (let next = Math.max(this.#step + 1, step - STEPS + 1); next <= step; next += 1) {
      this.#counts[next % STEPS] = 0;
      this.#bytes[next % STEPS] = 0;
      this.#cuts[next % STEPS] = 0;
    }
    this.#step = Math.max(this.#step, step);
    return this.#step % STEPS;
  }

  #paint(): void {
    const canvas = this.#canvas;
    const context = canvas.getContext("2d");
    if (context === null) return;
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = devicePixelRatio;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colour = (name: string): string => style.getPropertyValue(name);
    const perSecond = 1000 / STEP_MS;
    const top = ceiling(Math.max(...this.#counts) * perSecond);
    const room = height - 18;
    this.#scale(context, width, room, top, colour);
    const bar = width / STEPS;
    for (let i = 0; i < STEPS; i += 1) {
      const at = (this.#step + 1 + i) % STEPS;
      if (this.#cuts[at] === 1) {
        context.fillStyle = colour("--bad");
        context.fillRect(i * bar, 16, Math.max(1.5, bar - 1), room);
      }
      const tall = ((this.#counts[at] ?? 0) * perSecond * room) / top;
      context.fillStyle = colour("--accent");
      if (tall > 0) context.fillRect(i * bar, 16 + room - Math.max(1, tall), Math.max(1, bar - 1), Math.max(1, tall));
    }
  }

  #scale(context: CanvasRenderingContext2D, width: number, room: number, top: number, colour: (name: string) => string): void {
    context.strokeStyle = colour("--line");
    context.fillStyle = colour("--faint");
    context.font = "11px system-ui, sans-serif";
    context.beginPath();
    for (const y of [16.5, 16.5 + room / 2, 15.5 + room]) {
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.stroke();
    context.fillText(`${top.toLocaleString("en")} events/s`, 0, 11);
    const span = "last minute";
    context.fillText(span, width - context.measureText(span).width, 11);
  }
}

/** The next of 1, 2, 5, 10, 20, ... at or above `value`. */
function ceiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(10, value)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value) ?? value;
}
