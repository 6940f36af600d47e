/** Every compiled kernel trains and serves the network with the same bits. */
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("./gnn-digest.mjs", import.meta.url));

/** Kernels of this architecture; those that the processor lacks are refused. */
const names = process.arch === "x64" ? ["scalar", "avx2", "avx512"] : ["scalar", "neon"];

test("every kernel of this processor gives the same bits", () => {
  const reference: unknown = JSON.parse(execFileSync(process.execPath, [program], { encoding: "utf8" }));
  let ran = 0;
  for (const name of names) {
    const env = { ...process.env, HEBB_KERNEL: name };
    const done = spawnSync(process.execPath, [program], { encoding: "utf8", env });
    if (done.status !== 0) {
      expect(done.stderr, `${name} failed for another reason than the processor`).toMatch(/processor cannot run/);
      continue;
    }
    expect(JSON.parse(done.stdout)).toEqual({ ...(reference as object), kernel: name });
    ran++;
  }
  expect(ran).toBeGreaterThanOrEqual(1);
});
