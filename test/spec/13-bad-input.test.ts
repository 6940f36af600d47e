/**
 * Bad input gets a clear error, and nothing changes. An error says what was wrong with which value, what was
 * expected, and where it helps what to do next. Mistakes of the caller are TypeError or RangeError; faults of
 * operation are HebbError with a stable code. (An unknown operator of a filter: 04-filters. `.npy` of a type that
 * cannot be read: 09-cli-inputs.)
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { crc32c } from "../../native/index.js";
import {
  type EntryColumns,
  type Feedback,
  type Filter,
  HebbError,
  type Index,
  type OpenOptions,
  open,
  type SearchOptions,
} from "../../src/index.js";
import { SLOT_BYTES, SLOTS } from "../../storage/format.js";
import { errorOf, scratch } from "../support/rows.js";

const path = scratch();
const d = 3;
let index: Index;
let before: unknown;

/** All that can be seen of an index. */
function contents(): unknown {
  const { learning, size } = index.stats();
  return { size, events: learning.events, rows: [...index.entries()], found: index.search([1, 1, 1], { k: 100 }) };
}

beforeAll(async () => {
  index = await open(path("a.hebb"), { dimensions: d, metric: "cosine" });
  await index.putMany([
    { id: "doc-1", vector: [1, 2, 3], payload: { lang: "en" } },
    { id: "doc-2", vector: [3, 2, 1], payload: { lang: "de" } },
  ]);
});
afterAll(() => index.close());
beforeEach(() => {
  before = contents();
});
afterEach(async () => {
  expect(contents()).toEqual(before);
  expect(await index.check()).toEqual({ ok: true, faults: [] });
});

type Refusal = [
  name: string,
  call: () => unknown,
  kind: typeof TypeError | typeof RangeError | string,
  message: RegExp,
];

/** Runs each case; a string is a HebbError's code. */
function refuses(cases: Refusal[]): void {
  test.each(cases)("%s", async (_, call, kind, message) => {
    const error = await errorOf(call);
    if (typeof kind === "string") {
      expect(error).toBeInstanceOf(HebbError);
      expect((error as HebbError).code).toBe(kind);
      expect(error.message.startsWith(`${kind}: `)).toBe(true);
    } else {
      expect(error).toBeInstanceOf(kind);
      expect(error).not.toBeInstanceOf(HebbError);
    }
    expect(error.message).toMatch(message);
  });
}

const v = (...values: number[]) => Float32Array.from(values);
const bytes513 = `${"é".repeat(256)}x`;
const cycle: Record<string, unknown> = {};
cycle.self = cycle;

describe("a vector", () => {
  const put = (vector: unknown) => () => index.put("new", vector as Float32Array);
  refuses([
    [
      "of more dimensions",
      put(v(1, 2, 3, 4)),
      RangeError,
      /^vector of id "new" has 4 values; expected 3, the index's dimensions$/,
    ],
    ["of fewer dimensions", put([1]), RangeError, /has 1 values; expected 3/],
    ["empty", put([]), RangeError, /has 0 values; expected 3/],
    [
      "with NaN",
      put(v(1, Number.NaN, 3)),
      RangeError,
      /^vector of id "new" holds NaN at position 1; expected finite numbers$/,
    ],
    ["with infinity", put(v(1, 2, -Infinity)), RangeError, /holds -Infinity at position 2; expected finite/],
    ["beyond float32", put([1e300, 0, 0]), RangeError, /holds Infinity at position 0/],
    ["with a hole", put(Object.assign(new Array(3), { 0: 1, 2: 3 })), RangeError, /holds NaN at position 1/],
    [
      "of zeros under cosine",
      put(v(0, -0, 0)),
      RangeError,
      /^vector of id "new" has length 0; expected between .* under cosine, where a direction is needed$/,
    ],
    ["too short for a direction", put(v(1e-30, 0, 0)), RangeError, /under cosine, where a direction is needed/],
    [
      "of text",
      put("1,2,3"),
      TypeError,
      /^vector of id "new" is "1,2,3"; expected a Float32Array \(or array\) of 3 numbers\. A text is given as \{ text \}$/,
    ],
    ["of strings", put(["1", "2", "3"]), TypeError, /is an array of 3; expected a Float32Array/],
    ["of integers by type", put(Int8Array.of(1, 2, 3)), TypeError, /is a Int8Array; expected a Float32Array/],
    ["missing", put(undefined), TypeError, /is undefined; expected a Float32Array/],
    ["null", put(null), TypeError, /is null; expected a Float32Array/],
    [
      "a promise",
      put(Promise.resolve(v(1, 2, 3))),
      TypeError,
      /is a promise \(await it first\); expected a Float32Array/,
    ],
    [
      "as a text, without an encoder",
      put({ text: "hello" }),
      "NO_ENCODER",
      /needs an encoder; open the index with encoder/,
    ],
  ]);

  test("so long that distances overflow, where directions do not matter", async () => {
    for (const metric of ["l2", "dot"] as const) {
      const other = await open(path(`long-${metric}`), { dimensions: 2, metric });
      expect((await errorOf(() => other.put("a", [3e38, 3e38]))).message).toMatch(
        /"a" is longer than .*overflow; expected smaller/,
      );
      expect((await errorOf(() => other.search([3e38, -3e38]))).message).toMatch(/query is longer than .*overflow/);
      await other.putMany({ ids: [1, 2, 3], vectors: v(5e17, 5e17, -5e17, -5e17, 0, 0) });
      for (const { distance } of other.search([5e17, 5e17])) expect(Number.isFinite(distance)).toBe(true);
      await other.close();
    }
  });
});

describe("an id", () => {
  const put = (id: unknown) => () => index.put(id as string, v(1, 1, 1));
  const expected = /expected a safe integer or a string of 1-512 bytes$/;
  refuses([
    ["empty", put(""), RangeError, /^id "" has 0 bytes of UTF-8; expected 1-512$/],
    ["too long", put("x".repeat(513)), RangeError, /^id "x{57}\.\.\." has 513 bytes of UTF-8; expected 1-512$/],
    ["too long in bytes, not in characters", put(bytes513), RangeError, /has 513 bytes of UTF-8; expected 1-512$/],
    ["half a surrogate pair", put("a\ud800"), TypeError, /half a surrogate pair; expected well-formed text$/],
    ["NaN", put(Number.NaN), TypeError, /^id is NaN/],
    ["no integer", put(1.5), TypeError, /^id is 1\.5; expected a safe integer/],
    ["too large an integer", put(2 ** 53), TypeError, /^id is 9007199254740992; expected a safe integer/],
    ["infinite", put(Infinity), TypeError, expected],
    ["a bigint", put(1n), TypeError, /^id is 1n; expected/],
    ["a symbol", put(Symbol("s")), TypeError, expected],
    ["null", put(null), TypeError, /^id is null; expected/],
    ["missing", put(undefined), TypeError, /^id is undefined; expected/],
    ["an object", put({}), TypeError, expected],
    ["a String object", put(Object("doc-1")), TypeError, expected],
    ["to get", () => index.get({} as string), TypeError, expected],
    ["to look for", () => index.has(""), RangeError, /has 0 bytes/],
    ["to give a payload", () => index.setPayload("", {}), RangeError, /has 0 bytes/],
    ["to delete, beside good ones", () => index.delete(["doc-1", "", "doc-2"]), RangeError, /has 0 bytes/],
    ["to delete, a hole", () => index.delete(new Array(1)), TypeError, /^id is undefined/],
    [
      "to delete, without an array",
      () => index.delete("doc-1" as unknown as string[]),
      TypeError,
      /^delete got "doc-1"; expected an array of ids, or \{ filter \}$/,
    ],
    [
      "to delete, nothing named",
      () => index.delete(undefined as unknown as string[]),
      TypeError,
      /^delete got undefined/,
    ],
    [
      "to delete, everything by mistake",
      () => index.delete({} as { filter: Filter }),
      TypeError,
      /^delete got an object; expected an array of ids, or \{ filter \}$/,
    ],
    [
      "several, without an array",
      () => index.getMany("doc-1" as unknown as string[]),
      TypeError,
      /^ids is "doc-1"; expected an array/,
    ],
  ]);
});

describe("a payload", () => {
  const put = (payload: unknown) => () => index.put("doc-1", v(9, 9, 9), payload as object as Record<string, never>);
  refuses([
    [
      "that is text",
      put("en"),
      TypeError,
      /^payload of id "doc-1" is "en"; expected a plain object that JSON can hold$/,
    ],
    ["that is a number", put(5), TypeError, /is 5; expected a plain object/],
    ["that is an array", put([1]), TypeError, /is an array of 1; expected a plain object/],
    ["with a bigint", put({ a: 1n }), TypeError, /^payload of id "doc-1" cannot be written as JSON: .*BigInt/],
    ["with a cycle", put(cycle), TypeError, /cannot be written as JSON: .*circular/s],
    [
      "whose toJSON throws",
      put({
        toJSON: () => {
          throw null;
        },
      }),
      TypeError,
      /cannot be written as JSON: null/,
    ],
    ["that becomes text", put({ toJSON: () => "text" }), TypeError, /becomes .*text.* as JSON; expected an object/],
    ["that is a Map", put(new Map([["a", 1]])), TypeError, /becomes "\{\}" as JSON; expected an object/],
    ["that is a promise", put(Promise.resolve({})), TypeError, /is a promise \(await it first\); expected an object/],
    ["that is a Date", put(new Date(0)), TypeError, /becomes .*1970.* as JSON; expected an object/],
    [
      "larger than 16 MiB",
      put({ text: "x".repeat(17 << 20) }),
      RangeError,
      /has \d+ bytes as JSON; expected at most 16777216$/,
    ],
    [
      "set on a row",
      () => index.setPayload("doc-1", [] as object as Record<string, never>),
      TypeError,
      /an array of 0; expected a plain object/,
    ],
    [
      "for a row that is not there",
      () => index.setPayload("ghost", {}),
      "UNKNOWN_ID",
      /"ghost" is not in the index; put it first/,
    ],
  ]);
});

describe("a batch is all or nothing:", () => {
  const good = { id: "good", vector: v(1, 1, 2) };
  const many = (rows: unknown) => () => index.putMany(rows as EntryColumns);
  refuses([
    [
      "one id twice, as columns",
      many({ ids: ["a", "b", "a"], vectors: new Float32Array(9).fill(1) }),
      RangeError,
      /^id "a" appears twice in one batch; expected each id once$/,
    ],
    ["one id twice, as entries", many([good, { ...good }]), RangeError, /^id "good" appears twice/],
    ["0 and -0", many({ ids: [0, -0], vectors: new Float32Array(6).fill(1) }), RangeError, /^id 0 appears twice/],
    ["a bad id at the end", many([good, { id: "", vector: v(1, 1, 1) }]), RangeError, /has 0 bytes/],
    [
      "a bad vector at the end",
      many([good, { id: "bad", vector: v(0, 0, 0) }]),
      RangeError,
      /^vector of id "bad" has length 0/,
    ],
    [
      "a bad value in columns",
      many({ ids: ["a", "b"], vectors: v(1, 1, 1, 1, Number.NaN, 1) }),
      RangeError,
      /^vector of id "b" holds NaN at position 1; expected finite numbers$/,
    ],
    [
      "a zero vector in columns",
      many({ ids: ["a", "b"], vectors: v(1, 1, 1, 0, 0, 0) }),
      RangeError,
      /^vector of id "b" has length 0/,
    ],
    [
      "a bad payload at the end",
      many([good, { id: "bad", vector: v(1, 1, 1), payload: [] }]),
      TypeError,
      /^payload of id "bad"/,
    ],
    [
      "an entry that is none",
      many([good, "bad"]),
      TypeError,
      /^entry 1 is "bad"; expected \{ id, vector or text, payload \}$/,
    ],
    [
      "an entry with another field",
      many([good, { ...good, id: "b", metadata: {} }]),
      TypeError,
      /^entry 1: unknown option "metadata"/,
    ],
    ["an entry with text and vector", many([{ ...good, text: "x" }]), TypeError, /^id "good" has both vector and text/],
    ["a hole between entries", many(Object.assign(new Array(2), { 0: good })), TypeError, /^entry 1 is undefined/],
    ["ids with holes", many({ ids: new Array(1), vectors: v(1, 1, 1) }), TypeError, /^id is undefined/],
    [
      "too few vectors",
      many({ ids: ["a", "b"], vectors: v(1, 1, 1) }),
      RangeError,
      /^vectors holds 1 rows of 3; expected 2, one for each id$/,
    ],
    [
      "too many vectors",
      many({ ids: ["a"], vectors: new Float32Array(6).fill(1) }),
      RangeError,
      /^vectors holds 2 rows/,
    ],
    [
      "half a vector",
      many({ ids: ["a"], vectors: new Float32Array(4).fill(1) }),
      RangeError,
      /^vectors has 4 values; expected a multiple of 3/,
    ],
    [
      "vectors as arrays",
      many({ ids: ["a"], vectors: [[1, 1, 1]] }),
      TypeError,
      /^vectors is an array of 1; expected a Float32Array of n x 3 values$/,
    ],
    [
      "too few payloads",
      many({ ids: ["a", "b"], vectors: new Float32Array(6).fill(1), payloads: [{}] }),
      RangeError,
      /^payloads is an array of 1; expected an array of 2/,
    ],
    ["neither vectors nor texts", many({ ids: ["a"] }), TypeError, /vectors or texts, and not both/],
    [
      "vectors and texts",
      many({ ids: ["a"], vectors: v(1, 1, 1), texts: ["x"] }),
      TypeError,
      /vectors or texts, and not both/,
    ],
    [
      "texts that are none",
      many({ ids: ["a"], texts: [5] }),
      TypeError,
      /^texts is an array of 1; expected an array of 1 strings/,
    ],
    ["no ids", many({ vectors: v(1, 1, 1) }), TypeError, /^ids is undefined; expected an array of ids$/],
    [
      "nothing",
      many(undefined),
      TypeError,
      /^putMany got undefined; expected \{ ids, vectors, payloads \}, an array of entries, or an iterable$/,
    ],
    ["text", many("rows"), TypeError, /^putMany got "rows"/],
    [
      "a column by another name",
      many({ ids: ["a"], vector: v(1, 1, 1) }),
      TypeError,
      /unknown option "vector"; did you mean "vectors"\?/,
    ],
    [
      "progress that cannot be called",
      () => index.putMany([good], { onProgress: "yes" as unknown as () => void }),
      TypeError,
      /^onProgress is "yes"; expected a function/,
    ],
    [
      "an iterable of bad rows",
      many(new Set([{ id: "a", vector: "x" }])),
      "BATCH_INCOMPLETE",
      /^BATCH_INCOMPLETE: 0 rows are in, .*vector of id "a" is "x"/,
    ],
  ]);
});

describe("a search", () => {
  const q = v(1, 2, 3);
  const search = (options: unknown) => () => index.search(q, options as SearchOptions);
  refuses([
    ["k = 0", search({ k: 0 }), RangeError, /^k is 0; expected an integer from 1 to 1000000$/],
    ["k < 0", search({ k: -3 }), RangeError, /^k is -3; expected an integer from 1/],
    ["k no integer", search({ k: 2.5 }), RangeError, /^k is 2\.5; expected an integer/],
    ["k NaN", search({ k: Number.NaN }), RangeError, /^k is NaN/],
    ["k text", search({ k: "10" }), RangeError, /^k is "10"; expected an integer/],
    [
      "k an object without a prototype",
      search({ k: Object.create(null) }),
      RangeError,
      /^k is an object; expected an integer/,
    ],
    [
      "k too large",
      search({ k: 1_000_001 }),
      RangeError,
      /^k is 1000001; expected an integer from 1 to 1000000\. For all/,
    ],
    ["ef = 0", search({ ef: 0 }), RangeError, /^ef is 0; expected an integer from 1 to 1000000$/],
    ["ef no integer", search({ ef: 1.5 }), RangeError, /^ef is 1\.5/],
    [
      "an unknown option",
      search({ efSearch: 64 }),
      TypeError,
      /^search: unknown option "efSearch"; did you mean "ef"\? Valid: k, ef, filter, include, maxDistance, exact/,
    ],
    [
      "a misspelled option",
      search({ maxdistance: 1 }),
      TypeError,
      /unknown option "maxdistance"; did you mean "maxDistance"\?/,
    ],
    [
      "options that are a number",
      search(5),
      TypeError,
      /^search: the options are 5; expected an object with any of k, ef/,
    ],
    ["options that are null", search(null), TypeError, /^search: the options are null; expected an object/],
    ["options that are an array", search([10]), TypeError, /^search: the options are an array/],
    ["include that is no list", search({ include: "payload" }), TypeError, /^include is "payload".*payload, vector$/],
    [
      "include of something else",
      search({ include: ["score"] }),
      TypeError,
      /^include is .*"score".*expected a list of payload, vector$/,
    ],
    ["maxDistance NaN", search({ maxDistance: Number.NaN }), TypeError, /^maxDistance is NaN; expected a number$/],
    ["exact that is no boolean", search({ exact: "yes" }), TypeError, /^exact is "yes"; expected true or false$/],
    [
      "a query of other dimensions",
      () => index.search(v(1, 2)),
      RangeError,
      /^query has 2 values; expected 3, the index's dimensions$/,
    ],
    [
      "a query with NaN",
      () => index.search(v(1, 2, Number.NaN)),
      RangeError,
      /^query holds NaN at position 2; expected finite numbers$/,
    ],
    [
      "a zero query under cosine",
      () => index.search(v(0, 0, 0)),
      RangeError,
      /^query has length 0; expected .* under cosine/,
    ],
    [
      "no query",
      () => index.search(undefined as unknown as Float32Array),
      TypeError,
      /^query is undefined; expected a Float32Array/,
    ],
    [
      "many queries, one with NaN",
      () => index.searchMany(v(1, 1, 1, 1, Number.NaN, 1)),
      RangeError,
      /^query 1 holds NaN at position 1/,
    ],
    ["many queries, one of zeros", () => index.searchMany(v(1, 1, 1, 0, 0, 0)), RangeError, /^query 1 has length 0/],
    [
      "many queries, cut short",
      () => index.searchMany(v(1, 1, 1, 1)),
      RangeError,
      /^queries has 4 values; expected a multiple of 3/,
    ],
    [
      "many queries, as arrays",
      () => index.searchMany([[1, 1, 1]] as unknown as Float32Array),
      TypeError,
      /^queries is an array of 1; expected a Float32Array of n x 3 values$/,
    ],
    [
      "many queries, an unknown option",
      () => index.searchMany(q, { K: 3 } as SearchOptions),
      TypeError,
      /^searchMany: unknown option "K"; did you mean "k"\?/,
    ],
    [
      "entries, an unknown option",
      () => index.entries({ where: {} } as object),
      TypeError,
      /^entries: unknown option "where"; did you mean "filter"\?/,
    ],
    [
      "count of what is no filter",
      () => index.count("en" as unknown as object as Record<string, never>),
      TypeError,
      /^filter is "en"; expected an object/,
    ],
  ]);

  const nodes =
    (k: unknown, ef: unknown, room: number, query: unknown = q) =>
    () =>
      index.searchNodes(
        query as Float32Array,
        k as number,
        ef as number,
        new Uint32Array(room),
        new Float32Array(room),
      );
  refuses([
    ["of nodes, without k", nodes(undefined, 10, 10), RangeError, /^k is undefined; expected an integer/],
    ["of nodes, k = 0", nodes(0, 10, 10), RangeError, /^k is 0/],
    ["of nodes, ef = 0", nodes(1, 0, 10), RangeError, /^ef is 0/],
    [
      "of nodes, too little room",
      nodes(5, 10, 4),
      RangeError,
      /^outNodes has room for 4, outDistances for 4; expected at least k = 5$/,
    ],
    ["of nodes, other dimensions", nodes(1, 1, 1, v(1, 2)), RangeError, /^query has 2 values; expected 3/],
    ["of nodes, NaN", nodes(1, 1, 1, v(1, 2, Number.NaN)), RangeError, /^query holds NaN/],
    [
      "of nodes, no arrays to write to",
      () => index.searchNodes(q, 1, 1, [] as unknown as Uint32Array, new Float32Array(1)),
      TypeError,
      /^outNodes is an array of 0.*expected a Uint32Array and a Float32Array$/,
    ],
  ]);
});

describe("feedback", () => {
  const q = [1, 2, 3];
  const learn =
    (...events: unknown[]) =>
    () =>
      index.learn(events as Feedback[]);
  const good = { query: q, chosen: ["doc-1"] };
  refuses([
    ["none", () => index.learn([]), TypeError, /^learn got an array of 0; expected an array of 1-100000 events$/],
    [
      "not as an array",
      () => index.learn(good as unknown as Feedback[]),
      TypeError,
      /^learn got an object; expected an array/,
    ],
    ["that is text", learn("good"), TypeError, /^event 0 is "good"; expected \{ query, chosen \}$/],
    [
      "with an unknown field",
      learn({ ...good, choosen: [] }),
      TypeError,
      /^event 0: unknown option "choosen"; did you mean "chosen"\?/,
    ],
    [
      "without a query",
      learn({ chosen: ["doc-1"] }),
      TypeError,
      /^query of event 0 is undefined; expected a vector, \{ text \}, \{ id \} or \{ positive, negative, weights \}$/,
    ],
    ["of other dimensions", learn({ ...good, query: [1] }), RangeError, /^query of event 0 has 1 values; expected 3/],
    ["with NaN", learn({ ...good, query: [1, 2, Number.NaN] }), RangeError, /^query of event 0 holds NaN/],
    ["of a zero query", learn({ ...good, query: [0, 0, 0] }), RangeError, /^query of event 0 has length 0/],
    ["of a text, without an encoder", learn({ ...good, query: { text: "x" } }), "NO_ENCODER", /needs an encoder/],
    [
      "of an unknown query id",
      learn({ ...good, query: { id: "ghost" } }),
      "UNKNOWN_ID",
      /names id "ghost", which is not .* partial: true$/,
    ],
    [
      "of nothing chosen",
      learn({ query: q, chosen: [] }),
      TypeError,
      /^chosen of event 0 is an array of 0; expected an array of at least one id/,
    ],
    [
      "choosing an unknown id",
      learn({ query: q, chosen: ["ghost"] }),
      "UNKNOWN_ID",
      /"ghost", which is not in the index; put it first, leave it out, or learn the rest with partial: true$/,
    ],
    ["in the second of two events", learn(good, { query: q, chosen: ["ghost"] }), "UNKNOWN_ID", /"ghost"/],
    [
      "like what is no list",
      learn({ ...good, query: { positive: 5 } }),
      TypeError,
      /^positive of query of event 0 is 5/,
    ],
    [
      "unlike what is no list",
      learn({ ...good, query: { positive: ["doc-1"], negative: {} } }),
      TypeError,
      /^negative of query of event 0 is an object; expected an array of ids$/,
    ],
    ["showing an unknown id", learn({ ...good, shown: ["doc-1", "ghost"] }), "UNKNOWN_ID", /"ghost"/],
    ["rejecting an unknown id", learn({ ...good, rejected: ["ghost"] }), "UNKNOWN_ID", /"ghost"/],
    [
      "choosing what was not shown",
      learn({ ...good, shown: ["doc-2"] }),
      RangeError,
      /^id "doc-1" of event 0 was chosen and is not among shown/,
    ],
    [
      "with a grade of 0",
      learn({ query: q, chosen: [{ id: "doc-1", grade: 0 }] }),
      RangeError,
      /^grade of "doc-1" in event 0 is 0; expected a number > 0$/,
    ],
    [
      "with a grade of NaN",
      learn({ query: q, chosen: [{ id: "doc-1", grade: Number.NaN }] }),
      RangeError,
      /is NaN; expected a number > 0$/,
    ],
    [
      "with a source that is no text",
      learn({ ...good, source: 5 }),
      TypeError,
      /^source of event 0 is 5; expected a string of at most 512 bytes$/,
    ],
    [
      "with a source too long",
      learn({ ...good, source: "x".repeat(513) }),
      TypeError,
      /^source of event 0 .*512 bytes/,
    ],
    [
      "from before all time",
      learn({ ...good, time: -1 }),
      RangeError,
      /^time of event 0 is -1; expected milliseconds since 1970$/,
    ],
    [
      "at a time that is a Date",
      learn({ ...good, time: new Date(0) }),
      RangeError,
      /^time of event 0 .*milliseconds since 1970$/,
    ],
    [
      "training, no epochs",
      () => index.train({ epochs: 0 }),
      RangeError,
      /^epochs is 0; expected an integer from 1 to 1000$/,
    ],
    [
      "training, an unknown option",
      () => index.train({ epoch: 3 } as object),
      TypeError,
      /^train: unknown option "epoch"; did you mean "epochs"\?/,
    ],
    [
      "training, progress that cannot be called",
      () => index.train({ onProgress: 1 as unknown as () => void }),
      TypeError,
      /^onProgress is 1; expected a function/,
    ],
    [
      "training, a signal that is none",
      () => index.train({ signal: {} as AbortSignal }),
      TypeError,
      /^signal is an object; expected an AbortSignal$/,
    ],
  ]);
});

describe("opening", () => {
  const opening =
    (options: unknown, name = "never.hebb") =>
    () =>
      open(path(name), options as OpenOptions);
  const good = { dimensions: 3, metric: "l2" };
  refuses([
    [
      "with an unknown option",
      opening({ ...good, readonly: true }),
      TypeError,
      /^open: unknown option "readonly"; did you mean "readOnly"\? Valid: dimensions, metric/,
    ],
    [
      "0 dimensions",
      opening({ ...good, dimensions: 0 }),
      RangeError,
      /^dimensions is 0; expected an integer from 1 to 65536$/,
    ],
    [
      "too many dimensions",
      opening({ ...good, dimensions: 65537 }),
      RangeError,
      /^dimensions is 65537; expected an integer from 1 to 65536$/,
    ],
    [
      "dimensions as text",
      opening({ ...good, dimensions: "3" }),
      RangeError,
      /^dimensions is "3"; expected an integer/,
    ],
    [
      "an unknown metric",
      opening({ ...good, metric: "euclidean" }),
      TypeError,
      /^metric is "euclidean"; expected one of cosine, l2, dot$/,
    ],
    [
      "a metric alone",
      opening({ metric: "l2" }),
      TypeError,
      /only one of dimensions and metric; expected both \(to create\) or none \(to open what is there\)$/,
    ],
    [
      "an unknown durability",
      opening({ ...good, durability: "fsync" }),
      TypeError,
      /^durability is "fsync"; expected one of sync, interval, off$/,
    ],
    [
      "an unknown encoder",
      opening({ ...good, encoder: "gpt" }),
      TypeError,
      /^encoder is "gpt"; expected a function .*"hashed-tfidf"$/,
    ],
    [
      "readOnly that is no boolean",
      opening({ ...good, readOnly: 1 }),
      TypeError,
      /^readOnly is 1; expected true or false$/,
    ],
    [
      "indexes that are no list",
      opening({ ...good, indexes: "lang" }),
      TypeError,
      /^indexes is "lang"; expected an array of payload fields$/,
    ],
    [
      "an index of no field",
      opening({ ...good, indexes: ["a..b"] }),
      TypeError,
      /^indexes: "a\.\.b"; expected a payload field/,
    ],
    [
      "an unknown key of the config",
      opening({ ...good, config: { ruvector: { hnsw_n: 3 } } }),
      "CONFIG_INVALID",
      /ruvector\.hnsw_n.*hnsw_m/,
    ],
    [
      "a config of other dimensions",
      opening({ ...good, config: { ruvector: { embedding_dim: 4 } } }),
      "CONFIG_INVALID",
      /embedding_dim is 4, but the store's dimensions are 3; make them equal or leave the key out$/,
    ],
    ["options that are null", opening(null), TypeError, /^open: the options are null; expected an object/],
    [
      "a path that is none",
      () => open(5 as unknown as string, good as OpenOptions),
      TypeError,
      /^directory is 5; expected a path/,
    ],
    ["an empty path", () => open("", good as OpenOptions), TypeError, /^directory is ""; expected a path/],
    ["a path with NUL", () => open("/tmp/a\0b", good as OpenOptions), TypeError, /NUL/],
    [
      "nothing, to read",
      opening({ readOnly: true }),
      "STORE_NOT_FOUND",
      /never\.hebb holds no store; give dimensions and metric to create one$/,
    ],
    ["what this process writes", opening({}, "a.hebb"), "STORE_LOCKED", /a\.hebb is held by this process.*close it/],
  ]);

  test("none of that made anything", () => {
    expect(readdirSync(path("."))).not.toContain("never.hebb");
  });

  test("a file, or a directory that holds other things", async () => {
    writeFileSync(path("notes.txt"), "not a store");
    mkdirSync(path("photos"));
    writeFileSync(path("photos/cat.jpg"), "");
    for (const name of ["notes.txt", "photos"]) {
      const error = await errorOf(opening(good, name));
      expect(error).toMatchObject({ code: "NOT_A_STORE", message: expect.stringContaining(path(name)) });
    }
    expect(readFileSync(path("notes.txt"), "utf8")).toBe("not a store");
    expect(readdirSync(path("photos"))).toEqual(["cat.jpg"]);
  });

  test("other dimensions, another metric or another shape of graph than stored", async () => {
    await (await open(path("other.hebb"), { dimensions: 3, metric: "l2" })).close();
    const cases: [OpenOptions, RegExp][] = [
      [{ dimensions: 4, metric: "l2" }, /3.*4|4.*3/],
      [{ dimensions: 3, metric: "dot" }, /l2.*dot|dot.*l2/],
      [
        { config: { ruvector: { hnsw_m: 9 } } },
        /ruvector\.hnsw_m is 9, but the store was made with \d+; leave the key out/,
      ],
    ];
    for (const [options, message] of cases) {
      const error = await errorOf(opening(options, "other.hebb"));
      expect(error).toMatchObject({ code: "STORE_MISMATCH", message: expect.stringMatching(message) });
    }
    const same = await open(path("other.hebb"));
    expect([same.dimensions, same.metric, same.size]).toEqual([3, "l2", 0]);
    await same.close();
  });

  test("a store of a newer version", async () => {
    await (await open(path("old.hebb"), { dimensions: 3, metric: "l2" })).close();
    cpSync(path("old.hebb"), path("newer.hebb"), { recursive: true });
    const file = join(path("newer.hebb"), "index.hebb");
    const bytes = readFileSync(file);
    for (const at of SLOTS) {
      const slot = bytes.subarray(at, at + SLOT_BYTES);
      slot.writeUInt32LE(9, 8); // the version
      slot.writeUInt32LE(0, 12);
      slot.writeUInt32LE(crc32c(slot), 12);
    }
    writeFileSync(file, bytes);
    const error = await errorOf(opening({}, "newer.hebb"));
    expect(error).toMatchObject({
      code: "STORE_VERSION",
      message: expect.stringMatching(/format version 9; this release reads up to 1\. Use the newer release$/),
    });
    expect(readFileSync(file)).toEqual(bytes);
  });

  test("for writing what another process writes", async () => {
    const at = path("theirs.hebb");
    const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
    const program = `
      import { open } from ${JSON.stringify(library)};
      const index = await open(${JSON.stringify(at)}, { dimensions: 3, metric: "l2" });
      console.log("open");
      process.stdin.on("data", async () => { await index.close(); process.exit(0); });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(createInterface({ input: child.stdout }), "line");
    for (const options of [{}, good]) {
      const error = await errorOf(opening(options, "theirs.hebb"));
      expect(error).toMatchObject({
        code: "STORE_LOCKED",
        message: expect.stringContaining(`held by process ${child.pid}`),
      });
    }
    child.stdin.write("close\n");
    await once(child, "exit");
    await (await open(at)).close();
  });
});
