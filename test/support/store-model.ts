/**
 * A store with the smallest follower there can be, beside a model in plain memory that says what it
 * must hold. A change puts a value at a place of section "rows"; section "head" counts changes.
 */
import { HebbError } from "../../base/errors.js";
import type { Prng } from "../../base/prng.js";
import type { Files } from "../../storage/files.js";
import { Store, type StoreOptions } from "../../storage/store.js";

export const DIRECTORY = "/data/store";
const STRIDE = 24;
/** Enough for several extents of several pages. */
export const PLACES = 12_000;
const PUT = 1;

export interface Put {
  place: number;
  value: number;
}

export const IDENTITY: NonNullable<StoreOptions["create"]> = { dimensions: 3, metric: "cosine", config: { m: 16 } };

export const SECTIONS: StoreOptions["sections"] = () => [
  { kind: 1, name: "rows", stride: STRIDE, reserveBytes: 1 << 20 },
  { kind: 2, name: "head", stride: 8, reserveBytes: 1 << 16 },
];

function encodePut({ place, value }: Put): Uint8Array {
  const bytes = Buffer.alloc(12 + (value % 700));
  bytes.writeUInt32LE(place, 0);
  bytes.writeDoubleLE(value, 4);
  return bytes;
}

/** What must be in the store after each LSN, whatever happened. */
export class Model {
  /** The latest attempt at each LSN. A group's records share one array. */
  private readonly attempts = new Map<number, Put[] | "closing">();
  private readonly places = new Map<number, Put>();
  /** Acknowledged as durable: must never be lost. */
  acknowledged = 0;

  attempt(first: number, group: Put[]): void {
    group.forEach((put, i) => {
      this.attempts.set(first + i, group);
      this.places.set(first + i, put);
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

  /** The bytes of sections rows and head after `lsn`. */
  expected(lsn: number): { rows: Uint8Array; count: number } {
    const rows = Buffer.alloc(PLACES * STRIDE);
    let count = 0;
    for (let at = 1; at <= lsn; at++) {
      const attempt = this.attempts.get(at);
      if (attempt === "closing") continue;
      if (attempt === undefined) throw new Error(`record ${at} is in the store, and was never put or had failed`);
      const put = this.places.get(at)!;
      writeRow(rows, put, at);
      count++;
    }
    const last = this.attempts.get(lsn);
    if (Array.isArray(last) && this.attempts.get(lsn + 1) === last)
      throw new Error(`a group was cut in two after ${lsn}`);
    return { rows, count };
  }
}

function writeRow(rows: Buffer, put: Put, lsn: number): void {
  const at = put.place * STRIDE;
  rows.writeDoubleLE(put.value, at);
  rows.writeDoubleLE(lsn, at + 8);
  rows.writeDoubleLE(put.value * lsn + 1, at + 16);
}

/** A store, its follower and its model. */
export class Subject {
  private constructor(
    readonly store: Store,
    readonly model: Model,
  ) {}

  /** Opens or makes the store, replays, and compares all of it with the model. */
  static async open(files: Files | undefined, directory: string, model: Model): Promise<Subject> {
    const store = await Store.open(directory, { files, create: IDENTITY, sections: SECTIONS });
    const subject = new Subject(store, model);
    try {
      for await (const group of store.replay())
        for (const { lsn, payload } of group.records) subject.apply(lsn, payload);
      subject.compare();
      model.lost(store.log.lastLsn);
      return subject;
    } catch (error) {
      await store.close().catch(() => {});
      throw error;
    }
  }

  /** @throws where the store is not what the model says */
  compare(): void {
    const { log, region } = this.store;
    if (log.lastLsn < this.model.acknowledged) {
      throw new Error(`acknowledged up to ${this.model.acknowledged}, found only ${log.lastLsn}`);
    }
    const { rows, count } = this.model.expected(log.lastLsn);
    const found = Buffer.from(region.read(0, 0, rows.length));
    if (!found.equals(rows)) {
      const at = found.findIndex((byte, i) => byte !== rows[i]);
      throw new Error(
        `place ${Math.floor(at / STRIDE)} differs from the model at LSN ${log.lastLsn} (meta ${this.store.meta.lsn})`,
      );
    }
    const counted = Buffer.from(region.read(1, 0, 8)).readDoubleLE(0);
    if (counted !== count) throw new Error(`${counted} changes counted, ${count} made`);
  }

  async put(group: Put[], sync: boolean): Promise<void> {
    const { log } = this.store;
    const first = log.lastLsn + 1;
    this.model.attempt(first, group);
    try {
      await log.append(
        group.map((put) => ({ type: PUT, payload: [encodePut(put).subarray(0, 5), encodePut(put).subarray(5)] })),
      );
    } catch (error) {
      // A poisoned store does not know what became of it.
      if (error instanceof HebbError && this.store.poisonedBy === undefined) this.model.failed(first, group.length);
      throw error;
    }
    group.forEach((put, i) => {
      this.apply(first + i, encodePut(put));
    });
    if (sync) await this.sync();
  }

  async sync(): Promise<void> {
    const lsn = this.store.log.lastLsn;
    await this.store.log.sync();
    this.model.acknowledged = Math.max(this.model.acknowledged, lsn);
  }

  async checkpoint(): Promise<void> {
    await this.store.checkpoint(this.store.log.lastLsn);
  }

  async close(): Promise<void> {
    this.model.closing(this.store.log.lastLsn + 1);
    await this.store.close();
  }

  private apply(lsn: number, payload: Uint8Array): void {
    const view = Buffer.from(payload);
    const put = { place: view.readUInt32LE(0), value: view.readDoubleLE(4) };
    const row = Buffer.alloc(STRIDE);
    writeRow(row, { ...put, place: 0 }, lsn);
    const { region } = this.store;
    region.write(0, put.place * STRIDE, row);
    const count = Buffer.alloc(8);
    count.writeDoubleLE(Buffer.from(region.read(1, 0, 8)).readDoubleLE(0) + 1);
    region.write(1, 0, count);
  }
}

/** A group of one to four puts, within a range of places that grows with `progress` (0 to 1). */
export function randomGroup(prng: Prng, progress: number): Put[] {
  const most = Math.max(1, Math.floor(PLACES * progress));
  return Array.from({ length: 1 + prng.below(4) }, () => ({ place: prng.below(most), value: prng.below(100_000) }));
}

/**
 * A life of `steps` steps: puts (some not synced), checkpoints, clean closings. `onError` decides
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
    const choice = prng.below(10);
    const group = randomGroup(prng, (step + 1) / steps);
    try {
      if (subject === undefined) subject = await Subject.open(files, directory, model);
      if (choice < 7) await subject.put(group, choice < 5);
      else if (choice < 9) await subject.checkpoint();
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
