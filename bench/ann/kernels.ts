/** One store searched under each kernel that runs on this machine: the same results, at which speed? */
import { atLeast, type Claim } from "../claims.js";
import { kernelsHere } from "../kernels.js";
import { speedAt } from "../stats.js";
import { count, fixed, table, times } from "../table.js";
import type { AnnOptions } from "./options.js";
import { type Store, withReaders } from "./readers.js";
import { type Swept, sweep } from "./sweep.js";

export interface KernelsResult {
  /** One a kernel, labelled by its name. */
  kernels: Swept[];
  absent: string[];
  atRecall: number;
  /** Queries/s at that recall; undefined where the curve does not get there. */
  speeds: Record<string, number | undefined>;
  identical: boolean;
}

const AT_RECALL = 0.985;

export async function measureKernels(store: Store, options: AnnOptions, claims: Claim[]): Promise<KernelsResult> {
  const { present, absent } = kernelsHere();
  const { efs, repeats } = options;
  const readers = present.map((kernel) => ({ label: kernel, kernel }));
  const result = await withReaders(store, options, readers, async (remotes) => {
    const kernels = await sweep(remotes, { efs, repeats, full: false }, store.set, claims);
    const digests = new Set<string>();
    for (const remote of remotes) digests.add(await remote.ask("digest", { ef: 64 }));
    return {
      kernels,
      absent,
      atRecall: AT_RECALL,
      speeds: Object.fromEntries(kernels.map(({ label, points }) => [label, speedAt(points, AT_RECALL)])),
      identical: digests.size === 1,
    };
  });
  report(result, claims);
  return result;
}

function report({ kernels, absent, speeds, identical }: KernelsResult, claims: Claim[]): void {
  const best = kernels.at(-1)!.label;
  const over = (label: string) => {
    const [own, other] = [speeds[label], speeds[best]];
    return own === undefined || other === undefined ? undefined : own / other;
  };
  const rows = kernels.map(({ label, points }) => [
    label,
    speeds[label] === undefined ? "-" : count(speeds[label]),
    times(over(label)),
    fixed(points.at(-1)!.recall),
  ]);
  console.log(`\n${table(["kernel", `queries/s at ${AT_RECALL}`, `of ${best}`, "best recall"], rows)}`);
  if (absent.length > 0) console.log(`not on this machine: ${absent.join(" ")}`);
  claims.push({
    name: "every kernel gives the same ids and distances",
    kind: "assertion",
    holds: identical,
    figure: identical ? `bit for bit: ${kernels.map(({ label }) => label).join(" ")}` : "they differ",
  });
  if (best !== "avx512") return;
  claims.push(atLeast(`avx2 over avx512 at recall ${AT_RECALL}`, over("avx2"), 0.6, times));
}
