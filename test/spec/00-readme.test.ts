/** The README holds: its programs print what it says, and its commands are there. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hebb } from "../support/cli.js";
import { commandsIn } from "../support/commands.js";
import { installedIn, replay, root } from "../support/documents.js";
import { scratch } from "../support/rows.js";

const read = (path: string): string => readFileSync(join(root, path), "utf8");
const path = scratch();

describe("README.md", () => {
  const readme = read("README.md");

  test("its programs print what stands below them, on new stores and on those that they left", () => {
    const folder = path("readme");
    installedIn(folder);
    expect(replay(readme, folder)).toBe(readme);
    expect(replay(readme, folder)).toBe(readme);
  });

  test("from nothing to the first result it takes five lines", () => {
    const [, first] = /```js\n(.*?)```/s.exec(readme)!;
    expect(first.trim().split("\n").length).toBeLessThanOrEqual(5);
  });

  test("its commands are in package.json", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm (?:run )?([a-z]+(?::[a-z]+)?)/g)].map(([, name]) => name);
    const missing = named.filter((name) => !(name in scripts) && name !== "ci");
    expect(missing).toEqual([]);
  });

  test("it names every command of `hebb`, in the order of its help", async () => {
    const [, named] = /`npx hebb ([a-z]+(?: [a-z]+){5,})`/.exec(readme)!;
    expect(named.split(" ")).toEqual(commandsIn((await hebb("--help")).out));
  });

  test("its map has every folder", () => {
    const MADE = ["build", "dist", "node_modules", "prebuilds"];
    const folders = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && !MADE.includes(entry.name))
      .map(({ name }) => name);
    const [, map] = /## Map of folders\s+```\n(.*?)```/s.exec(readme)!;
    const mapped = [...map.matchAll(/^(\w+)\//gm)].map(([, name]) => name);
    expect(mapped.sort()).toEqual(folders.sort());
  });
});
