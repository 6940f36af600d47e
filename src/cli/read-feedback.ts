/** Feedback in JSON Lines, as `hebb learn` reads it. */
import type { Feedback } from "../index.js";
import type { ByteReader } from "./byte-reader.js";
import { fault, readLines, show } from "./read-jsonl.js";

const FIELDS = ["query", "chosen", "shown", "rejected", "source", "time"];

/** One event, and the line it came from. */
export interface FeedbackLine {
  line: number;
  event: Feedback;
}

/**
 * Events of a .jsonl file: `{ "query": ..., "chosen": [...], "shown": [...], "rejected": [...],
 * "source": "...", "time": ms }`. A query is a text, an array of numbers, `{ "id": ... }` or
 * `{ "positive": [...], "negative": [...], "weights": [...] }`. `learn` checks the values; here only what JSON can get
 * wrong.
 */
export async function* readFeedback(reader: ByteReader): AsyncGenerator<FeedbackLine> {
  for await (const { number, value } of readLines(reader)) {
    const unknown = Object.keys(value).find((field) => !FIELDS.includes(field));
    if (unknown !== undefined) {
      throw fault(reader.path, number, `unknown field "${unknown}"; expected ${FIELDS.join(", ")}`);
    }
    if (!Array.isArray(value.chosen)) {
      throw fault(reader.path, number, `chosen is ${show(value.chosen)}; expected an array of ids`);
    }
    const { query, ...others } = value;
    yield { line: number, event: { ...others, query: queryOf(query, reader.path, number) } as Feedback };
  }
}

function queryOf(query: unknown, path: string, line: number): Feedback["query"] {
  if (typeof query === "string") return { text: query };
  if (typeof query === "object" && query !== null) return query as Feedback["query"];
  throw fault(path, line, `query is ${show(query)}; expected a text, an array of numbers, or an object`);
}
