/** Rows of a map in a few groups, by a field of their payloads. */
import type { Json, Payload } from "../../index.js";

/** Groups that have a colour of their own; what is in no such is in the last. */
const MOST_GROUPS = 6;
/** Ranges of numbers, where those are many. */
const RANGES = 5;

export interface Grouping {
  names: string[];
  /** Of each row its group's place in `names`. */
  of: number[];
}

/** Groups by what `fieldOf` gives, which may be dotted: the commonest values, or ranges of numbers that are all different. */
export function groupsBy(field: string, payloads: readonly (Payload | undefined)[]): Grouping {
  const values = payloads.map((payload) => fieldOf(payload, field));
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.length > 0 && new Set(numbers).size > MOST_GROUPS && numbers.length * 2 > values.length) {
    return rangesOf(values, numbers);
  }
  const names = values.map((value) =>
    typeof value === "string" ? value : value === undefined ? NONE : JSON.stringify(value),
  );
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const common = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([name]) => name);
  const shown = common.length > MOST_GROUPS ? common.slice(0, MOST_GROUPS - 1) : common;
  const rest = common.length > shown.length ? [`${common.length - shown.length} other values`] : [];
  const of = names.map((name) => (shown.includes(name) ? shown.indexOf(name) : shown.length));
  return { names: [...shown, ...rest], of };
}

const NONE = "without it";

/** Ranges with about as many numbers in each. */
function rangesOf(values: readonly (Json | undefined)[], numbers: readonly number[]): Grouping {
  const sorted = [...numbers].sort((a, b) => a - b);
  const from = Array.from({ length: RANGES }, (_, i) => sorted[Math.floor((i * sorted.length) / RANGES)]!);
  const starts = [...new Set(from)];
  const names = starts.map((start, i) =>
    i + 1 < starts.length ? `${start} to below ${starts[i + 1]}` : `${start} to ${sorted.at(-1)}`,
  );
  const isWhole = numbers.length === values.length;
  const of = values.map((value) =>
    typeof value === "number" ? starts.filter((start) => start <= value).length - 1 : starts.length,
  );
  return { names: isWhole ? names : [...names, NONE], of };
}

function fieldOf(payload: Payload | undefined, field: string): Json | undefined {
  let value: Json | undefined = payload;
  for (const part of field.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, part))
      return undefined;
    value = value[part];
  }
  return value;
}
