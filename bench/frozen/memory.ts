/** What codes of fewer and more bits take, and what they find alone and with vectors compared. */
import type { Claim } from "../claims.js";
import { count, fixed, table } from "../table.js";
import { recallOf } from "../truth.js";
import { FLOOR } from "./contest.js";
import { foundIn } from "./hits.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Stores } from "./stores.js";

const BITS = [1, 2, 4, 8] as const;
const RERANK = 20;

export interface MemoryFigures {
  data: string;
  rows: number;
  dimensions: number;
  bits: number;
  /** Codes with their factors, and the whole bundle. */
  codeBytesPerVector: number;
  bytesPerVector: number;
  /** By estimates alone, and with at most 20 k vectors compared. */
  recallOfCodes: number;
  recall: number;
  /** A query's: codes in planes looked at, vectors compared. */
  looked: number;
  compared: number;
}

export async function measureMemory(
  stores: Stores,
  { generated, real, smoke }: FrozenOptions,
  claims: Claim[],
): Promise<MemoryFigures[]> {
  const results: MemoryFigures[] = [];
  for (const spec of [generated, real]) {
    const { path, set } = await stores.of(spec);
    const { k, kth, queries, nq } = set;
    for (const bits of BITS) {
      const figures = await stores.withBundle(path, { bits }, async (frozen): Promise<MemoryFigures> => {
        const recallWith = async (rerankFactor: number) =>
          recallOf(foundIn(await frozen.searchMany(queries, { k, rerankFactor, include: [] }), k).rows, set, kth);
        const recallOfCodes = await recallWith(0);
        const before = frozen.stats().scans;
        const recall = await recallWith(RERANK);
        const { scans, codes, bytes } = frozen.stats();
        return {
          data: set.name,
          rows: set.n,
          dimensions: set.d,
          bits,
          codeBytesPerVector: codes.bytesPerVector,
          bytesPerVector: bytes.total / set.n,
          recallOfCodes,
          recall,
          looked: (scans.looked - before.looked) / nq,
          compared: (scans.compared - before.compared) / nq,
        };
      });
      results.push(figures);
      claims.push(...claimsOf(figures, smoke));
    }
  }
  report(results);
  return results;
}

function report(results: readonly MemoryFigures[]): void {
  const lines = results.map((one) => [
    `${one.data}: ${count(one.rows)} x ${one.dimensions}, ${inBits(one.bits)}`,
    one.codeBytesPerVector.toFixed(1),
    `${((4 * one.dimensions) / one.codeBytesPerVector).toFixed(1)}x`,
    one.bytesPerVector.toFixed(0),
    fixed(one.recallOfCodes),
    fixed(one.recall),
    one.looked.toFixed(1),
    one.compared.toFixed(1),
  ]);
  const header = ["", "code bytes/vector", "fewer than f32", "bundle bytes/vector", "recall of codes"];
  header.push(`with ${RERANK} k compared`, "looked", "compared");
  console.log(`\n${table(header, lines)}`);
}

/** Small sets have few neighbours to find; of generated clusters codes alone tell less. */
function claimsOf({ data, bits, recall, compared }: MemoryFigures, smoke: boolean): Claim[] {
  const name = `${data}, ${inBits(bits)}:`;
  const bar = smoke ? 0.95 : FLOOR;
  return [
    {
      name: `${name} recall with at most ${RERANK} k vectors compared >= ${bar}`,
      kind: "assertion",
      holds: recall >= bar,
      figure: `${fixed(recall)}, ${compared.toFixed(1)} compared`,
    },
  ];
}
