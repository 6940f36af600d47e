/** Every compiled kernel gives the same bits; the forced one is the one that runs. */
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { dot, l2, scoreRows } from "../../native/index.js";

const program = fileURLToPath(new URL("./kernel-digest.mjs", import.meta.url));
const run = (kernel: string) =>
  spawnSync(process.execPath, [program], { encoding: "utf8", env: { ...process.env, HEBB_KERNEL: kernel } });

/** Kernels of this architecture; those that the processor lacks are refused, which is a test of its own. */
const names = process.arch === "x64" ? ["scalar", "avx2", "avx512"] : ["scalar", "neon"];

interface Digest {
  kernel: string;
  operations: string;
  search: string;
}

test("every kernel of this processor gives the same bits, in every operation and in whole searches", () => {
  const reference = JSON.parse(execFileSync(process.execPath, [program], { encoding: "utf8" })) as Digest;
  let ran = 0;
  for (const name of names) {
    const done = run(name);
    if (done.status !== 0) {
      expect(done.stderr, `${name} failed for another reason than the processor`).toMatch(/processor cannot run/);
      continue;
    }
    const digest = JSON.parse(done.stdout) as Digest;
    expect(digest).toEqual({ ...reference, kernel: name });
    ran++;
  }
  expect(ran).toBeGreaterThanOrEqual(1);
});

test("an unknown kernel is refused, and the valid ones are listed", () => {
  const done = run("sse9");
  expect(done.status).not.toBe(0);
  expect(done.stderr).toMatch(/KERNEL_UNAVAILABLE/);
  for (const name of names) expect(done.stderr).toContain(name);
});

test("rows scored in one call get what they get one by one, each at its place, and the other places keep what they had", () => {
  const prng = new Prng(11);
  const kept = 7;
  for (let d = 1; d <= 130; d++) {
    const count = 1 + prng.below(6);
    const query = Float32Array.from({ length: d }, () => prng.gaussian());
    const rows = Float32Array.from({ length: count * d }, () => prng.gaussian());
    const slots = Uint32Array.from({ length: count + 2 }, () => prng.below(count));
    const places = Uint32Array.from(slots, (_, i) => 2 * i + 1);
    for (const isL2 of [false, true]) {
      const out = new Float64Array(2 * slots.length).fill(kept);
      scoreRows(isL2, query, rows, slots, out, places);
      const expected = new Float64Array(out.length).fill(kept);
      slots.forEach((slot, i) => {
        const row = rows.subarray(slot * d, (slot + 1) * d);
        expected[places[i]!] = isL2 ? -l2(query, row) : dot(query, row);
      });
      expect(out).toEqual(expected);
    }
  }
});

test("rows and places that do not exist are refused", () => {
  const [query, rows, out] = [new Float32Array(3), new Float32Array(6), new Float64Array(2)];
  const score = (slots: number[], places: number[]) => () =>
    scoreRows(false, query, rows, Uint32Array.from(slots), out, Uint32Array.from(places));
  expect(score([0, 1], [1, 0])).not.toThrow();
  expect(score([2], [0])).toThrow(/past the last row/);
  expect(score([0], [2])).toThrow(/past the last score/);
  expect(score([0, 1], [0])).toThrow(/a place for each slot/);
});
