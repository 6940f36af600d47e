/** Deleting most rows and inserting as many, in rounds: recall against the fresh build, and whether every live id can be found. */
import { Prng } from "../../base/prng.js";
import type { Index } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { type CurvePoint, median } from "../stats.js";
import { recallOf } from "../truth.js";
import { queryRows } from "./engine.js";

export interface AuditResult {
  live: number;
  k: number;
  ef: number;
  /** Live ids that a search for their own vector at `ef` did not give. */
  missed: number;
  /** For each larger ef, how many of those were still not found. */
  missedAt: { ef: number; missed: number }[];
}

export interface ChurnResult {
  /** Rows deleted and inserted again, over all rounds. */
  deleted: number;
  /** Of each round, until its last row was acknowledged. */
  rounds: { deleteSeconds: number; insertSeconds: number; backlog: number }[];
  /** After the last round, until all was linked. */
  settleSeconds: number;
  fresh: CurvePoint[];
  churned: CurvePoint[];
  /** The most that recall fell, over the efs at which the fresh build reaches .95 (negative: it rose everywhere). */
  worstLoss: number;
  auditFresh: AuditResult;
  auditChurned: AuditResult;
}

/**
 * Each round deletes other rows, seeded at random, and inserts the same vectors under new ids (row + n)
 * in another order, until `share` of all rows has been replaced: the truth stays what it was, and the
 * fresh build is the index before. Nothing waits for linking until the last round is over.
 */
export async function measureChurn(
  index: Index,
  set: AnnSet,
  { efs, share, rounds: count }: { efs: number[]; share: number; rounds: number },
): Promise<ChurnResult> {
  const { n, d } = set;
  const fresh = efs.map((ef) => curvePoint(index, set, ef));
  const idOfRow = Array.from({ length: n }, (_, row) => row);
  const auditFresh = await audit(index, set, idOfRow);

  const replaced = new Prng(1).shuffle([...idOfRow]).slice(0, Math.round(n * share));
  const rounds: ChurnResult["rounds"] = [];
  for (let round = 0; round < count; round++) {
    const until = (at: number) => Math.round((at * replaced.length) / count);
    const rows = replaced.slice(until(round), until(round + 1));
    let start = performance.now();
    const deleted = await index.delete(rows);
    const deleteSeconds = (performance.now() - start) / 1e3;
    if (deleted !== rows.length) throw new Error(`delete said ${deleted}, but ${rows.length} ids were there`);
    const vectors = new Float32Array(rows.length * d);
    rows.forEach((row, at) => {
      vectors.set(set.base.subarray(row * d, (row + 1) * d), at * d);
      idOfRow[row] = row + n;
    });
    start = performance.now();
    await index.putMany({ ids: rows.map((row) => row + n), vectors, payloads: rows.map(() => ({ bucket: 0 })) });
    const insertSeconds = (performance.now() - start) / 1e3;
    rounds.push({ deleteSeconds, insertSeconds, backlog: index.stats().backlog });
  }
  const start = performance.now();
  await index.settle();
  const settleSeconds = (performance.now() - start) / 1e3;

  const churned = efs.map((ef) => curvePoint(index, set, ef));
  return {
    deleted: replaced.length,
    rounds,
    settleSeconds,
    fresh,
    churned,
    worstLoss: Math.max(
      ...fresh.map(({ recall }, i) => (recall >= 0.95 ? recall - churned[i].recall : Number.NEGATIVE_INFINITY)),
    ),
    auditFresh,
    auditChurned: await audit(index, set, idOfRow),
  };
}

/** Recall of the worst and speed of the middle of five passes. */
function curvePoint(index: Index, set: AnnSet, ef: number): CurvePoint {
  const found = new Int32Array(set.nq * set.k);
  const rows = queryRows(set);
  const passes = [0, 1, 2, 3, 4].map(() => {
    found.fill(-1);
    const start = performance.now();
    for (let query = 0; query < set.nq; query++) {
      const hits = index.search(rows[query], { k: set.k, ef, include: [] });
      for (let i = 0; i < hits.length; i++) found[query * set.k + i] = (hits[i].id as number) % set.n;
    }
    const seconds = (performance.now() - start) / 1e3;
    return { seconds, recall: recallOf(found, set, set.kth) };
  });
  return {
    ef,
    recall: Math.min(...passes.map(({ recall }) => recall)),
    queriesPerSecond: set.nq / median(passes.map(({ seconds }) => seconds)),
  };
}

/**
 * Searches for every live vector itself. An id counts as found when it is among the k hits, or
 * when all k lie at distance 0: more copies of one vector than k, of which any k are right.
 * What ef 64 misses is asked again with more, to tell "hard to find" from "cannot be reached".
 */
async function audit(index: Index, set: AnnSet, idOfRow: number[]): Promise<AuditResult> {
  const [k, ef] = [10, 64];
  let open = await missing(index, set, idOfRow, [...idOfRow.keys()], k, ef);
  const missed = open.length;
  const missedAt: AuditResult["missedAt"] = [];
  for (let more = ef * 4; open.length > 0 && more <= 4096; more *= 4) {
    open = await missing(index, set, idOfRow, open, k, more);
    missedAt.push({ ef: more, missed: open.length });
  }
  return { live: idOfRow.length, k, ef, missed, missedAt };
}

async function missing(index: Index, set: AnnSet, idOfRow: number[], rows: number[], k: number, ef: number) {
  const { base, d } = set;
  const block = 2000;
  const missed: number[] = [];
  for (let from = 0; from < rows.length; from += block) {
    const some = rows.slice(from, from + block);
    const queries = new Float32Array(some.length * d);
    some.forEach((row, at) => {
      queries.set(base.subarray(row * d, (row + 1) * d), at * d);
    });
    const many = await index.searchMany(queries, { k, ef });
    some.forEach((row, at) => {
      const hits = many[at];
      const found = hits.some(({ id }) => id === idOfRow[row]);
      if (!found && !(hits.length === k && hits.every(({ distance }) => distance === 0))) missed.push(row);
    });
  }
  return missed;
}
