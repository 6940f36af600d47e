/** Every compiled kernel freezes the same bundles, and answers from them the same, to the last bit. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { kernelName } from "../../native/index.js";
import { scratch } from "../support/rows.js";

const program = fileURLToPath(new URL("./frozen-digest.mjs", import.meta.url));
const path = scratch();

/** Kernels of this architecture; those that the processor lacks are refused. */
const names = process.arch === "x64" ? ["scalar", "avx2", "avx512"] : ["scalar", "neon"];

interface Digests {
  kernel: string;
  /** By configuration: the witness of the bundle that this kernel froze, its answers, and what scans did for them. */
  digests: { [configuration: string]: { witness: string; answers: string; work: string } };
}

async function run(kernel: string, ...given: string[]): Promise<string> {
  const env = { ...process.env, HEBB_KERNEL: kernel };
  return (await promisify(execFile)(process.execPath, [program, ...given], { env, maxBuffer: 1 << 24 })).stdout;
}

test("every kernel of this processor freezes the same bundles and gives the same answers", async () => {
  await run(kernelName, "fill", path("indexes"));
  const all = await Promise.all(
    names.map(async (name) => {
      try {
        return JSON.parse(await run(name, path("indexes"))) as Digests;
      } catch (error) {
        expect(String(error), `${name} failed for another reason than the processor`).toMatch(/processor cannot run/);
        return undefined;
      }
    }),
  );
  const ran = all.filter((one) => one !== undefined);
  expect(ran.map(({ kernel }) => kernel)).toEqual(names.filter((_, i) => all[i] !== undefined));
  expect(ran.map(({ kernel }) => kernel)).toContain(kernelName);
  expect(ran.map(({ kernel }) => kernel)).toContain("scalar");
  for (const { digests } of ran) expect(digests).toEqual(ran[0].digests);

  // Each configuration is another one: a digest of nothing would be the same for all.
  const digests = Object.values(ran[0].digests);
  expect(digests).toHaveLength((5 * 3 + 3) * 2 * 2);
  for (const of of ["witness", "answers"] as const) {
    expect(new Set(digests.map((one) => one[of])).size).toBe(digests.length);
  }
});
