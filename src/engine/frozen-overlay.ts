/**
 * What a bundle pins of what was learned: the query adapter and the shifted rows that the gate let serve. A search asks
 * with the query as the adapter turns it, and shifted rows compete by where they were shifted to (model/overlay.ts).
 *
 * Section `adapter` has basis and output (f32, rank x dimensions each), `shifted` the rows' numbers (u32, ascending),
 * `shifts` their vectors, moved (f32; of unit length under cosine).
 */
import type { Metric } from "../../base/types.js";
import { type Adapter, adapterForward, project } from "../../model/adapter.js";
import { normalize } from "../../model/scoring.js";
import { firstNonFinite, scoreRows } from "../../native/index.js";
import { corruptBundle } from "../../storage/bundle-errors.js";
import type { FrozenParameters } from "./frozen-parameters.js";

const NOTHING = new Uint8Array(0);

/** Bytes on their own, so that they can be seen as words. */
const words = (bytes: Uint8Array): ArrayBuffer => Uint8Array.from(bytes).buffer;

export class FrozenOverlay {
  /** A bit for each row that is not shifted, and how many there are; undefined where none is. */
  readonly others: { bits: Uint32Array; count: number } | undefined;
  private readonly numbers: ReadonlySet<number>;
  private readonly scores: Float64Array;
  private readonly places: Uint32Array;

  private constructor(
    private readonly metric: Metric,
    private readonly adapter: Adapter | undefined,
    private readonly shifted: Uint32Array,
    private readonly vectors: Float32Array,
    rows: number,
  ) {
    this.numbers = new Set(shifted);
    this.scores = new Float64Array(shifted.length);
    this.places = Uint32Array.from(shifted.keys());
    if (shifted.length === 0) return;
    const bits = new Uint32Array(Math.ceil(rows / 32)).fill(0xffffffff);
    if (rows % 32 > 0) bits[bits.length - 1] = 2 ** (rows % 32) - 1;
    for (const row of shifted) bits[row >>> 5] &= ~(1 << (row & 31));
    this.others = { bits, count: rows - shifted.length };
  }

  /**
   * @param read a copy of a section
   * @throws {HebbError} BUNDLE_CORRUPT for rows that are not there or in no order, and for values that are not finite
   */
  static read(
    { dimensions, metric, rows, overlay }: FrozenParameters,
    read: (section: "adapter" | "shifted" | "shifts") => Uint8Array,
  ): FrozenOverlay {
    const rank = overlay?.adapterRank ?? 0;
    const values = new Float32Array(words(rank > 0 ? read("adapter") : NOTHING));
    const [basis, output] = [values.subarray(0, rank * dimensions), values.subarray(rank * dimensions)];
    const any = overlay !== null && overlay.shifted > 0;
    const shifted = new Uint32Array(words(any ? read("shifted") : NOTHING));
    const shifts = new Float32Array(words(any ? read("shifts") : NOTHING));
    for (const [section, floats] of Object.entries({ adapter: values, shifts })) {
      const at = firstNonFinite(floats);
      if (at >= 0)
        throw corruptBundle(`section ${section}: value ${at} is ${floats[at]}; expected finite ones`, { section });
    }
    const place = shifted.findIndex((row, i) => row >= rows || (i > 0 && row <= shifted[i - 1]));
    if (place >= 0)
      throw corruptBundle(
        `section shifted: number ${place} is ${shifted[place]}; expected rows of ${rows}, ascending`,
        {
          section: "shifted",
        },
      );
    return new FrozenOverlay(metric, rank > 0 ? { dimensions, rank, basis, output } : undefined, shifted, shifts, rows);
  }

  /** Rows that are shifted. */
  get size(): number {
    return this.shifted.length;
  }

  /** The query as it is asked with. */
  ask(query: Float32Array): Float32Array {
    if (this.adapter === undefined && this.size === 0) return query;
    const own = Float32Array.from(query);
    if (this.metric === "cosine") normalize(own);
    if (this.adapter === undefined) return own;
    const out = new Float32Array(own.length);
    const h = new Float32Array(this.adapter.rank);
    project(this.adapter, own, h);
    adapterForward(this.adapter, this.metric, own, h, out);
    return out;
  }

  /** The k nearest of the first `count` nodes, those that are shifted left out, and of the shifted rows. */
  merge(
    asked: Float32Array,
    k: number,
    nodes: Uint32Array,
    distances: Float32Array,
    count: number,
  ): [Uint32Array, Float32Array, number] {
    const { scores, places, shifted } = this;
    scoreRows(this.metric === "l2", asked, this.vectors, places, scores, places);
    const all = Array.from(shifted, (node, i) => ({
      node,
      distance: Math.fround(this.metric === "cosine" ? Math.max(0, 1 - scores[i]) : 0 - scores[i]),
    }));
    for (let i = 0; i < count; i++) {
      if (!this.numbers.has(nodes[i])) all.push({ node: nodes[i], distance: distances[i] });
    }
    all.sort((a, b) => a.distance - b.distance || a.node - b.node);
    const best = all.slice(0, k);
    return [
      Uint32Array.from(best, ({ node }) => node),
      Float32Array.from(best, ({ distance }) => distance),
      best.length,
    ];
  }
}
