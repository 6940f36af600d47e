/** Several processes that read one store, each in its own way. */
import type { AnnSet } from "../data.js";
import { recallOf } from "../truth.js";
import type { AnnOptions } from "./options.js";
import { Remote, type RemoteOptions } from "./remote.js";

export interface Store {
  path: string;
  /** What it holds. */
  set: AnnSet;
}

export interface Reader extends RemoteOptions {
  label: string;
  /** Of the adaptive stop; undefined: a walk ends once `ef` are expanded. */
  margin?: number;
}

/** Opens the store in a process for each reader, and ends them when `use` is done. */
export async function withReaders<T>(
  { path, set }: Store,
  { spec, graph }: AnnOptions,
  readers: readonly Reader[],
  use: (remotes: Remote[]) => Promise<T>,
): Promise<T> {
  const remotes = readers.map((reader) => new Remote("hebb", reader));
  try {
    for (const [which, { margin, kernel }] of readers.entries()) {
      await remotes[which].ask("setup", {
        engine: "hebb",
        spec,
        kth: set.kth,
        graph,
        hebb: { profile: "turbo", margin, attach: path },
        folder: path,
      });
      const runs = await remotes[which].ask("attach");
      if (kernel !== undefined && runs !== kernel) throw new Error(`asked for kernel ${kernel}, but ${runs} runs`);
    }
    const result = await use(remotes);
    for (const remote of remotes) await remote.ask("close");
    return result;
  } finally {
    for (const remote of remotes) remote.end();
  }
}

/** The first of rising `efs` at which a pass reaches `recall`; the last where none does. */
export async function efReaching(remote: Remote, set: AnnSet, efs: readonly number[], recall: number): Promise<number> {
  for (const ef of efs) {
    const pass = await remote.ask("pass", { ef, many: false });
    if (recallOf(pass!.rows, set, set.kth) >= recall) return ef;
  }
  return efs[efs.length - 1];
}
