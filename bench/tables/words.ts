/** A cell of a table: words, and the figures in them that `compare` holds against another record's. */
import { count } from "../table.js";

export interface Figure {
  value: number;
  /** As it is written. */
  text: string;
  /** Of recall and nDCG: by how much it may fall, absolutely, before `compare` fails. Undefined for what depends on the machine. */
  mayFall?: number;
}

export interface Words {
  text: string;
  figures: Figure[];
}

/** words`${speed(x)}, ${ratio(y)} of it`: the text as it reads, and the figures in their order. */
export function words(parts: TemplateStringsArray, ...values: readonly (Figure | string)[]): Words {
  const text = parts.reduce((all, part, i) => {
    const value = values[i - 1];
    return all + (typeof value === "string" ? value : value.text) + part;
  });
  return { text, figures: values.filter((value) => typeof value !== "string") };
}

/** What a run did not give is written so, and compared with nothing. */
export const NOT_MEASURED = "not measured";

const figure = (value: number | undefined, show: (value: number) => string, mayFall?: number): Figure =>
  value === undefined || !Number.isFinite(value)
    ? { value: Number.NaN, text: NOT_MEASURED }
    : { value, text: show(value), mayFall };

/** .517, without the 0 before the point; 1.000 stays. */
const short = (value: number, digits: number) => value.toFixed(digits).replace(/^(-?)0\./, "$1.");

/**
 * Falls that no noise explains. A graph that two threads build links in another order each time, which moves recall@10 by .002 or
 * less; .01 is also what `churn` may lose. nDCG is of a few hundred queries: half of its 95% intervals' width is .02 to .03, and
 * learning takes another course when a floating-point sum changes.
 */
const MAY_FALL = { recall: 0.01, ndcg: 0.02 } as const;

/** 1.000 only where nothing is missing: .9996 keeps its last digit. */
export const recall = (value: number | undefined, digits = 3): Figure =>
  figure(value, (x) => short(x, x < 1 && x >= 1 - 0.5 * 10 ** -digits ? 4 : digits), MAY_FALL.recall);

export const ndcg = (value: number | undefined): Figure => figure(value, (x) => short(x, 3), MAY_FALL.ndcg);

export const plain = (value: number | undefined, digits = 3): Figure => figure(value, (x) => short(x, digits));

export const percent = (value: number | undefined, digits = 0): Figure =>
  figure(value, (x) => `${(x * 100).toFixed(digits)}%`);

/** 12,345: counts, and whatever a second. */
export const speed = (value: number | undefined): Figure => figure(value, count);

export const ratio = (value: number | undefined, digits = 2): Figure => figure(value, (x) => `${short(x, digits)}x`);

/** Milliseconds, two significant digits below 10. */
export const ms = (value: number | undefined): Figure =>
  figure(value, (x) => `${x < 1 ? short(x, x < 0.1 ? 3 : 2) : x.toFixed(x < 10 ? 1 : 0)} ms`);
