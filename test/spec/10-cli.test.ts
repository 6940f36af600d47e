import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filterOf, idOf, integerOf, vectorOf } from "../../src/cli/arguments.js";
import { curveChart } from "../../src/cli/curve-chart.js";
import { hitTable } from "../../src/cli/print.js";
import { counted, during, formatBytes, formatDuration, Progress, progressState } from "../../src/cli/progress.js";
import { ndcgAt10 } from "../../src/cli/ranking.js";
import { hebb, type Said } from "../support/cli.js";

const main = fileURLToPath(new URL("../../dist/src/cli/main.js", import.meta.url));
const started = process.cwd();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hebb-cli-"));
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(started);
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the program. */
function hebbProgram(...args: string[]): Said {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  return { code: status, out: stdout, err: stderr };
}

/** What a command that must succeed prints with --json. */
async function json(...args: string[]) {
  const { code, out, err } = await hebb(...args, "--json");
  const progress =
    /^(adding|learning|learning and testing|training|searching exactly|measuring|opening|closing|checking): .*\n/gm;
  expect(err.replaceAll(progress, "")).toBe("");
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
    expect(progressState(10, undefined, 2, "rows")).toEqual({ percent: "", count: "10 rows", rate: "5.0/s", left: "" });
  });

  /** A stream that keeps what is written. */
  function streamOf(isTTY: boolean) {
    const write = (text: string) => {
      kept.text += text;
      return true;
    };
    const kept = { text: "", isTTY, columns: 120, write };
    return kept as typeof kept & NodeJS.WriteStream;
  }
  const seconds = (n: number) => new Promise((resolve) => setTimeout(resolve, n * 1000));

  it("is a bar on a terminal and plain lines elsewhere, after a second; both go away or end", async () => {
    const [terminal, pipe] = [streamOf(true), streamOf(false)];
    const both = [new Progress("adding", "rows", terminal), new Progress("adding", "rows", pipe)];
    for (const progress of both) progress.update(10, 0.1);
    expect([terminal.text, pipe.text]).toEqual(["", ""]);
    await seconds(1.1);
    for (const progress of both) {
      progress.update(50, 0.5);
      progress.stop();
    }
    expect(pipe.text).toMatch(/^adding: 50%, 50 rows, [\d.]+\/s, (\d+ m?s|[\d.]+ ms) left\n$/);
    expect(stripVTControlCharacters(terminal.text)).toMatch(/adding █+░+ 50% 50 rows [\d.]+\/s \d+ m?s left/);
    expect(terminal.text.lastIndexOf("\x1b[2K")).toBeGreaterThan(terminal.text.lastIndexOf("left")); // taken away at last
  });

  it("of what nobody knows the end of is the time it takes, on a terminal", async () => {
    const [terminal, pipe] = [streamOf(true), streamOf(false)];
    expect(await during("checking", Promise.resolve(7), terminal)).toBe(7);
    expect(terminal.text).toBe("");
    await Promise.all([during("checking", seconds(1.2), terminal), during("checking", seconds(1.2), pipe)]);
    expect(stripVTControlCharacters(terminal.text)).toMatch(/^\rchecking: \d s\r/);
    expect(terminal.text.endsWith("\r\x1b[K")).toBe(true); // and taken away
    expect(pipe.text).toBe("");
  });

  it("speaks of time and bytes as people do", () => {
    expect([0.0012, 0.25, 12.4, 200, 7500].map(formatDuration)).toEqual([
      "1.20 ms",
      "250 ms",
      "12 s",
      "3 min 20 s",
      "2 h 5 min",
    ]);
    // What rounds up is of the next unit.
    expect([0.9996, 59.6, 3599.6, 7199].map(formatDuration)).toEqual(["1 s", "1 min 0 s", "1 h 0 min", "2 h 0 min"]);
    expect([2 ** 20 - 1, 2 ** 30 - 1].map(formatBytes)).toEqual(["1.0 MiB", "1.0 GiB"]);
    expect([counted(1, "row"), counted(0, "row"), counted(1234, "row")]).toEqual(["1 row", "0 rows", "1,234 rows"]);
    expect([0, 1023, 1536, 5 * 2 ** 30].map(formatBytes)).toEqual(["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
  });
});

it("nDCG@10 with one relevant id", () => {
  expect([ndcgAt10(["a", "b"], "a"), ndcgAt10(["a", "b", "c"], "c"), ndcgAt10(["a"], "z")]).toEqual([1, 0.5, 0]);
  expect(ndcgAt10([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 11)).toBe(0);
});

describe("the learning curve", () => {
  const point = (events: number, gain: number, serves = gain !== 0, trained = false) => ({
    events,
    gain,
    judged: 16,
    serving: serves ? ["shift" as const] : ("static" as const),
    trained,
  });
  const lines = (...points: ReturnType<typeof point>[]) => curveChart(points).split("\n").slice(1);

  it("is drawn above and below zero, with what served", () => {
    expect(lines(point(16, 0), point(32, -0.04), point(48, 0.04, true, true), point(1600, 0.1))).toEqual([
      "+0.1000 |      #",
      "        |      #",
      "        |      #",
      "        |    # #",
      "        |    # #",
      "      0 |. = T =",
      "        |  #",
      "-0.0400 |  #",
      "         16  1,600",
    ]);
  });

  it("is a line of zeros while static serves, and nothing before the first judged event", () => {
    expect(lines(point(16, 0), point(20, 0))).toEqual(["      0 |. .", "         16  20"]);
    expect(curveChart([])).toBe("");
  });
});

it("hits fit into the terminal's width", () => {
  const hit = {
    id: "a-name-of-some-length.md",
    score: 0.5,
    distance: -0.00000001,
    payload: { text: "word ".repeat(40) },
  };
  const [head, first] = hitTable([hit], 80).split("\n") as [string, string];
  expect(head).toMatch(/score +distance +id/);
  expect(first).toMatch(/^1 +0\.5000 +0\.0000 +a-name-of-some-length\.md +word .*\.\.\.$/);
  expect(first.length).toBeLessThanOrEqual(80);
  expect(hitTable([hit], 20)).toContain("word word");
  expect(hitTable([], 80)).toBe("nothing found");
});

it("what rows hold is shown to a terminal, and never obeyed by it", () => {
  const text = "\x1b[2J\x9b31m\u202etxt";
  const shown = hitTable([{ id: `a\nb${text}`, score: 1, distance: 0, payload: { text } }], 200);
  expect(shown.split("\n")).toHaveLength(2);
  expect(shown).toContain("a\\u000ab\\u001b[2J\\u009b31m\\u202etxt");
  expect(shown).not.toMatch(/[^\n\x20-\x7e]/);
});

it.skipIf(!existsSync("/dev/full"))("output that cannot be written is one line of an error", () => {
  const { status, stderr } = spawnSync(process.execPath, [main, "--help"], {
    encoding: "utf8",
    stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
  });
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringMatching(/^hebb: IO_ERROR: the output cannot be written: .*ENOSPC.*\n$/),
  });
});

describe("help", () => {
  it.each([
    "create",
    "add",
    "search",
    "query",
    "learn",
    "train",
    "stats",
    "inspect",
    "report",
    "check",
    "demo",
    "bench",
  ])("hebb %s --help has an example and --json", async (command) => {
    const { code, out } = await hebb(command, "--help");
    expect(code).toBe(0);
    expect(out).toMatch(/Examples?:\n {2}hebb /);
    expect(out).toContain("--json");
    expect((await hebb("--help")).out).toContain(`\n  ${command} `);
  });
});

describe("the program", () => {
  it("--version is the package's", () => {
    expect(hebbProgram("--version")).toEqual({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), err: "" });
  });

  it("no command at all shows the help, and fails", () => {
    expect(hebbProgram()).toMatchObject({ code: 1, out: "", err: expect.stringContaining("Usage: hebb") });
  });

  it("an error is exit code 1 and one line", () => {
    expect(hebbProgram("stats", "nowhere.hebb")).toEqual({
      code: 1,
      out: "",
      err: 'hebb: STORE_NOT_FOUND: there is no store at nowhere.hebb; make one with "hebb create nowhere.hebb --text" or "--dimensions <n>"\n',
    });
  });

  it("makes a store, adds texts and finds them; a reader that has seen enough is no error", () => {
    writeFileSync(join(folder, "zebra.md"), "# Stripes\nA zebra has them.");
    expect(hebbProgram("create", "program.hebb", "--text").code).toBe(0);
    expect(hebbProgram("add", "program.hebb", "zebra.md")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^1 row added in /),
    });
    const command = `"${process.execPath}" "${main}" search program.hebb zebra | head -n 2; exit \${PIPESTATUS[0]}`;
    const { status, stdout, stderr } = spawnSync("bash", ["-c", command], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^ +score +distance +id\n1 +\d\.\d{4} .*zebra\.md +Stripes\n$/);
  });
});

describe("texts, from create to train", () => {
  const subjects = [
    "sorting arrays quickly",
    "parsing command line arguments",
    "colours in a terminal",
    "reading toml files",
  ];

  it("creates and adds a folder", async () => {
    mkdirSync(join(folder, "notes/deep"), { recursive: true });
    for (let i = 0; i < 40; i++) {
      writeFileSync(
        join(folder, `notes/${i % 2 ? "deep/" : ""}n${i}.md`),
        `# Note ${i}\n${subjects[i % 4]} ${"abcdefghij"[i % 10]!.repeat(4)}`,
      );
    }
    expect(await json("create", "notes.hebb", "--text")).toMatchObject({
      dimensions: 384,
      metric: "cosine",
      encoder: "hashed-tfidf",
    });
    expect(await json("add", "notes.hebb", "notes")).toMatchObject({ rows: 40, new: 40, size: 40, skipped: [] });
    writeFileSync(join(folder, "extra.md"), "# One more");
    expect(await json("add", "notes.hebb", "extra.md", "notes")).toMatchObject({ rows: 41, new: 1, size: 41 });
  });

  it("searches by text, by id and exactly", async () => {
    const { hits, latencyMs } = await json("search", "notes.hebb", "parsing", "arguments", "-k", "4");
    expect(hits).toHaveLength(4);
    expect(latencyMs).toBeGreaterThan(0);
    for (const { id, score, distance, payload } of hits) {
      expect(payload.text).toContain("command line");
      expect(payload).toMatchObject({ path: id });
      expect([typeof score, typeof distance]).toEqual(["number", "number"]);
    }
    const near = (await json("search", "notes.hebb", "--id", "n4.md", "-k", "3")).hits;
    expect(
      (await json("search", "notes.hebb", "--id", "n4.md", "-k", "3", "--exact")).hits.map((h: { id: string }) => h.id),
    ).toEqual(near.map((h: { id: string }) => h.id));
    expect((await json("search", "notes.hebb", "toml", "-k", "50", "--filter", '{"path":"n12.md"}')).hits).toHaveLength(
      1,
    );
    expect((await hebb("search", "notes.hebb", "toml files")).out).toMatch(/score +distance +id\n +1 +\d\.\d{4} /);
  });

  it("queries by example and with full text", async () => {
    expect((await json("query", "notes.hebb", "terminal", "--hybrid", "-k", "3")).hits).toHaveLength(3);
    const { hits } = await json(
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

  it("learns, trains and says so", async () => {
    expect(await json("learn", "notes.hebb", "-q", "paint the shell", "-c", "n2.md")).toMatchObject({ learned: 1 });
    const lines = Array.from({ length: 70 }, (_, i) =>
      JSON.stringify({ query: `${subjects[i % 4]} ${i}`, chosen: [`n${i % 4 === 0 ? 4 : 2}.md`] }),
    );
    writeFileSync(join(folder, "events.jsonl"), lines.join("\n"));
    expect(await json("learn", "notes.hebb", "events.jsonl")).toMatchObject({ learned: 70, learning: { events: 71 } });
    expect(await json("train", "notes.hebb", "--epochs", "1")).toMatchObject({ learning: { events: 71 } });
    expect(await json("stats", "notes.hebb")).toMatchObject({
      size: 41,
      encoder: "hashed-tfidf",
      learning: { events: 71 },
      tiers: { hot: { count: 41 } },
    });
    const { out } = await hebb("stats", "notes.hebb");
    expect(out).toMatch(/rows +41\n/);
    expect(out).toMatch(/nDCG@10 gained over static.*\n(.*\n)* +0 \|[.=] .*T\n/);
  });

  it("names the line of an event that cannot be learned", async () => {
    writeFileSync(
      join(folder, "ghost.jsonl"),
      '{"query": "a", "chosen": ["n2.md"]}\n{"query": "b", "chosen": ["ghost"]}',
    );
    expect(await hebb("learn", "notes.hebb", "ghost.jsonl")).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^hebb: BATCH_INCOMPLETE: 0 events learned.*lines 1 to 2.*ghost.*\n$/),
    });
  });

  it("checks and benches", async () => {
    expect(await json("check", "notes.hebb")).toEqual({ ok: true, faults: [] });
    const { runs } = await json("bench", "notes.hebb", "--queries", "20", "-k", "5");
    expect(runs.at(-1).recall).toBeGreaterThan(0.99);
    expect((await hebb("bench", "notes.hebb")).out).toContain("recall@10");
  });
});

describe("vectors", () => {
  it("go in as JSONL and come back by distance", async () => {
    writeFileSync(
      join(folder, "v.jsonl"),
      '{"id": 1, "vector": [0, 0], "lang": "en"}\n{"id": 2, "vector": [0, 3]}\n{"id": "42", "vector": [4, 0]}',
    );
    await json("create", "v.hebb", "--dimensions", "2", "--metric", "l2", "--index", "lang");
    expect(await json("add", "v.hebb", "v.jsonl")).toMatchObject({ rows: 3, size: 3 });
    const { hits } = await json("search", "v.hebb", "--vector", "[0, 1]", "-k", "2");
    expect(hits).toMatchObject([
      { id: 1, distance: 1, payload: { lang: "en" } },
      { id: 2, distance: 4 },
    ]);
    expect((await json("search", "v.hebb", "--vector", "[0, 1]", "--exact", "--max-distance", "2")).hits).toHaveLength(
      1,
    );
    expect((await json("search", "v.hebb", "--id", '"42"', "-k", "1")).hits).toMatchObject([{ id: 1 }]);
  });
});

describe("a new user's first steps", () => {
  it("an empty store says that it is empty", async () => {
    await json("create", "empty.hebb", "--text");
    expect(await hebb("search", "empty.hebb", "words")).toMatchObject({
      code: 0,
      out: expect.stringContaining("nothing found"),
      err: 'hebb: warning: empty.hebb is empty; "hebb add empty.hebb <input>" puts rows into it\n',
    });
    expect(await hebb("train", "empty.hebb")).toMatchObject({
      code: 0,
      out: 'empty.hebb has no feedback to train on; "hebb learn empty.hebb" gives it some\n',
    });
  });

  it("a store whose writer was killed is brought up to its log, and says so once", async () => {
    const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
    const program = `
      import { open } from ${JSON.stringify(library)};
      const index = await open("killed.hebb", { dimensions: 2, metric: "l2" });
      await index.put("a", [1, 2]);
      process.kill(process.pid, "SIGKILL");`;
    spawnSync(process.execPath, ["--input-type=module", "-e", program]);
    expect(await hebb("check", "killed.hebb")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^killed\.hebb: no faults/),
      err: "hebb: warning: killed.hebb was not closed by its last writer; it has been brought up to its log\n",
    });
    expect((await json("search", "killed.hebb", "--vector", "[1, 2]")).hits).toMatchObject([{ id: "a" }]);
  });

  it("faults are listed, with exit code 1", async () => {
    await json("create", "faulty.hebb", "--dimensions", "64");
    const rows = Array.from({ length: 300 }, (_, id) => JSON.stringify({ id, vector: Array(64).fill(id + 1) }));
    writeFileSync(join(folder, "rows.jsonl"), rows.join("\n"));
    await json("add", "faulty.hebb", "rows.jsonl");
    const path = join(folder, "faulty.hebb/index.hebb");
    const bytes = readFileSync(path);
    bytes[Math.floor(bytes.length / 2)]! ^= 1;
    writeFileSync(path, bytes);
    expect(await hebb("check", "faulty.hebb")).toMatchObject({
      code: 1,
      out: expect.stringMatching(/INDEX_CORRUPT .*\nfaulty\.hebb: 1 faults? \(/),
    });
  });
});

describe("demo", () => {
  it("indexes, searches, learns, tests on other questions, and leaves a store to try", async () => {
    const { packages, tested, folds, stats } = await json("demo", "demo.hebb", "--folds", "2", "--packages", "60");
    expect(packages).toBe(60);
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
    expect((await json("search", "demo.hebb", "parse command line arguments", "-k", "3")).hits).toHaveLength(3);
    expect((await json("check", "demo.hebb")).ok).toBe(true);
  });
});

describe("errors: exit code 1, one line on stderr, nothing on stdout", () => {
  beforeAll(() => {
    mkdirSync(join(folder, "vacant"));
    writeFileSync(join(folder, "void.jsonl"), "");
    writeFileSync(join(folder, "narrow.jsonl"), '{"id": 1, "vector": [1]}');
  });

  it.each([
    [["bogus"], "USAGE: unknown command 'bogus'"],
    [["serch"], "(Did you mean search?)"],
    [["search", "v.hebb", "x", "--effort", "3"], "USAGE: unknown option '--effort'"],
    [
      ["search", "v.hebb", "-k", "ten", "x"],
      "USAGE: option '-k, --k <n>' argument 'ten' is invalid. expected an integer",
    ],
    [["search"], "USAGE: missing required argument 'store'; see \"hebb search --help\""],
    [["stats", "notes"], "NOT_A_STORE: notes is no store, and holds"],
    [["stats", "vacant"], 'STORE_NOT_FOUND: there is no store at vacant; make one with "hebb create vacant'],
    [["stats", "extra.md"], "NOT_A_STORE: extra.md is no directory"],
    [["stats", "v.hebb", "w.hebb"], "USAGE: too many arguments"],
    [["create", "extra.md", "--text"], "STORE_EXISTS: extra.md is a file"],
    [["demo", "extra.md"], "STORE_EXISTS: extra.md is a file"],
    [["demo", "--folds", "1"], "BAD_ARGUMENT: --folds is 1; expected 2 to 20"],
    [["demo", "--packages", "3"], "BAD_ARGUMENT: --packages is 3; expected 20 to 10000"],
    [
      ["add", "v.hebb", "extra.md"],
      'NO_ENCODER: v.hebb was made for vectors and takes no texts; make a store for texts with "hebb create <store> --text"',
    ],
    [["add", "v.hebb", "narrow.jsonl"], "BAD_ARGUMENT: vector of id 1 has 1 value"],
    [["learn", "v.hebb", "void.jsonl"], "FILE_UNSUPPORTED: void.jsonl holds no events"],
    [["search", "v.hebb"], "BAD_ARGUMENT: nothing to look for; give a text, --vector, --id or --positive"],
    [["search", "v.hebb", "x", "--id", "1"], "BAD_ARGUMENT: more than one thing to look for"],
    [["search", "v.hebb", "words"], "NO_ENCODER: v.hebb was made for vectors"],
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
  ])("hebb %j", async (args, expected) => {
    const { code, out, err } = await hebb(...args);
    expect(err).toContain(expected);
    expect(err).toMatch(/^hebb: [A-Z_]+: [^\n]*\n$/);
    expect({ code, out }).toEqual({ code: 1, out: "" });
  });
});
