/** Which kernels run on this machine. */
import { spawnSync } from "node:child_process";

/** The slowest first. */
const KERNELS_OF: { [architecture: string]: readonly string[] | undefined } = {
  x64: ["scalar", "avx2", "avx512"],
  arm64: ["scalar", "neon"],
};

export function kernelsHere(): { present: string[]; absent: string[] } {
  const all = KERNELS_OF[process.arch] ?? ["scalar"];
  const present = all.filter(runsHere);
  return { present, absent: all.filter((kernel) => !present.includes(kernel)) };
}

/** A kernel that the machine lacks does not load. */
function runsHere(kernel: string): boolean {
  const module = new URL("../native/index.js", import.meta.url).href;
  const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", `await import("${module}")`], {
    env: { ...process.env, HEBB_KERNEL: kernel },
    stdio: "ignore",
  });
  return status === 0;
}
