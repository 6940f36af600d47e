/**
 * Errors. A caller's mistake is a TypeError or RangeError; an operating fault is a HebbError
 * whose `code` is stable across releases. Every message names the thing, the value, what was
 * expected and the next step.
 */

/** Stable codes of operating faults. Remedies are in docs/operating.md. */
export type ErrorCode =
  | "STORE_LOCKED" // another handle or process has the store open in a way that excludes this
  | "STORE_EXISTS" // a new store, or a backup, where something already is
  | "STORE_NOT_FOUND" // opened without what creating needs, and nothing is there
  | "NOT_A_STORE" // the path is a file, or a directory that holds something else
  | "STORE_VERSION" // written by a newer release, or a format no longer read
  | "STORE_MISMATCH" // dimensions, metric or config contradict what is stored
  | "STORE_READ_ONLY" // a write on a read-only handle, or such a handle asked for where a killed writer left changes in the log
  | "STORE_POISONED" // a write to disk failed, or a mapped page was lost, earlier; the handle is read-only now
  | "STORE_FULL" // max_nodes would be passed
  | "INDEX_CLOSED" // the handle was closed
  | "INDEX_EMPTY" // nothing to freeze
  | "TIER_UNTRAINED" // too few rows for the codebook of a tier to freeze in
  | "INDEX_CORRUPT" // damage in index.hebb
  | "JOURNAL_CORRUPT" // damage in index.hebb-journal after its commit point, or one that is not of this index.hebb
  | "WAL_CORRUPT" // damage in the log at a record that was known durable
  | "CATALOG_CORRUPT" // damage in catalog.sqlite
  | "NOT_A_BUNDLE" // no frozen bundle at the path, or a directory that holds something else where one is to be written
  | "BUNDLE_VERSION" // a frozen bundle of a newer release
  | "BUNDLE_CORRUPT" // a manifest that breaks a rule, a section's file that is gone or of another size, or one that contradicts itself
  | "WITNESS_MISMATCH" // a section's file does not hold what the bundle's witness vouches for
  | "DISK_FULL" // no space left; nothing was changed
  | "IO_ERROR" // any other failed read, write or sync; with `details.lost`, of a mapped file
  | "NO_ENCODER" // a text without an encoder
  | "ENCODER_FAILED" // the user's encoder threw or returned something unusable
  | "UNKNOWN_ID" // an id that is not in the store where one must be
  | "CONFIG_INVALID" // config.toml or the config option
  | "BATCH_INCOMPLETE" // an iterable failed part-way; details say how much is in
  | "FILE_EXISTS" // something is where a report is to be written, and is not replaced
  | "FILE_UNSUPPORTED" // an input file of a type or shape that cannot be read
  | "KERNEL_UNAVAILABLE" // the native kernel or SQLite is not built, or the forced kernel cannot run here
  | "NODE_UNSUPPORTED" // a version of Node.js that is too old
  | "ABORTED"; // the caller's signal

/** Codes of damage to a store: what `check` names, and `repair` sees to as far as it can. */
export const DAMAGE_CODES: readonly ErrorCode[] = [
  "INDEX_CORRUPT",
  "JOURNAL_CORRUPT",
  "WAL_CORRUPT",
  "CATALOG_CORRUPT",
];

/** The next step where a repair can help. */
export const REPAIR_OR_RESTORE = 'Run "hebb repair <dir>", or restore the store from a copy';

/** An operating fault: `code` is stable, `details` are plain values, `cause` is what was underneath. */
export class HebbError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, cause?: unknown) {
    super(`${code}: ${message}`, cause === undefined ? undefined : { cause });
    this.name = "HebbError";
    this.code = code;
    this.details = details;
  }
}

/** An error's message without its code: for whoever passes it on, and puts a code in front again. */
export function bareMessage({ code, message }: HebbError): string {
  return message.slice(code.length + 2);
}

/** What anything that was thrown has to say, for the message of an error that it causes. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Edit distance (Levenshtein), for naming the nearest valid word. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The valid word nearest to `word` by edit distance; one that begins with the other is nearer than any misspelling. */
export function nearest(word: string, valid: readonly string[]): string {
  const distance = (v: string) => {
    const [a, b] = [word.toLowerCase(), v.toLowerCase()];
    return a.startsWith(b) || b.startsWith(a) ? 1 / (1 + Math.min(a.length, b.length)) : editDistance(a, b);
  };
  return valid.reduce((best, v) => (distance(v) < distance(best) ? v : best));
}

/** Refuses what is no object of options, and keys that are not in `valid`; the message names the nearest valid one. */
export function checkOptions(what: string, options: object, valid: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const given = Array.isArray(options) ? "an array" : typeof options === "string" ? `"${options}"` : String(options);
    throw new TypeError(`${what}: the options are ${given}; expected an object with any of ${valid.join(", ")}`);
  }
  for (const key of Object.keys(options)) {
    if (!valid.includes(key)) {
      throw new TypeError(
        `${what}: unknown option "${key}"; did you mean "${nearest(key, valid)}"? Valid: ${valid.join(", ")}`,
      );
    }
  }
}

/** With what tells "3" and 3n from 3. */
function notInteger(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** Refuses anything but an integer in [low, high]. */
export function checkInteger(name: string, value: unknown, low: number, high: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`${name} is ${notInteger(value)}; expected an integer from ${low} to ${high}`);
  }
  return value;
}

/** Refuses anything but one of `valid`; the message lists them. */
export function checkOneOf<T extends string>(name: string, value: unknown, valid: readonly T[]): T {
  if (typeof value !== "string" || !(valid as readonly string[]).includes(value)) {
    throw new TypeError(`${name} is ${JSON.stringify(value) ?? String(value)}; expected one of ${valid.join(", ")}`);
  }
  return value as T;
}
