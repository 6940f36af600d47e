/** Access traces: which key was asked for, in order, as numbers from 0 in the order of their first use. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../base/prng.js";
import { dataFolder, UsageError } from "../data.js";

export interface Trace {
  name: string;
  accesses: Uint32Array;
  keys: number;
}

/** Files that are known, and how a key is written in them. */
const FILES: { file: string; bytes: number; read: (from: Buffer, at: number) => number | bigint }[] = [
  { file: "scarab-recs.trace.xz", bytes: 8, read: (from, at) => from.readBigInt64BE(at) },
  { file: "web07.trace.xz", bytes: 4, read: (from, at) => from.readInt32LE(at) },
];

/** @throws {UsageError} where there is no such trace, or no `xz` to unpack it with */
export function loadTrace(data: string): Trace {
  if (data === "zipf") return zipfTrace();
  const folder = dataFolder(data);
  const known = FILES.find(({ file }) => existsSync(join(folder, file)));
  if (!known) throw new UsageError(`${folder} holds none of ${FILES.map(({ file }) => file).join(", ")}`);
  const { stdout, status, error, stderr } = spawnSync("xz", ["-dc", join(folder, known.file)], { maxBuffer: 1 << 28 });
  if (error && "code" in error && error.code === "ENOENT") {
    throw new UsageError(
      `${known.file} is unpacked by xz, which is not installed; install it, or leave out the part traces`,
    );
  }
  if (status !== 0) throw new Error(`xz -dc ${known.file}: ${error?.message ?? String(stderr)}`);
  const keys = Array.from({ length: stdout.length / known.bytes }, (_, i) => known.read(stdout, i * known.bytes));
  return { name: data, ...numbered(keys) };
}

/** Skewed, and with favourites that change: each quarter of the accesses has another order of the keys. */
function zipfTrace({ keys = 1000, accesses = 8000, seed = 1 } = {}): Trace {
  const random = new Prng(seed);
  const chosen: number[] = [];
  let order: number[] = [];
  for (let i = 0; i < accesses; i++) {
    if (i % (accesses / 4) === 0) order = random.shuffle(Array.from({ length: keys }, (_, key) => key));
    chosen.push(order[Math.min(keys - 1, Math.floor(keys ** random.next()) - 1)]); // rank r with density 1 / r
  }
  return { name: "zipf", ...numbered(chosen) };
}

function numbered(keys: readonly (number | bigint)[]): { accesses: Uint32Array; keys: number } {
  const numbers = new Map<number | bigint, number>();
  const accesses = Uint32Array.from(keys, (key) => {
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, numbers.size);
    return numbers.size - 1;
  });
  return { accesses, keys: numbers.size };
}
