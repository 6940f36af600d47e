/**
 * What opening index.hebb has to sort out: which meta holds, and whether checkpoints were committed
 * and are still to be put in place.
 *
 * | slots | journal | then |
 * |---|---|---|
 * | any whole one | its last whole checkpoint is of the newest slot's generation or newer | committed: put it in place, again perhaps |
 * | both whole, equal | none whole, or older | the slots hold; the journal is emptied |
 * | both whole, one newer | none whole, or older | JOURNAL_CORRUPT: pages may be half-way |
 * | one whole | none whole, or older | the whole one holds, the other is written again |
 * | none whole | any | INDEX_CORRUPT, STORE_VERSION or NOT_A_STORE; nothing is overwritten |
 *
 * Nothing is put in place while others read the file: then the journal counts as it lies there.
 *
 * That these rows are all there is follows from the order in which a checkpoint writes (journal.ts): a journal is whole
 * and synced before the first slot changes, both slots change before it is emptied, and each step is synced before the
 * next. So a crash in this recovery leaves one of the same rows again, and the next one ends as this would have.
 */
import { HebbError, REPAIR_OR_RESTORE } from "../base/errors.js";
import { BLOCK_BYTES } from "../native/index.js";
import { rewrite, type StoredFile } from "./files.js";
import { decodeSlot, encodeSlot, endBlock, type Meta, SLOT_BYTES, SLOTS, type Slot, versionError } from "./format.js";
import { applyJournal, type Committed, cutJournal, endOf, patchedFile, readJournal } from "./journal.js";
import type { Poison } from "./poison.js";

export interface Recovered {
  /** Of the newest checkpoint that counts. */
  meta: Meta;
  /** Of the checkpoint that is in place. */
  placed: Meta;
  /** What is committed and not in place, in order. */
  journal: Committed[];
  /** index.hebb, as it will be once the journal is in place. */
  view: StoredFile;
  /** What was put right, in words. */
  notes: string[];
}

/**
 * @param may `write`: the handle is the writer's; `place`: and nobody else reads the file
 * @param upTo checkpoints of a later LSN, if not in place, are left out
 */
export async function recoverIndex(
  file: StoredFile,
  journalFile: StoredFile | undefined,
  may: { write: boolean; place: boolean },
  upTo: number,
  poison: Poison,
): Promise<Recovered> {
  const slots: Slot[] = [];
  for (const at of SLOTS) slots.push(decodeSlot(await file.pread(SLOT_BYTES, at)));
  const metas = slots.flatMap((slot) => (slot.state === "valid" ? [slot.meta] : []));
  const newer = slots.find((slot) => slot.state === "newer");
  if (newer !== undefined) throw versionError(newer.version, "index.hebb");
  if (metas.length === 0) throw noMeta(slots, `Nothing was changed. ${REPAIR_OR_RESTORE}`);

  let meta = metas.reduce((newest, one) => (one.generation > newest.generation ? one : newest));
  const placed = metas.reduce((oldest, one) => (one.generation < oldest.generation ? one : oldest));
  const whole = journalFile === undefined ? [] : await readJournal(journalFile);
  const [first, last] = [whole[0], whole.at(-1)];
  if (first !== undefined) {
    const ours = Buffer.from(first.meta.storeId).equals(meta.storeId);
    if (!ours || first.meta.generation > meta.generation + 1) {
      const whose = ours ? `is of checkpoint ${first.meta.generation}` : "belongs to another store";
      throw new HebbError(
        "JOURNAL_CORRUPT",
        `index.hebb-journal ${whose}; index.hebb is at ${meta.generation}. Restore the whole store from a copy`,
      );
    }
  }
  const isCommitted = last !== undefined && last.meta.generation >= meta.generation;
  if (!isCommitted && metas.length === 2 && metas[0].generation !== metas[1].generation) {
    throw new HebbError(
      "JOURNAL_CORRUPT",
      `checkpoint ${meta.generation} was being put in place, and index.hebb-journal, which has the rest of it, ` +
        "is damaged. Restore the store from a copy",
    );
  }
  const notes: string[] = [];
  // What is half in place counts whatever its LSN; what is not, up to the one that was asked for.
  let journal = isCommitted
    ? whole.filter((one) => one.meta.generation <= meta.generation || one.meta.lsn <= upTo)
    : [];
  meta = journal.at(-1)?.meta ?? meta;
  let inPlace = placed;
  await checkSize(file, meta);
  if (journal.length > 0 && may.place) {
    await rewrite(journalFile!, 0, endOf(journal.at(-1)!));
    await poison.sync(journalFile!);
    await applyJournal(file, journalFile!, journal, poison);
    notes.push(`checkpoint ${meta.generation} was committed and is now in place`);
    journal = [];
    inPlace = meta;
  } else if (journal.length > 0 && may.write) {
    await rewrite(journalFile!, 0, endOf(journal.at(-1)!));
    await poison.sync(journalFile!);
  } else if (metas.length === 1) {
    const bad = slots.findIndex((slot) => slot.state !== "valid");
    if (may.place) {
      await file.pwrite(encodeSlot(meta), SLOTS[bad]);
      await poison.sync(file);
    }
    notes.push(`meta slot ${bad} was damaged; the other one holds the same`);
  }
  if (may.write) {
    const end = journal.length === 0 ? 0 : endOf(journal.at(-1)!);
    if ((await journalFile!.size()) > end) await cutJournal(journalFile!, end, poison);
  }
  // A checkpoint that never came to its commit point may have made the file longer, and one that freed
  // the end of it may not have come to cut it off.
  const end = Math.max(...[inPlace, ...journal.map((one) => one.meta)].map(endOfMeta));
  if (may.write && (await file.size()) > end) await file.truncate(end);
  const view = journal.length > 0 ? await patchedFile(file, journalFile!, journal) : file;
  return { meta, placed: inPlace, journal, view, notes };
}

/** Where index.hebb ends by a meta, in bytes. */
const endOfMeta = ({ sections }: Meta): number => endBlock(sections) * BLOCK_BYTES;

async function checkSize(file: StoredFile, meta: Meta): Promise<void> {
  const size = await file.size();
  const end = endOfMeta(meta);
  if (size >= end) return;
  const message = `index.hebb has ${size} bytes; its meta needs ${end}. ${REPAIR_OR_RESTORE}`;
  throw new HebbError("INDEX_CORRUPT", message, { size, expected: end });
}

/** The error for slots of which none is whole; `then` ends the message where both are damaged. */
export function noMeta(slots: readonly Slot[], then: string): HebbError {
  if (slots.every((slot) => slot.state === "foreign")) {
    return new HebbError(
      "NOT_A_STORE",
      "index.hebb does not begin as one does; nothing was changed. Give another path",
    );
  }
  const reasons = slots.map((slot, i) => `slot ${i}: ${slot.state === "damaged" ? slot.reason : "no magic"}`);
  const message = `index.hebb: both meta slots are damaged (${reasons.join("; ")}). ${then}`;
  return new HebbError("INDEX_CORRUPT", message);
}
