/**
 * What a bundle keeps of its rows as text: ids that are too long for the graph's slots, and payloads. Section
 * `text-offsets` has where each row's text begins in section `texts`, and where the last one ends (u64). A row's text
 * is empty, or the bytes of its long id (u16, 0 for none), that id as UTF-8, and its payload's JSON, if any.
 */
import type { HebbError } from "../../base/errors.js";
import type { Payload } from "../../base/types.js";
import { corruptBundle } from "../../storage/bundle-errors.js";

const OFFSET_BYTES = 8;
const LENGTH_BYTES = 2;

/** The text of a row. */
export function textOf(longId: string | undefined, payload: string | null): Buffer {
  if (longId === undefined && payload === null) return Buffer.alloc(0);
  const id = Buffer.from(longId ?? "");
  const bytes = Buffer.alloc(LENGTH_BYTES);
  bytes.writeUInt16LE(id.length);
  return Buffer.concat([bytes, id, Buffer.from(payload ?? "")]);
}

export interface RowText {
  longId: string | undefined;
  payload: Payload | undefined;
}

const NOTHING: RowText = { longId: undefined, payload: undefined };

export class FrozenTexts {
  /** @param read bytes of a section, verified @param bytes those of section `texts`; 0: no row has a text */
  constructor(
    private readonly read: (section: "text-offsets" | "texts", at: number, length: number) => Uint8Array,
    private readonly bytes: number,
  ) {}

  /** The id of a row whose slot has none. @throws {HebbError} BUNDLE_CORRUPT */
  longId(node: number): string {
    const { longId } = this.of(node);
    if (longId === undefined) throw damaged("ids", node, "a long id, and none in its text", "one");
    return longId;
  }

  /** @throws {HebbError} BUNDLE_CORRUPT where an offset or a text is none */
  of(node: number): RowText {
    if (this.bytes === 0) return NOTHING;
    const offsets = Buffer.from(this.read("text-offsets", node * OFFSET_BYTES, 2 * OFFSET_BYTES).buffer);
    const [from, to] = [Number(offsets.readBigUInt64LE(0)), Number(offsets.readBigUInt64LE(OFFSET_BYTES))];
    if (!(from <= to && to <= this.bytes))
      throw damaged("text-offsets", node, `its text from ${from} to ${to}`, `bytes up to ${this.bytes}`);
    if (from === to) return NOTHING;
    const text = Buffer.from(this.read("texts", from, to - from).buffer);
    const length = text.length < LENGTH_BYTES ? text.length : text.readUInt16LE(0);
    if (LENGTH_BYTES + length > text.length)
      throw damaged("texts", node, `an id of ${length} bytes in ${text.length}`, "a whole one");
    const json = text.toString("utf8", LENGTH_BYTES + length);
    try {
      return {
        longId: length > 0 ? text.toString("utf8", LENGTH_BYTES, LENGTH_BYTES + length) : undefined,
        payload: json === "" ? undefined : (JSON.parse(json) as Payload),
      };
    } catch {
      throw damaged("texts", node, `a payload that is no JSON (${json.length} characters)`, "an object");
    }
  }
}

function damaged(section: string, node: number, found: string, expected: string): HebbError {
  return corruptBundle(`section ${section}: row ${node} has ${found}; expected ${expected}`, { section, node });
}
