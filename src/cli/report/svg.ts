/** What charts in SVG are drawn with, here and in bench/: colours, ticks, marks. */

/** Colours of Okabe & Ito (2008), told apart by colour-blind readers too, once for light and once for dark ground. */
export const COLOURS = [
  { light: "#d55e00", dark: "#ff8c42" },
  { light: "#0072b2", dark: "#56b4e9" },
  { light: "#00875f", dark: "#3ddba4" },
  { light: "#a0508a", dark: "#e49ac8" },
  { light: "#9a6700", dark: "#f0e442" },
  { light: "#5a5f66", dark: "#b8bec6" },
];

/** Text for HTML and SVG, in elements and in quoted attributes. */
export const escapeXml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** Ticks 1, 2, 5 of each power of ten within [low, high]. */
export function logTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of [1, 2, 5]) {
      const tick = digit * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

/** Few ticks for a log axis: all of `logTicks`, or the powers of ten alone where those are many. */
export const sparseLogTicks = (low: number, high: number): number[] => {
  const all = logTicks(low, high);
  return all.length > 7 ? all.filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e9) / 1e9)) : all;
};

/** About `wanted` round ticks within [low, high]. */
export function linearTicks(low: number, high: number, wanted = 6): number[] {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.999) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(10)),
  );
}

/** One mark for each series, so that shape tells them apart as well as colour. */
export function mark(kind: number, x: number, y: number): string {
  const at = (dx: number, dy: number) => `${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`;
  switch (kind % 6) {
    case 0:
      return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4.5"/>`;
    case 1:
      return `<rect x="${(x - 4).toFixed(1)}" y="${(y - 4).toFixed(1)}" width="8" height="8"/>`;
    case 2:
      return `<polygon points="${at(0, -5.5)} ${at(5, 4)} ${at(-5, 4)}"/>`;
    case 3:
      return `<polygon points="${at(0, -5.5)} ${at(5.5, 0)} ${at(0, 5.5)} ${at(-5.5, 0)}"/>`;
    case 4:
      return `<polygon points="${at(0, 5.5)} ${at(5, -4)} ${at(-5, -4)}"/>`;
    default:
      return `<rect x="${(x - 5).toFixed(1)}" y="${(y - 2).toFixed(1)}" width="10" height="4"/>`;
  }
}
