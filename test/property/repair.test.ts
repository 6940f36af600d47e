/**
 * Bytes at random in files at random, with checksums that hold or do not: a repair ends with a store that passes its
 * check and needs no second repair, and whose rows are rows that were put; or with a typed error and nothing changed.
 * A failure prints its seed; `HEBB_SEED=n` replays it.
 */
import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { HebbError, open, repair } from "../../src/index.js";
import { changeBytes, forge, metaOf } from "../support/damage.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";
import { long } from "../support/seed.js";
import { range } from "../support/tiers.js";

const RUNS = Number(process.env.HEBB_RUNS ?? (long ? 400 : 5));
const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const path = scratch();
const [n, d] = [300, 8];
const rows = randomRows(n, d, 2);

/** A store with something in every section and, where its writer died, in its log. */
async function make(name: string, keep: boolean, dies: boolean): Promise<string> {
  const config = { ruvector: { hnsw_m: 4 }, storage: { keep_originals: keep }, learning: { rank: 2 } } as object;
  const index = await open(path(`${name}-living`), { dimensions: d, metric: "cosine", config, indexes: ["i"] });
  const put = (ids: number[]) =>
    index.putMany({
      ids,
      vectors: Float32Array.from(ids.flatMap((i) => [...rowOf(rows, i, d)])),
      payloads: ids.map((i) => ({ i, text: `row ${i}` })),
    });
  await put(range(n - 20));
  await index.settle();
  await index.retier({ force: "cold" });
  await index.learn(range(10).map((i) => ({ query: rowOf(rows, i, d).slice(), chosen: [i + 1] })));
  await index.gradients.accumulate(range(4).map((i) => ({ id: i, gradient: rowOf(rows, i, d).slice() })));
  await index.delete([30, 31]);
  await index.checkpoint();
  await put(range(10, n - 20));
  await index.delete([32]);
  await put(range(10, n - 10));
  if (dies) cpSync(path(`${name}-living`), path(name), { recursive: true });
  await index.close();
  if (!dies) cpSync(path(`${name}-living`), path(name), { recursive: true });
  return path(name);
}

/** Damages a store once; says how. */
function damage(directory: string, prng: Prng): string {
  const files = [
    "index.hebb",
    "index.hebb",
    "catalog.sqlite",
    ...readdirSync(join(directory, "wal")).map((name) => `wal/${name}`),
  ];
  const name = files[prng.below(files.length)];
  const file = join(directory, name);
  const { size } = statSync(file);
  const kind = prng.below(10);
  if (kind === 0) {
    const length = prng.below(size);
    truncateSync(file, length);
    return `${name} cut to ${length}`;
  }
  const { sections } = metaOf(directory);
  const section = sections[prng.below(sections.length)];
  if (kind < 5 && section.kind !== 0 && section.length > 0) {
    const at = prng.below(section.length - 4);
    forge(
      directory,
      section.name,
      at,
      Uint8Array.from({ length: 4 }, () => prng.below(256)),
    );
    return `section ${section.name} forged at ${at}`;
  }
  const at = prng.below(size);
  const length = 1 + prng.below(prng.below(3) === 0 ? 5000 : 16);
  changeBytes(file, at, length, () => prng.below(256));
  return `${length} bytes of ${name} changed at ${at}`;
}

function bytesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/LOCK$|-shm$|-wal$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => `${file} ${readFileSync(file).toString("base64")}`);
}

test("random damage", async () => {
  const stores = await Promise.all([
    make("closed", true, false),
    make("killed", true, true),
    make("lossy", false, true),
  ]);
  const seen = { repaired: 0, lossless: 0, refused: 0 };
  for (let run = 0; run < RUNS; run++) {
    const seed = process.env.HEBB_SEED === undefined ? SEED + run : SEED;
    const prng = new Prng(seed);
    const directory = path("damaged");
    cpSync(stores[prng.below(stores.length)], directory, { recursive: true });
    const done: string[] = [];
    try {
      for (let i = prng.below(3); i >= 0; i--) done.push(damage(directory, prng));
    } catch {
      // A meta slot was hit: there are no sections to find any more.
    }
    const replay = `HEBB_SEED=${seed}: ${done.join("; ")}`;
    const before = bytesOf(directory);
    try {
      const told = await repair(directory);
      if (!told.ok) expect(bytesOf(directory), replay).toEqual(before);
      const report = told.ok ? told : await repair(directory, { acceptLoss: true });
      expect(report, replay).toMatchObject({ ok: true, lost: told.lost });
      seen[report.lost.length > 0 ? "repaired" : "lossless"]++;
      const index = await open(directory);
      expect((await index.check()).faults, replay).toEqual([]);
      for (const { id, vector, payload } of index.entries()) {
        if (payload !== undefined) expect(payload, replay).toEqual({ i: id, text: `row ${id}` });
        expect(vector, replay).toHaveLength(d);
      }
      await index.close();
      expect(await repair(directory), replay).toMatchObject({ ok: true, repaired: false, faults: [] });
    } catch (error) {
      if (!(error instanceof HebbError)) throw error;
      if (!/_CORRUPT$|NOT_A_STORE|STORE_VERSION|STORE_MISMATCH/.test(error.code))
        throw new Error(replay, { cause: error });
      seen.refused++;
      expect(bytesOf(directory), `${replay}: ${error.message}`).toEqual(before);
    }
    rmSync(directory, { recursive: true });
    if (process.env.HEBB_SEED !== undefined) break;
  }
  if (process.env.HEBB_SAY) console.log(JSON.stringify(seen));
  expect(seen.repaired + seen.lossless + seen.refused).toBeGreaterThan(0);
});
