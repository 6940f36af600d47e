/** The documents hold: the README's program prints what it says, links lead somewhere, commands and error codes are there. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

describe("README.md", () => {
  const readme = read("README.md");
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hebb-readme-"));
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules", "hebb"), "dir");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("its program prints what stands below it, on a new store and on the one it left", () => {
    const [, program, output] = /```js\n(.*?)```\s*```text\n(.*?)```/s.exec(readme)!;
    writeFileSync(join(folder, "shop.mjs"), program);
    const run = () => execFileSync(process.execPath, ["shop.mjs"], { cwd: folder, encoding: "utf8" });
    expect(run()).toBe(output);
    expect(run()).toBe(output);
  });

  test("its commands are in package.json", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm (?:run )?([a-z]+(?::[a-z]+)?)/g)].map(([, name]) => name);
    const missing = named.filter((name) => !(name in scripts) && name !== "ci");
    expect(missing).toEqual([]);
  });
});

test("links between documents lead to files", () => {
  const inFolder = (path: string) =>
    readdirSync(join(root, path))
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(path, name));
  const documents = [
    "README.md",
    "CHANGELOG.md",
    "bench/README.md",
    ...inFolder("docs"),
    ...inFolder("docs/decisions"),
  ];
  const broken = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, target]) => target)
      .filter((target) => !existsSync(resolve(root, dirname(document), target)))
      .map((target) => `${document}: ${target}`),
  );
  expect(broken).toEqual([]);
});

test("docs/operating.md has a remedy for every error code, and for no other", () => {
  const codes = [...read("base/errors.ts").matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map(([, code]) => code);
  const rows = [...read("docs/operating.md").matchAll(/^\| ([A-Z_]+) +\|/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(20);
  expect(rows).toEqual(codes);
});
