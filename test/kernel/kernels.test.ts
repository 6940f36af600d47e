/** Every compiled kernel gives the same bits; the forced one is the one that runs. */
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

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
