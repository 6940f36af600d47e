/**
 * Prints what the kernel makes of frozen bundles, as digests by configuration: one process a kernel, because the choice is
 * made once. `frozen-digest.mjs fill FOLDER` puts the indexes that all of them freeze into a folder; without `fill` they
 * are frozen from there, and the bundles searched.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng } from "../../dist/base/prng.js";
import { kernelName } from "../../dist/native/index.js";
import { open } from "../../dist/src/index.js";

/** Widths of one word and of several, whole, short and long of one: whatever a kernel takes at once. */
const WIDTHS = [64, 100, 128, 192, 200, 768, 1000, 1024];
const SIZES = [7, 1023];
const METRICS = ["l2", "cosine", "dot"];
const ROTATIONS = ["hadamard", "haar"];
/** Wider vectors, whose rotations and graphs take long, under one metric each. */
const WIDE = 512;

const [first, second] = process.argv.slice(2);
const folder = second ?? first;
const nameOf = (d, n, metric) => join(folder, `${metric}-${d}-${n}`);
const gaussian = (count, seed) => {
  const prng = new Prng(seed);
  return Float32Array.from({ length: count }, () => prng.gaussian());
};
const configurations = WIDTHS.flatMap((d, i) => {
  const metrics = d > WIDE ? [METRICS[i % METRICS.length]] : METRICS;
  return SIZES.flatMap((n) => metrics.map((metric) => ({ d, n, metric })));
});

if (first === "fill") {
  for (const { d, n, metric } of configurations) {
    const index = await open(nameOf(d, n, metric), {
      dimensions: d,
      metric,
      durability: "off",
      config: { ruvector: { hnsw_m: 4, hnsw_ef_construction: 16 } },
    });
    await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: gaussian(n * d, d + n) });
    await index.settle();
    await index.close();
  }
} else {
  const digests = {};
  const scratch = mkdtempSync(join(tmpdir(), "hebb-frozen-kernel-"));
  try {
    for (const { d, n, metric } of configurations) {
      const index = await open(nameOf(d, n, metric), { readOnly: true });
      const queries = gaussian(6 * d, d - n);
      for (const [i, rotation] of ROTATIONS.entries()) {
        const bits = 1 + ((d + n + i) % 8);
        const frozen = await index.freeze(join(scratch, "frozen"), { rotation, seed: d, bits });
        const hash = createHash("sha256");
        const add = (hits) => {
          for (const { id, distance } of hits) hash.update(`${id} ${distance};`); // all digits of a float32, and more
        };
        for (const options of [{}, { rerankFactor: 0 }, { mode: "graph", ef: 12 }]) {
          for (let q = 0; q < 6; q++) add(frozen.search(queries.subarray(q * d, (q + 1) * d), { k: 10, ...options }));
          for (const hits of await frozen.searchMany(queries, { k: 10, ...options })) add(hits);
        }
        const { scans, kernel } = frozen.stats();
        if (kernel !== kernelName) throw new Error("stats() names another kernel");
        digests[`${metric} ${d} x ${n}, ${rotation}, ${bits} bits`] = {
          witness: frozen.witness,
          answers: hash.digest("hex"),
          work: JSON.stringify(scans),
        };
        await frozen.close();
      }
      await index.close();
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  console.log(JSON.stringify({ kernel: kernelName, digests }));
}
