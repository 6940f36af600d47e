/**
 * Progress of anything that takes more than a second, on stderr: a bar with rate and time left on
 * a terminal, plain lines elsewhere.
 */
import { Presets, SingleBar } from "cli-progress";

const SILENT_MS = 1000;
const REDRAW_MS = 100;
const LINE_MS = 5000;
const BAR_STEPS = 1000;
/** Percent, count, rate and time left, at their longest. */
const STATE_CHARACTERS = 50;
/** With less done, the time left would be a guess. */
const LEAST_FRACTION = 0.02;

/** One task's progress. Call `update` as often as it suits, `stop` at the end whatever happened. */
export class Progress {
  private readonly started = performance.now();
  private drawn = -Infinity;
  private bar: SingleBar | undefined;

  /**
   * @param task what is being done, such as "adding"
   * @param unit what is counted, such as "rows"
   */
  constructor(
    private readonly task: string,
    private readonly unit: string,
    private readonly stream: NodeJS.WriteStream = process.stderr,
  ) {}

  /**
   * @param done how many units are done
   * @param fraction share of the whole, 0 to 1; undefined where nobody knows
   */
  update(done: number, fraction: number | undefined): void {
    const now = performance.now();
    if (now - this.started < SILENT_MS || now - this.drawn < (this.stream.isTTY ? REDRAW_MS : LINE_MS)) return;
    this.drawn = now;
    const state = progressState(done, fraction, this.seconds, this.unit);
    if (!this.stream.isTTY) {
      this.stream.write(
        `${this.task}: ${[state.percent, state.count, state.rate, state.left].filter(Boolean).join(", ")}\n`,
      );
      return;
    }
    const steps = Math.floor((fraction ?? 0) * BAR_STEPS);
    if (this.bar === undefined) {
      const format = `${this.task} {bar} {percent} {count} {rate} {left}`;
      // Cursor and line wrap stay as they are: a command that is interrupted would leave them changed.
      const barsize = Math.min(40, Math.max(10, this.stream.columns - this.task.length - STATE_CHARACTERS));
      this.bar = new SingleBar(
        { format, stream: this.stream, barsize, clearOnComplete: true, linewrap: true },
        Presets.shades_classic,
      );
      this.bar.start(BAR_STEPS, steps, { ...state });
    }
    this.bar.update(steps, { ...state });
  }

  /** Takes the bar away. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (performance.now() - this.started) / 1000;
  }
}

/** Says how long something takes of which nobody knows how far it is, where that is more than a second. */
export async function during<T>(
  task: string,
  work: Promise<T>,
  stream: NodeJS.WriteStream = process.stderr,
): Promise<T> {
  const started = performance.now();
  const tick = () => {
    const took = formatDuration((performance.now() - started) / 1000);
    stream.write(stream.isTTY ? `\r${task}: ${took}\x1b[K` : `${task}: ${took}\n`);
  };
  const timer = setInterval(tick, stream.isTTY ? SILENT_MS : LINE_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (stream.isTTY && performance.now() - started > SILENT_MS) stream.write("\r\x1b[K");
  }
}

/** What a bar or a line says. `left` and `percent` are empty where the whole is unknown. */
export function progressState(
  done: number,
  fraction: number | undefined,
  seconds: number,
  unit: string,
): { percent: string; count: string; rate: string; left: string } {
  const rate = done / seconds;
  const known = fraction !== undefined && fraction > 0;
  return {
    percent: known ? `${Math.floor(fraction * 100)}%` : "",
    count: `${formatCount(done)} ${unit}`,
    rate: `${rate < 10 ? rate.toFixed(1) : formatCount(Math.round(rate))}/s`,
    left:
      known && fraction >= LEAST_FRACTION && fraction < 1
        ? `${formatDuration((seconds * (1 - fraction)) / fraction)} left`
        : "",
  };
}

/** 1234567 as 1,234,567. */
export const formatCount = (n: number): string => n.toLocaleString("en-US");

/** 1 row, 1,234 rows. */
export const counted = (n: number, unit: string): string => `${formatCount(n)} ${unit}${n === 1 ? "" : "s"}`;

/** Seconds as people say them: 0.35 ms, 850 ms, 12 s, 3 min 20 s, 2 h 5 min. */
export function formatDuration(seconds: number): string {
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(2)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  const minutes = Math.round(s / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes as people say them, in steps of 1,024. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  // What would be written as 1024.0 is one of the next unit.
  while (value >= (unit === 0 ? 1024 : 1023.95) && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
