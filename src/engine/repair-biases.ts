/** What a repair keeps of the biases that a network learned: rows of the graph are the only place that has them. */
import { viewOf } from "../../base/bytes.js";
import { MOST_BIAS } from "../../model/field.js";
import type { SalvagedIndex } from "../../storage/repair-index.js";
import type { BiasChange } from "../../training/state.js";

/** The biases of the edges in rows of the old graph, and the rows where they cannot be read. */
export async function readBiases(
  index: SalvagedIndex,
  biased: readonly number[],
  nodes: number,
): Promise<{ rows: BiasChange[]; lost: number[] }> {
  const { graph_profile: profile, hnsw_m: m } = index.meta.config as { graph_profile: string; hnsw_m: number };
  const [rows, lost]: [BiasChange[], number[]] = [[], []];
  for (const node of biased) {
    const row = await biasesOf(index, node, nodes, profile, m);
    if (row === undefined) lost.push(node);
    else rows.push(row);
  }
  return { rows, lost };
}

/** The biases of the edges in a row, where the row can be read. docs/format.md has its layout. */
async function biasesOf(
  index: SalvagedIndex,
  node: number,
  nodes: number,
  profile: string,
  m: number,
): Promise<BiasChange | undefined> {
  const entry = index.entry("rows");
  if (entry === undefined || index.proofOf(entry, node * entry.stride, entry.stride) !== "sound") return undefined;
  const row = await index.read(entry, node * entry.stride, entry.stride);
  const view = viewOf(row);
  const lanes = profile === "small" ? 2 * m : Math.ceil((2 * m) / 32) * 32;
  const factors = profile === "small" ? 0 : profile === "compact" ? 4 : 8;
  const degree = view.getUint16(8, true);
  if (degree > 2 * m) return undefined;
  const at = 16 + lanes * (4 + factors);
  const [to, values]: [number[], number[]] = [[], []];
  for (let lane = 0; lane < degree; lane++) {
    const [end, value] = [view.getUint32(16 + 4 * lane, true), halfOf(view.getUint16(at + 2 * lane, true))];
    if (value === 0) continue;
    if (!(Math.abs(value) <= MOST_BIAS) || end === node || end >= nodes || to.includes(end)) return undefined;
    to.push(end);
    values.push(value);
  }
  return { node, to: Uint32Array.from(to), values: Float32Array.from(values) };
}

/** The value of an IEEE 754 binary16. */
function halfOf(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
