/**
 * Lives of a small index in which a call fails: each step is carried out or fails with a code, and what can be seen
 * afterwards is what was acknowledged, in the handle itself and when it is opened again.
 */
import type { ErrorCode } from "../../base/errors.js";
import { HebbError } from "../../base/errors.js";
import { openWith } from "../../src/engine/opening.js";
import type { Durability, Index } from "../../src/index.js";
import { type Entry, failSqlite, sqliteCalls, startTrace, stopTrace } from "../vfs/trace.js";
import {
  after,
  contentsOf,
  EMPTY,
  isSame,
  type Kind,
  type Life,
  noteAllowed,
  OPTIONS,
  perform,
  planned,
  shown,
} from "./index-life.js";
import { TracedFiles } from "./traced-files.js";

/** More failures in a row than the fault that was asked for can explain. */
const MOST_ATTEMPTS = 4;

export interface FaultyLife extends Life {
  /** SQLite's reads. */
  reads: number;
  /** What failed with which code, in their order. */
  failures: { what: string; code: ErrorCode; poisoned: boolean }[];
}

/**
 * @param arm makes calls fail from the beginning of the trace on
 * @throws where a step fails without a code, where what is seen was not acknowledged, or less
 */
export async function liveWithFault(
  directory: string,
  kinds: readonly Kind[],
  durability: Durability,
  arm: (files: TracedFiles) => void,
): Promise<FaultyLife> {
  const traced = new TracedFiles();
  const states = [EMPTY];
  /** Places in `states`: those that may be true, the last one if all went well. */
  let possible = [0];
  const failures: FaultyLife["failures"] = [];
  const allow = (now: number[]) => {
    possible = now;
    noteAllowed(now);
  };
  /** Whether something succeeds; what fails must do so with a code. */
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof HebbError)) throw error;
      failures.push({ what, code: error.code, poisoned: false });
      return false;
    }
  };
  /** What is seen must be possible. @returns its place in `states` */
  const settle = (where: string, index: Index, again = true): number => {
    try {
      const { wrong, ...found } = contentsOf(index);
      const place = possible.find((i) => isSame(states[i], found)) ?? -1;
      if (place < 0)
        wrong.push(`found ${shown(found)}; expected ${possible.map((i) => shown(states[i])).join(" or ")}`);
      if (wrong.length === 0) return place;
      throw new Error(`${where}, after ${failures.map((f) => `${f.what}: ${f.code}`).join(", ")}: ${wrong.join("\n")}`);
    } catch (error) {
      if (!(error instanceof HebbError && again)) throw error;
      failures.push({ what: "reading", code: error.code, poisoned: false });
      return settle(where, index, false);
    }
  };
  const opened = async (): Promise<Index> => {
    for (let i = 0; i < MOST_ATTEMPTS; i++) {
      let index: Index | undefined;
      await attempt("open", async () => {
        index = await openWith(traced.files, directory, { ...OPTIONS, durability });
      });
      if (index === undefined) continue;
      allow([settle("opened", index)]);
      return index;
    }
    throw new Error(`opening failed ${MOST_ATTEMPTS} times: ${JSON.stringify(failures)}`);
  };

  let trace: Entry[];
  let reads = 0;
  startTrace(directory);
  try {
    arm(traced);
    let index = await opened();
    for (const kind of [...kinds, "reopen"] as const) {
      const before = possible[0];
      const step = planned(kind, states.length, states[before]);
      states.push(after(states[before], step));
      const [now, next] = [[before], [before, states.length - 1]];
      allow(next);
      if (kind === "reopen") {
        await attempt("close", () => index.close());
        index = await opened();
        continue;
      }
      const done = await attempt(kind, () => perform(index, step, opened));
      if (done) {
        allow(next.slice(1));
        continue;
      }
      const failed = failures.at(-1)!;
      // Nothing is there to be deleted: this writes nothing.
      await index.delete([-1]).catch((error: unknown) => {
        failed.poisoned = error instanceof HebbError && error.code === "STORE_POISONED";
        if (!failed.poisoned) throw error;
      });
      if (failed.poisoned) {
        settle(`${kind} failed and poisoned`, index);
        await attempt("close", () => index.close());
        index = await opened();
      } else {
        allow(now);
        settle(`${kind} failed`, index);
      }
    }
    reads = sqliteCalls("reads");
    failSqlite({ of: "reads", from: 0, times: 0 }); // what cannot be read is damaged, to the check
    for (const { message } of (await index.check()).faults) throw new Error(`check: ${message}`);
    await attempt("close", () => index.close());
  } finally {
    trace = stopTrace();
  }
  return { directory, name: `${durability}: ${kinds.join(" ")}, with a fault`, trace, states, reads, failures };
}
