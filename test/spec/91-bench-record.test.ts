/** The record of a commit: how it is made, what README says of it, and what is noticed when recall falls. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { heldToBaseline, readBaseline } from "../../bench/baseline.js";
import { RESULTS } from "../../bench/record.js";
import {
  newestRecord,
  type RecordFolder,
  recordCalled,
  recordsIn,
  writeIndex,
} from "../../bench/release/index-file.js";
import { commandOf, type Part, RELEASE } from "../../bench/release/parts.js";
import { runRelease } from "../../bench/release/run.js";
import { changesBetween, missingAmong, runCompare } from "../../bench/tables/compare.js";
import { documents, MEASURED, README } from "../../bench/tables/documents.js";
import { recall, speed, words } from "../../bench/tables/words.js";

const scratch = mkdtempSync(join(tmpdir(), "hebb-record-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const text = (path: string) => readFileSync(path, "utf8");

describe("README.md and docs/measured.md", () => {
  it('are what the newest record says (or run "npm run bench -- tables")', () => {
    const readme = text(README);
    const said = documents(newestRecord(RESULTS), readme);
    expect(readme).toBe(said.readme);
    expect(text(MEASURED)).toBe(said.measured);
  });

  it("take nothing by hand: what is changed between markers comes back", () => {
    const record = newestRecord(RESULTS);
    const readme = text(README);
    const changed = readme.replace(/(<!-- bench:search -->\n)/, "$1a better figure\n");
    expect(changed).not.toBe(readme);
    expect(documents(record, changed).readme).toBe(readme);
  });

  it("need a place for each table, and know no others", () => {
    const record = newestRecord(RESULTS);
    const readme = text(README);
    expect(() => documents(record, readme.replace("<!-- bench:size -->", ""))).toThrow(/no place for size/);
    expect(() => documents(record, readme.replace("bench:size", "bench:sise"))).toThrow(/nothing is called bench:sise/);
  });

  it("say what was not measured", () => {
    const { folder, index } = newestRecord(RESULTS);
    const { frozen: _, ...parts } = index.parts;
    const { readme } = documents({ folder, index: { ...index, parts } }, text(README));
    expect(readme).toMatch(/\| MNIST, 60,000 x 784 \| not measured \| not measured \|/);
  });
});

describe("figures in words", () => {
  it("read as text, and keep their values", () => {
    const { text: said, figures } = words`${speed(31801.4)} at ${recall(0.985)} of ${"MNIST"}`;
    expect(said).toBe("31,801 at .985 of MNIST");
    expect(figures.map(({ value }) => value)).toEqual([31801.4, 0.985]);
    expect(figures.map(({ mayFall }) => mayFall !== undefined)).toEqual([false, true]);
  });

  it("never round a miss up to 1", () => {
    expect([recall(0.9996).text, recall(1).text, recall(0.9996, 4).text]).toEqual([".9996", "1.000", ".9996"]);
    expect([recall(0.99951).text, recall(0.99949).text]).toEqual([".9995", ".999"]);
    expect(recall(undefined).text).toBe("not measured");
  });
});

describe("comparing records", () => {
  it("finds no change in the same record, and a fall of recall in one that has it", () => {
    const before = newestRecord(RESULTS);
    const same = changesBetween(before, before);
    expect(same.length).toBeGreaterThan(100);
    expect(same.filter(({ fell, ratio }) => fell || (ratio !== 1 && !Number.isNaN(ratio)))).toEqual([]);

    const folder = join(scratch, "fallen");
    cpSync(before.folder, folder, { recursive: true });
    const path = join(folder, "frozen.json");
    const frozen = JSON.parse(text(path)) as { results: { memory: { recallOfCodes: number }[] } };
    frozen.results.memory[0].recallOfCodes -= 0.011;
    frozen.results.memory[1].recallOfCodes -= 0.009;
    writeFileSync(path, JSON.stringify(frozen));
    const changed = changesBetween(before, recordCalled(folder, RESULTS)).filter(({ ratio }) => ratio < 1);
    expect(changed.map(({ what, fell }) => [what, fell])).toEqual([
      ["128 dimensions: recall@10 by codes alone: 1 bit", true],
      ["128 dimensions: recall@10 by codes alone: 2 bits", false],
    ]);
  });

  it("counts what was measured before and is not after, and does not take the newest record for the old one", () => {
    const before = newestRecord(RESULTS);
    const folder = join(scratch, "partial");
    cpSync(before.folder, folder, { recursive: true });
    const index = JSON.parse(text(join(folder, "index.json"))) as RecordFolder["index"];
    const { frozen: _, ...parts } = index.parts;
    writeIndex({ folder, index: { ...index, parts } });
    const same = changesBetween(before, before);
    const changes = changesBetween(before, recordCalled(folder, RESULTS));
    expect(missingAmong(same, before)).toBe(0);
    expect(changes.length).toBeLessThan(same.length);
    expect(missingAmong(changes, before)).toBe(same.length - changes.length);

    const results = join(scratch, "two");
    for (const [name, date] of [
      ["old", "2026-01-01"],
      ["new", "2026-02-01"],
    ] as const) {
      writeIndex({ folder: join(results, name), index: { ...index, date, parts: {} } });
    }
    expect(() => runCompare(results, ["new"])).toThrow(/new is the newest record; name an older one, or two/);
  });

  it("names the records there are where one is missing", () => {
    expect(() => recordCalled("no-such-record", RESULTS)).toThrow(new RegExp(basename(newestRecord(RESULTS).folder)));
  });
});

describe("bench release", () => {
  const quick: Part = { name: "quick", args: ["durability", "--only", "long", "--rows", "50"], minutes: 0.1 };
  const failing: Part = { name: "failing", args: ["ann", "--data", "no-such-data"], minutes: 0.1 };
  const later: Part = { name: "later", args: quick.args, minutes: 0.1 };

  it("fits into 50 minutes, each part under a name of its own", () => {
    expect(RELEASE.reduce((sum, { minutes }) => sum + minutes, 0)).toBeLessThanOrEqual(50);
    expect(new Set(RELEASE.map(({ name }) => name)).size).toBe(RELEASE.length);
    expect(commandOf(RELEASE[0])).toMatch(/^npm run bench -- ann /);
  });

  it("goes on after a part that fails, is resumed, and keeps one record before its own", async () => {
    const results = join(scratch, "results");
    const old = (name: string, date: string): RecordFolder => {
      const { machine } = newestRecord(RESULTS).index;
      return { folder: join(results, name), index: { commit: name, date, machine, parts: {} } };
    };
    writeIndex(old("oldest", "2020-01-01"));
    writeIndex(old("before", "2020-01-02"));
    const run = (parts: Part[], only = parts) =>
      runRelease({ parts, only: only.map(({ name }) => name), results, commit: "abc123" });

    expect(await run([failing, quick, later], [failing, quick])).toBe(false);
    const [begun] = recordsIn(results);
    expect(begun.index.commit).toBe("abc123");
    expect(begun.index.parts.failing).toMatchObject({ ok: false, args: failing.args });
    expect(begun.index.parts.failing.file).toBeUndefined();
    expect(begun.index.parts.quick).toMatchObject({ ok: true, file: "quick.json" });
    expect(recordsIn(results)).toHaveLength(3); // a part is missing: nothing is replaced yet

    // What is there stays; what left no figures is run again, with other data here so that it ends well.
    const written = text(join(begun.folder, "quick.json"));
    expect(await run([{ ...failing, args: quick.args }, quick, later])).toBe(true);
    expect(text(join(begun.folder, "quick.json"))).toBe(written);
    expect(readdirSync(begun.folder).sort()).toEqual(["failing.json", "index.json", "later.json", "quick.json"]);
    expect(recordsIn(results).map(({ folder }) => basename(folder))).toEqual([basename(begun.folder), "before"]);
    expect(existsSync(join(results, "oldest"))).toBe(false);
  });
});

describe("the smoke's baseline", () => {
  it("holds against itself, and fails on a fall that a broken search makes", () => {
    const baseline = readBaseline();
    expect(Object.keys(baseline).length).toBeGreaterThan(30);
    expect(heldToBaseline(baseline, baseline).holds).toBe(true);
    const [some] = Object.keys(baseline).filter((what) => what.startsWith("ann:"));
    const near = heldToBaseline({ ...baseline, [some]: baseline[some] - 0.019 }, baseline);
    expect(near.holds).toBe(true);
    const broken = heldToBaseline({ ...baseline, [some]: baseline[some] - 0.021 }, baseline);
    expect(broken).toMatchObject({ kind: "assertion", holds: false });
    expect(broken.figure).toContain(some);
  });

  it("does not mind a kernel that this machine lacks, but minds whatever else is missing", () => {
    const baseline = { "ann: a": 1, "frozen: sheet neon scan, 4 bits": 1 };
    expect(heldToBaseline({ "ann: a": 1 }, baseline).holds).toBe(true);
    expect(heldToBaseline({}, baseline).holds).toBe(false);
  });
});
