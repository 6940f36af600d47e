/**
 * A store with the smallest follower there can be, beside a model in plain memory that says what it
 * must hold. A change puts a value at a place of section "rows" or "more", or cuts one of them off
 * from a place on; section "head" counts changes.
 */
import { HebbError } from "../../base/errors.js";
import type { Prng } from "../../base/prng.js";
import { BLOCK_BYTES } from "../../native/index.js";
import type { Files } from "../../storage/files.js";
import { Killed } from "../../storage/simulator.js";
import { Store, type StoreOptions } from "../../storage/store.js";

export const DIRECTORY = "/data/store";
const STRIDE = 24;
/** Places in each of the two sections: enough for several extents of several pages. */
export const PLACES = 12_000;
const PUT = 1;
const CUT = 2;
/** In the region. */
const HEAD = 1;

/** A value at a place; or, without one, zeros from there to the section's end. */
export interface Change {
  /** In the region: 0 is rows, 2 is more. */
  section: 0 | 2;
  place: number;
  value?: number;
}

export const IDENTITY: NonNullable<StoreOptions["create"]> = { dimensions: 3, metric: "cosine", config: { m: 16 } };

export const SECTIONS: StoreOptions["sections"] = () => [
  { kind: 1, name: "rows", stride: STRIDE, reserveBytes: 1 << 20 },
  { kind: 2, name: "head", stride: 8, reserveBytes: 1 << 16 },
  { kind: 3, name: "more", stride: STRIDE, reserveBytes: 1 << 20 },
];

function encodeChange({ section, place, value = 0 }: Change): Uint8Array {
  const bytes = Buffer.alloc(13 + (value % 700));
  bytes.writeUInt8(section, 0);
  bytes.writeUInt32LE(place, 1);
  bytes.writeDoubleLE(value, 5);
  return bytes;
}

function decodeChange(type: number, payload: Uint8Array): Change {
  const view = Buffer.from(payload);
  const [section, place] = [view.readUInt8(0) as Change["section"], view.readUInt32LE(1)];
  return type === CUT ? { section, place } : { section, place, value: view.readDoubleLE(5) };
}

/** What must be in the store after each LSN, whatever happened. */
export class Model {
  /** The latest attempt at each LSN. A group's records share one array. */
  private readonly attempts = new Map<number, Change[] | "closing">();
  private readonly changes = new Map<number, Change>();
  /** Acknowledged as durable: must never be lost. */
  acknowledged = 0;

  attempt(first: number, group: Change[]): void {
    group.forEach((change, i) => {
      this.attempts.set(first + i, group);
      this.changes.set(first + i, change);
    });
  }

  /** The store said that this group failed: it must never show up. */
  failed(first: number, count: number): void {
    for (let lsn = first; lsn < first + count; lsn++) this.attempts.delete(lsn);
  }

  closing(lsn: number): void {
    this.attempts.set(lsn, "closing");
  }

  /** Everything after `lsn` is gone, and was allowed to. */
  lost(lsn: number): void {
    for (const one of this.attempts.keys()) if (one > lsn) this.attempts.delete(one);
  }

  /** The bytes of both sections, and the number in head, after `lsn`. */
  expected(lsn: number): { contents: Record<Change["section"], Buffer>; count: number } {
    const contents = { 0: Buffer.alloc(PLACES * STRIDE), 2: Buffer.alloc(PLACES * STRIDE) };
    let count = 0;
    for (let at = 1; at <= lsn; at++) {
      const attempt = this.attempts.get(at);
      if (attempt === "closing") continue;
      if (attempt === undefined) throw new Error(`record ${at} is in the store, and was never put or had failed`);
      const { section, place, value } = this.changes.get(at)!;
      if (value === undefined) contents[section].fill(0, place * STRIDE);
      else writeRow(contents[section], place, value, at);
      count++;
    }
    const last = this.attempts.get(lsn);
    if (Array.isArray(last) && this.attempts.get(lsn + 1) === last)
      throw new Error(`a group was cut in two after ${lsn}`);
    return { contents, count };
  }
}

function writeRow(rows: Buffer, place: number, value: number, lsn: number): void {
  const at = place * STRIDE;
  rows.writeDoubleLE(value, at);
  rows.writeDoubleLE(lsn, at + 8);
  rows.writeDoubleLE(value * lsn + 1, at + 16);
}

/** A store, its follower and its model. */
export class Subject {
  /** Changes of the region, and what needs it to stand still, one after the other. */
  private turns: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly store: Store,
    readonly model: Model,
  ) {}

  /** Opens or makes the store, replays, and compares all of it with the model. */
  static async open(files: Files | undefined, directory: string, model: Model): Promise<Subject> {
    const store = await Store.open(directory, { files, create: IDENTITY, sections: SECTIONS });
    const subject = new Subject(store, model);
    try {
      subject.compare(store.meta.lsn); // one whole checkpoint, before the log adds to it
      for await (const group of store.replay())
        for (const { lsn, type, payload } of group.records) subject.apply(lsn, decodeChange(type, payload));
      subject.compare();
      subject.checkAcknowledged();
      model.lost(store.log.lastLsn);
      return subject;
    } catch (error) {
      await store.close().catch(() => {});
      throw error;
    }
  }

  private checkAcknowledged(): void {
    const { lastLsn } = this.store.log;
    if (lastLsn >= this.model.acknowledged) return;
    throw new Error(`acknowledged up to ${this.model.acknowledged}, found only ${lastLsn}`);
  }

  /** @throws where the region is not what the model says after `lsn` */
  compare(lsn = this.store.log.lastLsn): void {
    const { meta, region } = this.store;
    const { contents, count } = this.model.expected(lsn);
    for (const section of [0, 2] as const) {
      const rows = contents[section];
      const found = Buffer.from(region.read(section, 0, rows.length));
      if (found.equals(rows)) continue;
      const place = Math.floor(found.findIndex((byte, i) => byte !== rows[i]) / STRIDE);
      throw new Error(`section ${section}, place ${place} differs from the model at LSN ${lsn} (meta ${meta.lsn})`);
    }
    const counted = Buffer.from(region.read(HEAD, 0, 8)).readDoubleLE(0);
    if (counted !== count) throw new Error(`${counted} changes counted at LSN ${lsn}, ${count} made`);
  }

  private readonly still = <T>(task: () => Promise<T>): Promise<T> => {
    const done = this.turns.then(task);
    this.turns = done.catch(() => {}); // whoever asked gets the error
    return done;
  };

  put(group: Change[], sync: boolean): Promise<void> {
    return this.still(() => this.putNow(group, sync));
  }

  private async putNow(group: Change[], sync: boolean): Promise<void> {
    const { log } = this.store;
    const first = log.lastLsn + 1;
    this.model.attempt(first, group);
    try {
      await log.append(
        group.map((change) => ({
          type: change.value === undefined ? CUT : PUT,
          payload: [encodeChange(change).subarray(0, 5), encodeChange(change).subarray(5)],
        })),
      );
    } catch (error) {
      // A poisoned store does not know what became of it.
      if (error instanceof HebbError && this.store.poisonedBy === undefined) this.model.failed(first, group.length);
      throw error;
    }
    group.forEach((change, i) => {
      this.apply(first + i, change);
    });
    if (sync) await this.sync();
  }

  async sync(): Promise<void> {
    const lsn = this.store.log.lastLsn;
    await this.store.log.sync();
    this.model.acknowledged = Math.max(this.model.acknowledged, lsn);
  }

  async checkpoint(): Promise<void> {
    await this.store.checkpoint(async () => ({ lsn: this.store.log.lastLsn }), { still: this.still });
  }

  /** Puts groups while a checkpoint is under way; throws what failed first. */
  async putBesideCheckpoint(groups: Change[][]): Promise<void> {
    const results = await Promise.allSettled([
      this.checkpoint(),
      (async () => {
        for (const group of groups) await this.put(group, true);
      })(),
    ]);
    const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
    if (failures.length > 0) throw failures.find((one) => one instanceof Killed) ?? failures[0];
  }

  async compact(): Promise<void> {
    await this.store.compact(this.store.log.lastLsn);
  }

  async close(): Promise<void> {
    this.model.closing(this.store.log.lastLsn + 1);
    await this.store.close();
  }

  private apply(lsn: number, { section, place, value }: Change): void {
    const { region } = this.store;
    if (value === undefined) {
      // The block with the place itself keeps what lies before it.
      const from = Math.ceil((place * STRIDE) / BLOCK_BYTES) * BLOCK_BYTES;
      region.write(section, place * STRIDE, new Uint8Array(from - place * STRIDE));
      region.discard(section, from);
    } else {
      const row = Buffer.alloc(STRIDE);
      writeRow(row, 0, value, lsn);
      region.write(section, place * STRIDE, row);
    }
    const count = Buffer.alloc(8);
    count.writeDoubleLE(Buffer.from(region.read(HEAD, 0, 8)).readDoubleLE(0) + 1);
    region.write(HEAD, 0, count);
  }
}

/** A group of one to four changes, some of them cuts, within a range of places that grows with `progress` (0 to 1). */
export function randomGroup(prng: Prng, progress: number): Change[] {
  const most = Math.max(1, Math.floor(PLACES * progress));
  return Array.from({ length: 1 + prng.below(4) }, () => {
    const [section, place] = [prng.below(2) === 0 ? (0 as const) : (2 as const), prng.below(most)];
    return prng.below(10) === 0 ? { section, place } : { section, place, value: prng.below(100_000) };
  });
}

/**
 * A life of `steps` steps: changes (some not synced), checkpoints, compactions, clean closings. `onError` decides
 * about a HebbError: returning goes on with the next step.
 */
export async function live(
  files: Files | undefined,
  directory: string,
  model: Model,
  prng: Prng,
  steps: number,
  onError: (error: HebbError, subject: Subject | undefined) => Promise<void> | void = (error) => {
    throw error;
  },
): Promise<Subject | undefined> {
  let subject: Subject | undefined;
  for (let step = 0; step < steps; step++) {
    const choice = prng.below(11);
    const group = randomGroup(prng, (step + 1) / steps);
    const beside = [1, 2, 3].map(() => randomGroup(prng, (step + 1) / steps));
    try {
      if (subject === undefined) subject = await Subject.open(files, directory, model);
      if (choice < 7) await subject.put(group, choice < 5);
      else if (choice < 8) await subject.checkpoint();
      else if (choice < 9) await subject.putBesideCheckpoint([group, ...beside]);
      else if (choice < 10) await subject.compact();
      else {
        const closing: Subject = subject;
        subject = undefined;
        await closing.close();
      }
    } catch (error) {
      if (!(error instanceof HebbError)) throw error;
      await onError(error, subject);
      // A poisoned handle only reads: the next step opens again, as a user would.
      if (subject?.store.poisonedBy !== undefined) {
        await subject.store.close().catch(() => {});
        subject = undefined;
      }
    }
  }
  return subject;
}
