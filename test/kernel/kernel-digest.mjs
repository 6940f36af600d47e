// Prints what the kernel computes, as digests: one process a kernel, because the choice is made once.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng } from "../../dist/base/prng.js";
import { crc32c, dot, firstNonFinite, kernelName, l2, scoreRows } from "../../dist/native/index.js";
import { open } from "../../dist/src/index.js";

const prng = new Prng(7);
const operations = createHash("sha256");
for (const d of [...Array.from({ length: 130 }, (_, i) => i + 1), 784, 1000, 1024]) {
  const a = Float32Array.from({ length: d + 3 }, () => prng.gaussian());
  const b = Float32Array.from({ length: d + 3 }, () => prng.gaussian());
  for (let shift = 0; shift < 3; shift++) {
    const x = a.subarray(shift, shift + d);
    const y = b.subarray(shift, shift + d);
    x[d >> 1] = shift === 1 ? 0 : shift === 2 ? 1e-41 : x[d >> 1];
    operations.update(Buffer.from(Float32Array.of(l2(x, y), dot(x, y)).buffer));
    const rows = a.subarray(0, Math.floor(a.length / d) * d);
    const scores = new Float64Array(2);
    for (const [place, isL2] of [false, true].entries())
      scoreRows(isL2, y, rows, Uint32Array.of(rows.length / d - 1), scores, Uint32Array.of(place));
    operations.update(Buffer.from(scores.buffer));
    operations.update(String([firstNonFinite(x), crc32c(new Uint8Array(x.buffer, x.byteOffset, x.byteLength))]));
  }
}

// A graph depends on what is linked together, never on threads.
const search = createHash("sha256");
const folder = mkdtempSync(join(tmpdir(), "hebb-kernel-"));
try {
  for (const metric of ["l2", "cosine", "dot"]) {
    const d = 33;
    const index = await open(join(folder, metric), {
      dimensions: d,
      metric,
      durability: "off",
      config: { ruvector: { hnsw_m: 8 } },
    });
    for (const n of [1500, 1, 300]) {
      const vectors = Float32Array.from({ length: n * d }, () => prng.gaussian());
      await index.putMany({ ids: Array.from({ length: n }, (_, i) => `${n}-${i}`), vectors });
      await index.settle();
    }
    for (let i = 0; i < 50; i++) {
      const query = Float32Array.from({ length: d }, () => prng.gaussian());
      for (const { id, distance } of index.search(query, { k: 10, ef: 20 })) search.update(`${id} ${distance};`);
    }
    if (index.stats().kernel !== kernelName) throw new Error("stats() names another kernel");
    await index.close();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(JSON.stringify({ kernel: kernelName, operations: operations.digest("hex"), search: search.digest("hex") }));
