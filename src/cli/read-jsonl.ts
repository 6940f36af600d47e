/** JSON Lines: one JSON object per line. Empty lines are passed over; a fault names its line. */
import { type Entry, HebbError, type Id, type Payload } from "../index.js";
import type { ByteReader } from "./byte-reader.js";

/** A longer line is none: it would be put together for ever, and then not fit into a string. */
const MOST_LINE = 64 << 20;

export interface Line {
  /** From 1. */
  number: number;
  value: Record<string, unknown>;
}

/**
 * The objects of a .jsonl file, in order.
 * @throws {HebbError} FILE_UNSUPPORTED where a line is no JSON object; IO_ERROR
 */
export async function* readLines(reader: ByteReader): AsyncGenerator<Line> {
  const decoder = new TextDecoder("utf-8");
  let begun: string[] = []; // of a line whose end has not come yet
  let begunLength = 0;
  let number = 0;
  try {
    for (;;) {
      const chunk = await reader.next();
      const text = chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
      const lines = text.split("\n");
      begunLength += lines[0]!.length;
      if (begunLength > MOST_LINE) throw fault(reader.path, number + 1, `longer than ${MOST_LINE} characters`);
      begun.push(lines[0]!);
      if (lines.length === 1 && chunk !== undefined) continue;
      lines[0] = begun.join("");
      begun = chunk === undefined ? [] : [lines.pop()!];
      begunLength = begun[0]?.length ?? 0;
      for (const line of lines) {
        number++;
        if (line.trim() !== "") yield { number, value: parseLine(line, number, reader.path) };
      }
      if (chunk === undefined) return;
    }
  } finally {
    await reader.close();
  }
}

/**
 * Entries of a .jsonl file: `{ "id": ..., "vector": [...] }` or `{ "id": ..., "text": "..." }`. The
 * payload is `payload` and whatever other fields there are; a text also becomes the payload's
 * `text`, so that it can be searched in full.
 */
export async function* readJsonlEntries(reader: ByteReader): AsyncGenerator<Entry> {
  for await (const { number, value } of readLines(reader)) {
    yield entryOf(value, (what) => fault(reader.path, number, what));
  }
}

function entryOf(
  { id, vector, text, payload, ...others }: Record<string, unknown>,
  wrong: (what: string) => HebbError,
): Entry {
  if (typeof id !== "string" && !Number.isSafeInteger(id)) {
    throw wrong(`id is ${show(id)}; expected a string or an integer`);
  }
  if ((vector === undefined) === (text === undefined)) throw wrong(`expected either "vector" or "text"`);
  if (text !== undefined && typeof text !== "string") throw wrong(`text is ${show(text)}; expected a string`);
  if (vector !== undefined && !isNumbers(vector))
    throw wrong(`vector is ${show(vector)}; expected an array of numbers`);
  if (payload !== undefined && (typeof payload !== "object" || payload === null || Array.isArray(payload))) {
    throw wrong(`payload is ${show(payload)}; expected an object`);
  }
  const fields = (payload ?? {}) as Payload;
  for (const name of Object.keys(others)) {
    if (Object.hasOwn(fields, name)) throw wrong(`"${name}" is both a field of the line and of its payload`);
  }
  const all: Payload = { ...(text === undefined ? {} : { text }), ...(others as Payload), ...fields };
  return {
    id: id as Id,
    ...(vector === undefined ? { text: text as string } : { vector: vector as number[] }),
    ...(Object.keys(all).length === 0 ? {} : { payload: all }),
  };
}

function parseLine(line: string, number: number, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw fault(path, number, `not JSON (${(cause as Error).message})`, cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw fault(path, number, `${show(value)} is no object`);
  }
  return value as Record<string, unknown>;
}

/** The error for a line that cannot be used. */
export function fault(path: string, line: number, what: string, cause?: unknown): HebbError {
  return new HebbError("FILE_UNSUPPORTED", `${path}, line ${line}: ${what}`, { path, line }, cause);
}

function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "nested too deeply to be shown"; // parsing has no limit, writing has the stack's
  }
}

const isNumbers = (value: unknown): boolean => Array.isArray(value) && value.every((x) => typeof x === "number");

/** A value as an error message shows it. */
export function show(value: unknown): string {
  const text = textOf(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
