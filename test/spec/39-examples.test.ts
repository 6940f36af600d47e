/** The programs under examples/ do what their first lines say: on generated data, small. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { memoryScratch } from "../support/rows.js";

const CHECKOUT = fileURLToPath(new URL("../../", import.meta.url));
const path = memoryScratch();
const temporary = path("tmp");
mkdirSync(temporary);

/** What an example prints; nothing of it may stay behind. */
function run(name: string, ...args: string[]): string {
  const output = execFileSync(process.execPath, ["--import", "tsx", `examples/${name}.ts`, ...args], {
    cwd: CHECKOUT,
    encoding: "utf8",
    env: { ...process.env, TMPDIR: temporary, HEBB_DATA: path("no data") },
  });
  expect(readdirSync(temporary).filter((entry) => entry.startsWith("hebb-"))).toEqual([]);
  return output;
}

/** The numbers of the first line that begins with `start`. */
function figures(output: string, start: string): number[] {
  const line = output.split("\n").find((one) => one.trimStart().startsWith(start));
  if (line === undefined) throw new Error(`no line begins with "${start}" in:\n${output}`);
  return (line.slice(line.indexOf(start) + start.length).match(/\d+(\.\d+)?/g) ?? []).map(Number);
}

test.each(["thoughts", "symbols"])("%s says the same each time", (name) => {
  const output = run(name);
  expect(output.split("\n").length).toBeGreaterThan(10);
  expect(run(name)).toBe(output);
});

test.each([
  ["rag", path("nowhere"), /nowhere" is not there; expected a folder with markdown files/],
  ["robot-memory", "all", /all states; expected at least 2/],
])("%s %s is refused by what it says", (name, argument, message) => {
  expect(() => run(name, argument)).toThrow(message);
});

/**
 * Files on a topic each. What is asked for stands once in the file that answers, and three times in another one, so that
 * only clicks can tell which it is.
 */
function writeNotes(folder: string, topics: number, questions: number): void {
  const random = new Prng(3);
  mkdirSync(folder);
  const word = (topic: number, i: number) => `w${((topic + topics) % topics).toString(36)}x${i}`;
  for (let topic = 0; topic < topics; topic++) {
    const lines = Array.from(
      { length: questions },
      () => `## ${word(topic, random.below(5))} ${word(topic, 5 + random.below(5))}`,
    );
    for (let i = 0; i < 10; i++) lines.push(word(topic, i), ...Array<string>(3).fill(word(topic + 1 + i, i)));
    writeFileSync(`${folder}/note-${topic}.md`, lines.join("\n\n"));
  }
}

test("rag: what was clicked ranks higher for other questions, and from files that teach too little nothing is served", () => {
  const notes = path("notes");
  writeNotes(notes, 20, 8);
  const output = run("rag", notes);
  expect(figures(output, "Indexed")[0]).toBe(20);
  const [before, after, questions, better, worse] = figures(output, "all");
  expect(after).toBeGreaterThan(before + 0.1);
  expect(better).toBeGreaterThan(worse);
  expect(questions).toBeGreaterThan(20);

  const few = path("few");
  writeNotes(few, 5, 4);
  const refused = run("rag", few);
  expect(refused).toMatch(/nothing serve/);
  const [same, still, , none, neither] = figures(refused, "all");
  expect([still, none, neither]).toEqual([same, 0, 0]);
});

test("robot-memory: no acknowledged state is lost to SIGKILL, and states shrink into the budget", () => {
  const output = run("robot-memory", "500");
  const [acknowledged, kept] = figures(output, "Killed");
  expect(acknowledged).toBeGreaterThanOrEqual(250);
  expect(acknowledged).toBeLessThan(500);
  expect(kept).toBeGreaterThanOrEqual(acknowledged);
  expect(figures(output, "Went on")).toEqual([500, 0]);

  const [bytes, asFloats, ...perTier] = figures(output, "Vectors take");
  expect(asFloats).toBe(500 * 64 * 4);
  expect(bytes).toBeLessThanOrEqual(asFloats / 4);
  const counts = perTier.filter((_, i) => i % 2 === 0);
  expect(counts.reduce((sum, count) => sum + count)).toBe(500);
  const [whole, passed] = figures(output, "Recalled by whole vectors");
  expect(passed).toBeGreaterThan(100);
  for (const codes of ["Recalled by codes alone", "Recalled by codes, the best"]) {
    expect(figures(output, codes)[0]).toBeGreaterThan(0.9 * whole);
  }
});

test("recommender: what is learned serves while likes come in, and every ranker is judged", () => {
  const output = run("recommender", "700");
  expect(output.split("\n").filter((line) => line.startsWith("|"))).toHaveLength(12);
  const [popularity, itemKnn, vector, neural] = ["popularity", "item-kNN", "vector", "neural"].map((ranker) =>
    figures(output, ranker),
  );
  for (const means of [popularity, itemKnn, vector, neural]) {
    for (const mean of means) expect(mean).toBeLessThan(1);
  }
  expect(itemKnn[1]).toBeGreaterThan(popularity[1]);
  expect(neural[0]).toBeGreaterThan(vector[0]);
  expect(neural[1]).toBeGreaterThan(2 * vector[1]);
});
