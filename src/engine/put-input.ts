/** What `put` and `putMany` are given, checked and copied into rows before anything changes. */
import { checkOptions } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import type { Entry, EntryColumns } from "../types.js";
import type { NewRows } from "./planning.js";
import type { TextRow } from "./text-writer.js";
import { checkId, checkIds, checkRows, checkValues, checkVector, idKey, payloadText, show } from "./validate.js";

/** Rows to put; the vectors of those of `texts` are zeros until an encoder fills them in. */
export interface PutInput {
  rows: NewRows;
  texts: TextRow[];
}

/** What rows have to fit. */
export interface RowShape {
  dimensions: number;
  cosine: boolean;
}

/**
 * Rows given one by one.
 * @throws {TypeError | RangeError} on a bad id, vector, text or payload, and on an id that appears twice
 */
export function rowsOfEntries(entries: readonly Entry[], { dimensions, cosine }: RowShape): PutInput {
  const vectors = new Float32Array(entries.length * dimensions);
  const texts: TextRow[] = [];
  const ids: Id[] = [];
  const payloads: (string | undefined)[] = [];
  for (const [row, entry] of entries.entries()) {
    if (typeof entry !== "object" || entry === null) {
      throw new TypeError(`entry ${row} is ${show(entry)}; expected { id, vector or text, payload }`);
    }
    checkOptions(`entry ${row}`, entry, ["id", "vector", "text", "payload", "tier"]);
    const id = checkId(entry.id);
    ids.push(id);
    payloads.push(payloadText(id, entry.payload));
    if (entry.text === undefined) {
      vectors.set(
        checkVector(`vector of id ${show(id)}`, entry.vector, dimensions, cosine, "A text is given as { text }"),
        row * dimensions,
      );
      continue;
    }
    if (entry.vector !== undefined) {
      throw new TypeError(`id ${show(id)} has both vector and text; expected one of them`);
    }
    if (typeof entry.text !== "string") {
      throw new TypeError(`text of id ${show(id)} is ${show(entry.text)}; expected a string`);
    }
    texts.push({ row, text: entry.text });
  }
  refuseDuplicates(ids);
  return { rows: { ids, payloads, vectors, settings: [] }, texts };
}

/**
 * Rows given in columns.
 * @throws {TypeError | RangeError} as `rowsOfEntries`, and where columns differ in length
 */
export function rowsOfColumns(columns: EntryColumns, shape: RowShape): PutInput {
  checkOptions("putMany", columns, ["ids", "vectors", "texts", "payloads"]);
  const { vectors, texts, payloads } = columns;
  if (!Array.isArray(columns.ids)) throw new TypeError(`ids is ${show(columns.ids)}; expected an array of ids`);
  const ids = checkIds(columns.ids);
  refuseDuplicates(ids);
  if (payloads !== undefined && (!Array.isArray(payloads) || payloads.length !== ids.length)) {
    throw new RangeError(`payloads is ${show(payloads)}; expected an array of ${ids.length}, one for each id`);
  }
  const kept = ids.map((id, i) => payloadText(id, payloads?.[i]));
  if ((vectors === undefined) === (texts === undefined)) {
    const given = vectors === undefined ? "neither" : "both";
    throw new TypeError(`putMany got ${given} of vectors and texts; expected vectors or texts, and not both`);
  }
  if (texts === undefined) {
    const values = checkedVectors(vectors, ids, shape).slice();
    return { rows: { ids, payloads: kept, vectors: values, settings: [] }, texts: [] };
  }
  const isTexts = Array.isArray(texts) && ids.every((_, i) => typeof texts[i] === "string");
  if (!isTexts || texts.length !== ids.length) {
    throw new TypeError(`texts is ${show(texts)}; expected an array of ${ids.length} strings, one for each id`);
  }
  const empty = new Float32Array(ids.length * shape.dimensions);
  return {
    rows: { ids, payloads: kept, vectors: empty, settings: [] },
    texts: texts.map((text, row) => ({ row, text })),
  };
}

function checkedVectors(vectors: unknown, ids: readonly Id[], { dimensions, cosine }: RowShape): Float32Array {
  const values = checkRows("vectors", vectors, dimensions);
  const n = values.length / dimensions;
  if (n !== ids.length) {
    throw new RangeError(`vectors holds ${n} rows of ${dimensions}; expected ${ids.length}, one for each id`);
  }
  checkValues("vectors", values, dimensions, cosine, (row) => `vector of id ${show(ids[row])}`);
  return values;
}

function refuseDuplicates(ids: readonly Id[]): void {
  const seen = new Set<string>();
  for (const id of ids) {
    const key = idKey(id);
    if (seen.has(key)) throw new RangeError(`id ${show(id)} appears twice in one batch; expected each id once`);
    seen.add(key);
  }
}
