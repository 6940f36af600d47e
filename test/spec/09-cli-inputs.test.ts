import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { ByteReader } from "../../src/cli/byte-reader.js";
import { readFeedback } from "../../src/cli/read-feedback.js";
import { titleOf } from "../../src/cli/read-folder.js";
import { openInput } from "../../src/cli/read-input.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hebb-inputs-"));
});

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

async function entriesOf(path: string) {
  const entries = [];
  for await (const entry of (await openInput(path)).entries) entries.push(entry);
  return entries;
}

/** The error that reading an input to its end gives. */
async function refusal(path: string): Promise<{ code: string; message: string }> {
  try {
    await entriesOf(path);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error(`accepted: ${path}`);
}

/** A .npy file as NumPy writes it. */
function npy(type: string, shape: number[], data: ArrayBufferView, version = 1, order = "False"): Buffer {
  const dict = `{'descr': '${type}', 'fortran_order': ${order}, 'shape': (${shape.join(", ")},), }`.replace(
    /(\d, \d+),\)/,
    "$1)",
  );
  const sizeBytes = version === 1 ? 2 : 4;
  const padded = dict.padEnd(Math.ceil((8 + sizeBytes + dict.length + 1) / 64) * 64 - 8 - sizeBytes - 1, " ");
  const head = Buffer.alloc(8 + sizeBytes);
  head.write("\x93NUMPY", "latin1");
  head[6] = version;
  head.writeUIntLE(padded.length + 1, 8, sizeBytes);
  return Buffer.concat([head, Buffer.from(`${padded}\n`), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}

function fvecs(rows: number[][]): Buffer {
  return Buffer.concat(
    rows.map((row) => {
      const bytes = Buffer.alloc(4 + 4 * row.length);
      bytes.writeInt32LE(row.length, 0);
      for (const [i, x] of row.entries()) bytes.writeFloatLE(x, 4 + 4 * i);
      return bytes;
    }),
  );
}

describe(".jsonl", () => {
  it("has an entry per line, with vector or text; other fields join the payload", async () => {
    const path = file(
      "a.jsonl",
      '{"id": 1, "vector": [0.5, 1], "payload": {"lang": "en"}, "year": 2020}\r\n\n{"id": "b", "text": "some words", "title": "T"}',
    );
    expect(await entriesOf(path)).toEqual([
      { id: 1, vector: [0.5, 1], payload: { lang: "en", year: 2020 } },
      { id: "b", text: "some words", payload: { text: "some words", title: "T" } },
    ]);
    expect(await openInput(path)).toMatchObject({ dimensions: 2, isText: false, count: undefined });
  });

  it("may be gzipped, longer than a chunk, and split inside a character", async () => {
    const lines = Array.from({ length: 30_000 }, (_, i) =>
      JSON.stringify({ id: i, text: `über ${"ä".repeat(i % 50)} Wörter` }),
    );
    const entries = await entriesOf(file("a.jsonl.gz", gzipSync(lines.join("\n"))));
    expect(entries).toHaveLength(30_000);
    expect(entries.every((entry, i) => entry.text === JSON.parse(lines[i]!).text)).toBe(true);
  });

  it("waits for whoever reads it late", async () => {
    const reader = await ByteReader.open(file("f.jsonl", '{"query": "q", "chosen": [1]}'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const events = [];
    for await (const event of readFeedback(reader)) events.push(event);
    expect(events).toHaveLength(1);
  });

  it("may be empty", async () => {
    expect(await entriesOf(file("a.jsonl", ""))).toEqual([]);
  });

  it.each([
    ['{"id": 1, "vector": [1]}\n{"id": 2, "vector": [1]', "line 2: not JSON"],
    ['{"id": 1, "vector": [1]}\n\n[3]', "line 3: [3] is no object"],
    ['{"vector": [1]}', "line 1: id is undefined; expected a string or an integer"],
    ['{"id": 1.5, "vector": [1]}', "line 1: id is 1.5"],
    ['{"id": 1}', 'line 1: expected either "vector" or "text"'],
    ['{"id": 1, "text": "a", "vector": [1]}', 'line 1: expected either "vector" or "text"'],
    ['{"id": 1, "vector": ["1"]}', 'line 1: vector is ["1"]; expected an array of numbers'],
    ['{"id": 1, "text": 5}', "line 1: text is 5; expected a string"],
    ['{"id": 1, "vector": [1], "payload": 3}', "line 1: payload is 3; expected an object"],
    [
      '{"id": 1, "vector": [1], "a": 1, "payload": {"a": 2}}',
      'line 1: "a" is both a field of the line and of its payload',
    ],
  ])("%s is refused, and the line is named", async (content, expected) => {
    const path = file("bad.jsonl", content);
    const { code, message } = await refusal(path);
    expect(code).toBe("FILE_UNSUPPORTED");
    expect(message).toContain(`${path}, ${expected}`);
  });
});

describe(".npy", () => {
  const values = [1, 2, 3, 4, 5, 250];
  it.each([
    ["<f4", Float32Array.from(values)],
    ["<f8", Float64Array.from(values)],
    ["|u1", Uint8Array.from(values)],
    ["<i2", Int16Array.from(values)],
    ["<u2", Uint16Array.from(values)],
    ["<i4", Int32Array.from(values)],
    ["<u4", Uint32Array.from(values)],
    ["<i8", BigInt64Array.from(values.map(BigInt))],
    ["<u8", BigUint64Array.from(values.map(BigInt))],
  ])("of type %s: a row is a vector, its number the id", async (type, data) => {
    const path = file("a.npy", npy(type, [3, 2], data));
    expect(await openInput(path)).toMatchObject({ count: 3, dimensions: 2, isText: false });
    expect(await entriesOf(path)).toEqual([
      { id: 0, vector: Float32Array.of(1, 2) },
      { id: 1, vector: Float32Array.of(3, 4) },
      { id: 2, vector: Float32Array.of(5, 250) },
    ]);
  });

  it("reads signed bytes, version 2 and gzip", async () => {
    const data = Int8Array.of(-1, 2);
    expect(await entriesOf(file("a.npy", npy("|i1", [1, 2], data, 2)))).toEqual([
      { id: 0, vector: Float32Array.of(-1, 2) },
    ]);
    const zipped = await entriesOf(file("a.npy.gz", gzipSync(npy("|i1", [1, 2], data))));
    expect(zipped).toEqual([{ id: 0, vector: Float32Array.of(-1, 2) }]);
  });

  it("knows how far it is", async () => {
    const input = await openInput(file("a.npy", npy("<f4", [4, 1], new Float32Array(4))));
    const fractions: number[] = [];
    for await (const _ of input.entries) fractions.push(input.fraction());
    expect(fractions).toEqual([0.25, 0.5, 0.75, 1]);
  });

  const two = new Float32Array(2);
  it.each([
    [
      "of an unsupported type",
      npy("<c8", [1, 2], new Float64Array(2)),
      "holds values of type <c8; supported are <f4, <f8, |u1",
    ],
    ["big-endian", npy(">f4", [1, 2], two), "holds values of type >f4"],
    ["in Fortran order", npy("<f4", [1, 2], two, 1, "True"), "is in Fortran order"],
    ["of one dimension", npy("<f4", [2], two), "has the shape (2); expected (rows, dimensions)"],
    ["of three dimensions", npy("<f4", [1, 2, 1], two), "has the shape (1, 2, 1)"],
    ["of no dimensions", npy("<f4", [2, 0], new Float32Array(0)), "has the shape (2, 0)"],
    ["that ends early", npy("<f4", [2, 2], two), "ends in row 1 of 2"],
    ["that goes on", npy("<f4", [1, 1], two), "goes on after its 1 rows"],
    ["of another version", npy("<f4", [1, 2], two, 4), "is .npy version 4"],
    ["that is none", Buffer.from("hello, world"), "does not begin like a .npy file"],
    ["that is cut in its header", npy("<f4", [1, 2], two).subarray(0, 20), "has a header that cannot be read"],
    ["that is empty", Buffer.alloc(0), "does not begin like a .npy file"],
  ])("%s is refused by name", async (_what, bytes, expected) => {
    const path = file("bad.npy", bytes);
    expect(await refusal(path)).toMatchObject({
      code: "FILE_UNSUPPORTED",
      message: expect.stringContaining(`${path} ${expected}`),
    });
  });

  it("that is damaged gzip is an IO_ERROR", async () => {
    const zipped = gzipSync(npy("<f4", [1, 2], two));
    expect(await refusal(file("a.npy.gz", zipped.subarray(0, 30)))).toMatchObject({ code: "IO_ERROR" });
  });
});

describe(".fvecs", () => {
  it("has a length and as many f32 per row", async () => {
    const path = file(
      "a.fvecs",
      fvecs([
        [1, 2],
        [3, 4],
      ]),
    );
    expect(await openInput(path)).toMatchObject({ count: 2, dimensions: 2 });
    expect((await entriesOf(path)).map(({ vector }) => Array.from(vector!))).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it.each([
    ["rows of different lengths", fvecs([[1, 2], [3]]), "has 1 dimensions in row 1; expected 2"],
    [
      "an early end",
      fvecs([
        [1, 2],
        [3, 4],
      ]).subarray(0, 20),
      "ends in row 1",
    ],
    ["a length of 0", fvecs([[]]), "begins with the length 0"],
    ["nothing", Buffer.alloc(0), "begins with the length 0"],
  ])("with %s is refused", async (_what, bytes, expected) => {
    expect((await refusal(file("bad.fvecs", bytes))).message).toContain(expected);
  });
});

describe("folders and text files", () => {
  it("have an entry per text file below, with its path as the id", async () => {
    file("b.txt", "plain words\nmore");
    file("sub/a.md", "intro\n# The *title*\nbody");
    file("sub/image.png", "x");
    file(".hidden/c.md", "# no");
    file("node_modules/d/readme.md", "# no");
    file("empty.md", " \n--\n");
    file("binary.txt", "a\0b");
    const input = await openInput(folder);
    const entries = [];
    for await (const entry of input.entries) entries.push(entry);
    expect(entries).toEqual([
      {
        id: "b.txt",
        text: "plain words\nmore",
        payload: { text: "plain words\nmore", path: "b.txt", title: "plain words" },
      },
      {
        id: "sub/a.md",
        text: "intro\n# The *title*\nbody",
        payload: { text: expect.any(String), path: "sub/a.md", title: "The title" },
      },
    ]);
    expect(input.skipped).toEqual(["binary.txt", "empty.md"]);
    expect(input).toMatchObject({ count: 4, isText: true });
    expect(input.fraction()).toBe(1);
  });

  it("a text file alone is one entry", async () => {
    expect(await entriesOf(file("note.md", "# Hi"))).toEqual([
      { id: "note.md", text: "# Hi", payload: { text: "# Hi", path: "note.md", title: "Hi" } },
    ]);
  });

  it("titles are without markup", () => {
    expect(titleOf("[![build](x.svg)](y)\n# [name](url) <sup>![b][v]</sup> #", "p")).toBe("name");
    expect(titleOf("# ![logo](x)\n\nFirst line", "p")).toBe("First line");
    expect(titleOf("", "dir/p.md")).toBe("p.md");
  });

  it("without text files are refused", async () => {
    expect(await refusal(folder)).toMatchObject({
      code: "FILE_UNSUPPORTED",
      message: expect.stringContaining("has no text files (.md,"),
    });
  });
});

describe("other inputs", () => {
  it("are refused, and what is supported is named", async () => {
    const csv = await refusal(file("a.csv", "1,2"));
    expect(csv).toMatchObject({ code: "FILE_UNSUPPORTED" });
    expect(csv.message).toMatch(/a\.csv is of type \.csv, which cannot be read; supported: \.jsonl, .*\.npy, \.fvecs/);
    expect((await refusal(file("noending", "1"))).message).toContain("has no ending that tells its type");
    expect(await refusal(join(folder, "missing.npy"))).toMatchObject({
      code: "IO_ERROR",
      message: expect.stringContaining("missing.npy cannot be read: there is no such file or folder"),
    });
  });
});

describe("feedback", () => {
  const read = async (content: string) => {
    const events = [];
    for await (const event of readFeedback(await ByteReader.open(file("f.jsonl", content)))) events.push(event);
    return events;
  };

  it("takes queries as texts, vectors and objects, and keeps line numbers", async () => {
    expect(
      await read(
        '{"query": "words", "chosen": ["a"]}\n\n{"query": [1, 2], "chosen": [1], "time": 5}\n{"query": {"id": 3}, "chosen": []}',
      ),
    ).toEqual([
      { line: 1, event: { query: { text: "words" }, chosen: ["a"] } },
      { line: 3, event: { query: [1, 2], chosen: [1], time: 5 } },
      { line: 4, event: { query: { id: 3 }, chosen: [] } },
    ]);
  });

  it.each([
    ['{"query": "q"}', "line 1: chosen is undefined; expected an array of ids"],
    ['{"chosen": [1]}', "line 1: query is undefined"],
    ['{"query": "q", "chosen": [1], "clicked": 2}', 'line 1: unknown field "clicked"'],
  ])("%s is refused", async (content, expected) => {
    await expect(read(content)).rejects.toThrow(expected);
  });
});
