/** Faults of sections, as a check tells them. */
import { BLOCK_BYTES } from "../../native/index.js";
import { placeInFile } from "../../storage/extents.js";
import type { Fault } from "../types.js";
import type { Session } from "./session.js";

/** Of faults of one kind, so many are listed; the rest is counted. */
export const LISTED = 20;

/** A fault at a byte of a section, with its place in the file where it has one. */
export function faultAt({ store }: Pick<Session, "store">, section: string, at: number, message: string): Fault {
  const entry = store.meta.sections.find(({ name }) => name === section);
  const offset = entry && placeInFile(entry.extents, at);
  const block = Math.floor(at / BLOCK_BYTES);
  const where = offset === undefined ? `byte ${at}, not in the file yet` : `block ${block}, offset ${offset}`;
  return {
    code: "INDEX_CORRUPT",
    section,
    block,
    offset: offset ?? at,
    message: `section ${section}, ${where}: ${message}`,
  };
}
