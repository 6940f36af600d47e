/**
 * What opening index.hebb has to sort out: which meta holds, and whether a checkpoint was committed
 * and is still to be put in place.
 *
 * | slots | journal | then |
 * |---|---|---|
 * | any whole one | whole, of its generation or the next | committed: put it in place, again perhaps |
 * | both whole, equal | none or torn, or older | the slots hold; the journal is emptied |
 * | both whole, one newer | none or torn | JOURNAL_CORRUPT: pages may be half-way |
 * | one whole | none or torn | the whole one holds, the other is written again |
 * | none whole | any | INDEX_CORRUPT, STORE_VERSION or NOT_A_STORE; nothing is overwritten |
 */
import { HebbError } from "../base/errors.js";
import { BLOCK_BYTES } from "../native/index.js";
import { rewrite, type StoredFile } from "./files.js";
import { decodeSlot, encodeSlot, endBlock, type Meta, SLOT_BYTES, SLOTS, type Slot, versionError } from "./format.js";
import { applyJournal, emptyJournal, patchedFile, readJournal } from "./journal.js";
import type { Poison } from "./poison.js";

export interface Recovered {
  meta: Meta;
  /** index.hebb, or for a read-only handle what it will be once the journal is in place. */
  view: StoredFile;
  /** What was put right, in words. */
  notes: string[];
}

export async function recoverIndex(
  file: StoredFile,
  journalFile: StoredFile | undefined,
  readOnly: boolean,
  poison: Poison,
): Promise<Recovered> {
  const slots: Slot[] = [];
  for (const at of SLOTS) slots.push(decodeSlot(await file.pread(SLOT_BYTES, at)));
  const metas = slots.flatMap((slot) => (slot.state === "valid" ? [slot.meta] : []));
  const newer = slots.find((slot) => slot.state === "newer");
  if (newer !== undefined) throw versionError(newer.version, "index.hebb");
  if (metas.length === 0) throw noMeta(slots);

  let meta = metas.reduce((newest, one) => (one.generation > newest.generation ? one : newest));
  const equal = metas.length === 2 && metas[0].generation === metas[1].generation;
  const journal = journalFile && (await readJournal(journalFile));
  if (journal !== undefined) {
    const ours = Buffer.from(journal.meta.storeId).equals(meta.storeId);
    if (!ours || journal.meta.generation > meta.generation + 1) {
      const whose = ours ? `is of checkpoint ${journal.meta.generation}` : "belongs to another store";
      throw new HebbError("JOURNAL_CORRUPT", `index.hebb-journal ${whose}; index.hebb is at ${meta.generation}`);
    }
  }
  const notes: string[] = [];
  let view = file;
  if (journal !== undefined && journal.meta.generation >= meta.generation) {
    meta = journal.meta;
    await checkSize(file, meta);
    if (readOnly) {
      view = await patchedFile(file, journalFile!, journal);
    } else {
      await rewrite(journalFile!, 0, await journalFile!.size());
      await poison.sync(journalFile!);
      await applyJournal(file, journalFile!, journal, poison);
      await emptyJournal(journalFile!, poison);
    }
    notes.push(`checkpoint ${meta.generation} was committed and is now in place`);
  } else {
    if (metas.length === 2 && !equal) {
      throw new HebbError(
        "JOURNAL_CORRUPT",
        `checkpoint ${meta.generation} was being put in place, and index.hebb-journal, which has the rest of it, ` +
          "is damaged. Restore the store from a copy",
      );
    }
    await checkSize(file, meta);
    if (!readOnly && journalFile !== undefined && (await journalFile.size()) > 0)
      await emptyJournal(journalFile, poison);
    if (metas.length === 1) {
      const bad = slots.findIndex((slot) => slot.state !== "valid");
      if (!readOnly) {
        await file.pwrite(encodeSlot(meta), SLOTS[bad]);
        await poison.sync(file);
      }
      notes.push(`meta slot ${bad} was damaged; the other one holds the same`);
    }
  }
  // A checkpoint that never came to its commit point may have made the file longer, and one that freed
  // the end of it may not have come to cut it off.
  const end = endBlock(meta.sections) * BLOCK_BYTES;
  if (!readOnly && (await file.size()) > end) await file.truncate(end);
  return { meta, view, notes };
}

async function checkSize(file: StoredFile, meta: Meta): Promise<void> {
  const size = await file.size();
  const end = endBlock(meta.sections) * BLOCK_BYTES;
  if (size >= end) return;
  const message = `index.hebb has ${size} bytes; its meta needs ${end}. Restore the store from a copy`;
  throw new HebbError("INDEX_CORRUPT", message, { size, expected: end });
}

function noMeta(slots: Slot[]): HebbError {
  if (slots.every((slot) => slot.state === "foreign")) {
    return new HebbError("NOT_A_STORE", "index.hebb does not begin as one does; nothing was changed");
  }
  const reasons = slots.map((slot, i) => `slot ${i}: ${slot.state === "damaged" ? slot.reason : "no magic"}`);
  const message = `index.hebb: both meta slots are damaged (${reasons.join("; ")}); nothing was changed. Restore the store from a copy`;
  return new HebbError("INDEX_CORRUPT", message);
}
