import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filterOf, idOf, integerOf, vectorOf } from "../../src/cli/arguments.js";
import { formatBytes, formatDuration, progressState } from "../../src/cli/progress.js";
import { ndcgAt10 } from "../../src/cli/ranking.js";

const main = fileURLToPath(new URL("../../dist/src/cli/main.js", import.meta.url));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hebb-cli-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function hebb(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { cwd: folder, encoding: "utf8" });
  return { code: status, out: stdout, err: stderr };
}

/** What a command that must succeed prints with --json. */
function json(...args: string[]) {
  const { code, out, err } = hebb(...args, "--json");
  expect(err.replaceAll(/^[a-z ]+: .*\/s.*\n/gm, "")).toBe(""); // progress aside
  expect(code).toBe(0);
  expect(out.trim().split("\n")).toHaveLength(1);
  return JSON.parse(out);
}

describe("values on the command line", () => {
  it("ids: digits are a number, all else a string", () => {
    expect(idOf("42")).toBe(42);
    expect(idOf('"42"')).toBe("42");
    expect(idOf("a/b.md")).toBe("a/b.md");
    expect(idOf("99999999999999999999")).toBe("99999999999999999999");
  });

  it("bad ones are refused", () => {
    expect(() => integerOf("1.5")).toThrow("expected an integer");
    expect(() => integerOf("")).toThrow("expected an integer");
    expect(() => filterOf("[1]")).toThrow("expected a JSON object");
    expect(() => filterOf("{")).toThrow("not JSON");
    expect(() => vectorOf('["a"]')).toThrow("expected a JSON array of numbers");
  });
});

describe("progress", () => {
  it("says how far, how fast and how long", () => {
    expect(progressState(1500, 0.25, 3, "rows")).toEqual({
      percent: "25%",
      count: "1,500 rows",
      rate: "500/s",
      left: "9 s left",
    });
    expect(progressState(10, undefined, 2, "rows")).toEqual({ percent: "", count: "10 rows", rate: "5/s", left: "" });
  });

  it("speaks of time and bytes as people do", () => {
    expect([0.25, 12.4, 200, 7500].map(formatDuration)).toEqual(["250 ms", "12 s", "3 min 20 s", "2 h 5 min"]);
    expect([0, 1023, 1536, 5 * 2 ** 30].map(formatBytes)).toEqual(["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
  });
});

it("nDCG@10 with one relevant id", () => {
  expect([ndcgAt10(["a", "b"], "a"), ndcgAt10(["a", "b", "c"], "c"), ndcgAt10(["a"], "z")]).toEqual([1, 0.5, 0]);
  expect(ndcgAt10([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 11)).toBe(0);
});

describe("help", () => {
  it.each(["create", "add", "search", "query", "learn", "train", "stats", "check", "demo", "bench"])(
    "hebb %s --help has an example and --json",
    (command) => {
      const { code, out } = hebb(command, "--help");
      expect(code).toBe(0);
      expect(out).toMatch(/Examples?:\n {2}hebb /);
      expect(out).toContain("--json");
      expect(hebb("--help").out).toContain(`\n  ${command} `);
    },
  );

  it("--version is the package's", () => {
    expect(hebb("--version").out).toMatch(/^\d+\.\d+\.\d+/);
  });

  it("no command at all shows the help, and fails", () => {
    expect(hebb()).toMatchObject({ code: 1, out: "", err: expect.stringContaining("Usage: hebb") });
  });
});

describe("texts, from create to train", () => {
  const subjects = [
    "sorting arrays quickly",
    "parsing command line arguments",
    "colours in a terminal",
    "reading toml files",
  ];

  it("creates and adds a folder", () => {
    mkdirSync(join(folder, "notes/deep"), { recursive: true });
    for (let i = 0; i < 40; i++) {
      writeFileSync(
        join(folder, `notes/${i % 2 ? "deep/" : ""}n${i}.md`),
        `# Note ${i}\n${subjects[i % 4]} ${"abcdefghij"[i % 10]!.repeat(4)}`,
      );
    }
    expect(json("create", "notes.hebb", "--text")).toMatchObject({
      dimensions: 384,
      metric: "cosine",
      encoder: "hashed-tfidf",
    });
    expect(json("add", "notes.hebb", "notes")).toMatchObject({ rows: 40, new: 40, size: 40, skipped: [] });
    writeFileSync(join(folder, "extra.md"), "# One more");
    expect(json("add", "notes.hebb", "extra.md", "notes")).toMatchObject({ rows: 41, new: 1, size: 41 });
  });

  it("searches by text, by id and exactly", () => {
    const { hits, latencyMs } = json("search", "notes.hebb", "parsing", "arguments", "-k", "4");
    expect(hits).toHaveLength(4);
    expect(latencyMs).toBeGreaterThan(0);
    for (const { id, score, distance, payload } of hits) {
      expect(payload.text).toContain("command line");
      expect(payload).toMatchObject({ path: id });
      expect([typeof score, typeof distance]).toEqual(["number", "number"]);
    }
    const near = json("search", "notes.hebb", "--id", "n4.md", "-k", "3").hits;
    expect(
      json("search", "notes.hebb", "--id", "n4.md", "-k", "3", "--exact").hits.map((h: { id: string }) => h.id),
    ).toEqual(near.map((h: { id: string }) => h.id));
    expect(json("search", "notes.hebb", "toml", "-k", "50", "--filter", '{"path":"n12.md"}').hits).toHaveLength(1);
    expect(hebb("search", "notes.hebb", "toml files").out).toMatch(/score +distance +id\n +1 +\d\.\d{4} /);
  });

  it("queries by example and with full text", () => {
    expect(json("query", "notes.hebb", "terminal", "--hybrid", "-k", "3").hits).toHaveLength(3);
    const { hits } = json(
      "query",
      "notes.hebb",
      "-p",
      "n4.md",
      "-p",
      "n8.md",
      "-n",
      "deep/n1.md",
      "-m",
      "vector",
      "-k",
      "5",
    );
    expect(hits.every((hit: { payload: { text: string } }) => hit.payload.text.includes("sorting"))).toBe(true);
  });

  it("learns, trains and says so", () => {
    expect(json("learn", "notes.hebb", "-q", "paint the shell", "-c", "n2.md")).toMatchObject({ learned: 1 });
    const lines = Array.from({ length: 70 }, (_, i) =>
      JSON.stringify({ query: `${subjects[i % 4]} ${i}`, chosen: [`n${i % 4 === 0 ? 4 : 2}.md`] }),
    );
    writeFileSync(join(folder, "events.jsonl"), lines.join("\n"));
    expect(json("learn", "notes.hebb", "events.jsonl")).toMatchObject({ learned: 70, learning: { events: 71 } });
    expect(json("train", "notes.hebb", "--epochs", "1")).toMatchObject({ learning: { events: 71 } });
    expect(json("stats", "notes.hebb")).toMatchObject({
      size: 41,
      encoder: "hashed-tfidf",
      learning: { events: 71 },
      tiers: { hot: { count: 41 } },
    });
    expect(hebb("stats", "notes.hebb").out).toMatch(/rows +41\n/);
  });

  it("names the line of an event that cannot be learned", () => {
    writeFileSync(
      join(folder, "ghost.jsonl"),
      '{"query": "a", "chosen": ["n2.md"]}\n{"query": "b", "chosen": ["ghost"]}',
    );
    expect(hebb("learn", "notes.hebb", "ghost.jsonl")).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^hebb: BATCH_INCOMPLETE: 0 events are learned.*lines 1 to 2.*ghost.*\n$/),
    });
  });

  it("checks and benches", () => {
    expect(json("check", "notes.hebb")).toEqual({ ok: true, faults: [] });
    const { runs } = json("bench", "notes.hebb", "--queries", "20", "-k", "5");
    expect(runs.at(-1).recall).toBeGreaterThan(0.99);
    expect(hebb("bench", "notes.hebb").out).toContain("recall@10");
  });
});

describe("vectors", () => {
  it("go in as JSONL and come back by distance", () => {
    writeFileSync(
      join(folder, "v.jsonl"),
      '{"id": 1, "vector": [0, 0], "lang": "en"}\n{"id": 2, "vector": [0, 3]}\n{"id": "42", "vector": [4, 0]}',
    );
    json("create", "v.hebb", "--dimensions", "2", "--metric", "l2", "--index", "lang");
    expect(json("add", "v.hebb", "v.jsonl")).toMatchObject({ rows: 3, size: 3 });
    const { hits } = json("search", "v.hebb", "--vector", "[0, 1]", "-k", "2");
    expect(hits).toMatchObject([
      { id: 1, distance: 1, payload: { lang: "en" } },
      { id: 2, distance: 4 },
    ]);
    expect(json("search", "v.hebb", "--vector", "[0, 1]", "--exact", "--max-distance", "2").hits).toHaveLength(1);
    expect(json("search", "v.hebb", "--id", '"42"', "-k", "1").hits).toMatchObject([{ id: 1 }]);
  });
});

describe("demo", () => {
  it("indexes, searches, learns, tests on other questions, and leaves a store to try", () => {
    const { packages, tested, folds, stats } = json("demo", "demo.hebb");
    expect(packages).toBeGreaterThan(40);
    expect(stats).toMatchObject({
      size: packages,
      encoder: "hashed-tfidf",
      learning: { events: tested.all.questions },
    });
    expect(tested.all.questions).toBe(tested.chosen.questions + tested.never.questions);
    expect(tested.all.before).toBeGreaterThan(0.7); // most descriptions find their README
    expect(tested.all.after).toBeGreaterThan(tested.all.before - 0.02); // the gates keep harm away
    if (tested.servingFolds === 0) expect(tested.all.after).toBe(tested.all.before);
    expect(tested.servingFolds).toBeLessThanOrEqual(folds);
    expect(json("search", "demo.hebb", "parse command line arguments", "-k", "3").hits).toHaveLength(3);
    expect(json("check", "demo.hebb").ok).toBe(true);
  });
});

describe("errors: exit code 1, one line on stderr, nothing on stdout", () => {
  it.each([
    [["bogus"], "USAGE: unknown command 'bogus'"],
    [["serch"], "(Did you mean search?)"],
    [["search", "v.hebb", "x", "--effort", "3"], "USAGE: unknown option '--effort'"],
    [
      ["search", "v.hebb", "-k", "ten", "x"],
      "USAGE: option '-k, --k <n>' argument 'ten' is invalid. expected an integer",
    ],
    [["search"], "USAGE: missing required argument 'store'"],
    [["search", "v.hebb"], "BAD_ARGUMENT: nothing to look for; give a text, --vector, --id or --positive"],
    [["search", "v.hebb", "x", "--id", "1"], "BAD_ARGUMENT: more than one thing to look for"],
    [["search", "v.hebb", "words"], "NO_ENCODER"],
    [["search", "v.hebb", "--vector", "[1]"], "BAD_ARGUMENT"],
    [["search", "v.hebb", "--vector", "[1, 2]", "-k", "0"], "BAD_ARGUMENT: k is 0"],
    [["search", "v.hebb", "--id", "9"], "UNKNOWN_ID"],
    [["search", "v.hebb", "--id", "9", "--exact"], "UNKNOWN_ID"],
    [
      ["search", "nowhere.hebb", "x"],
      'STORE_NOT_FOUND: there is no store at nowhere.hebb; make one with "hebb create nowhere.hebb',
    ],
    [["create", "v.hebb", "-d", "2"], "STORE_EXISTS: v.hebb is there already"],
    [["create", "w.hebb"], "BAD_ARGUMENT: a store needs --dimensions <n>, or --text"],
    [["create", "w.hebb", "-d", "2", "-m", "hamming"], "Allowed choices are cosine, l2, dot"],
    [["create", "w.hebb", "-d", "2", "-c", "nowhere.toml"], "CONFIG_INVALID: nowhere.toml cannot be read"],
    [["add", "v.hebb", "v.csv"], "IO_ERROR: v.csv cannot be read"],
    [["learn", "v.hebb"], "BAD_ARGUMENT: learn takes either a file of events or --query"],
    [["learn", "v.hebb", "-q", "x"], "BAD_ARGUMENT: --query needs at least one --chosen <id>"],
    [["query", "v.hebb", "--id", "1", "-m", "psychic"], "expected one of vector, neural, subgraph, differentiable"],
  ])("hebb %j", (args, expected) => {
    const { code, out, err } = hebb(...args);
    expect(err).toContain(expected);
    expect(err).toMatch(/^hebb: [A-Z_]+: [^\n]*\n$/);
    expect({ code, out }).toEqual({ code: 1, out: "" });
  });
});
