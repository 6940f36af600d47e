/**
 * The documents hold: programs print what stands below them, docs/reference.md has every export and docs/commands.md
 * every command, sizes are those of stores, links lead somewhere, and every error code has its remedy. `-u` writes what
 * follows from the code anew: the outputs of programs, and all of reference.md and commands.md.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { open } from "../../src/index.js";
import { commandsText } from "../support/commands.js";
import { installedIn, replay, root } from "../support/documents.js";
import { exportsOf, referenceText } from "../support/reference.js";
import { randomRows, scratch } from "../support/rows.js";
import { bytesPerVector, partsOf, type Sizing } from "../support/sizing.js";

const read = (path: string): string => readFileSync(join(root, path), "utf8");
const path = scratch();

test.each(["docs/start.md", "docs/concepts/frozen.md"])(
  "%s: each program, run in order in an empty folder, prints what stands below it",
  async (document) => {
    const folder = path(document.replaceAll("/", "-"));
    installedIn(folder);
    await expect(replay(read(document), folder)).toMatchFileSnapshot(join(root, document));
  },
);

test("docs/reference.md has every export, method, option and setting, with its docstring", async () => {
  const text = referenceText();
  const missing = [...exportsOf(join(root, "src/index.ts")).keys()].filter(
    (name) => !new RegExp(`^##+ ${name}\\b`, "m").test(text),
  );
  expect(missing).toEqual([]);
  await expect(text).toMatchFileSnapshot(join(root, "docs/reference.md"));
});

test("docs/commands.md has what every command says of itself", async () => {
  const text = await commandsText();
  expect(text.match(/^## /gm)!.length).toBeGreaterThan(15);
  await expect(text).toMatchFileSnapshot(join(root, "docs/commands.md"));
});

describe("docs/operating.md", () => {
  const operating = read("docs/operating.md");

  test("has a remedy for every error code, and for no other", () => {
    const codes = [...read("base/errors.ts").matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map(([, code]) => code);
    const rows = [...operating.matchAll(/^\| ([A-Z_]+) +\|/gm)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(20);
    expect(rows).toEqual(codes);
  });

  /** Half a MiB: heads, checksums, and what the last block of each section leaves free. */
  const BESIDE_ROWS = 1 << 19;
  const SIZINGS: Sizing[] = [
    { dimensions: 40, m: 32, profile: "turbo", cosine: true },
    { dimensions: 272, m: 16, profile: "compact", cosine: false },
    { dimensions: 100, m: 12, profile: "small", cosine: true },
  ];
  test.each(SIZINGS)(
    "its formula gives the size of a store: $dimensions dimensions, M $m, $profile",
    async (sizing) => {
      const { dimensions, m, profile, cosine } = sizing;
      const rows = 8000;
      const index = await open(path(`sized-${profile}`), {
        dimensions,
        metric: cosine ? "cosine" : "l2",
        durability: "off",
        config: { ruvector: { hnsw_m: m, graph_profile: profile, hnsw_ef_construction: 10 } },
      });
      await index.putMany({
        ids: Array.from({ length: rows }, (_, i) => i),
        vectors: randomRows(rows, dimensions, 38),
      });
      await index.settle();
      await index.compact();
      const { graph, bytes } = index.stats();
      await index.close();
      expect(graph.rowBytes).toBe(partsOf(sizing).row);
      expect(graph.bytesPerVector).toBeCloseTo(bytesPerVector(sizing), -0.5);
      const fixed = 128 * dimensions * 8 + (1 << 20); // room for an adapter, and at most a block more in each section
      expect(bytes.file).toBeGreaterThan(0.99 * rows * bytesPerVector(sizing));
      expect(bytes.file).toBeLessThan(1.01 * rows * bytesPerVector(sizing) + fixed);
    },
  );

  test("its table of sizes is that of the formula", () => {
    const [, ...lines] = /^\| vectors \| dimensions \|.*\n\| --- .*\n((?:\|.*\n)+)/m
      .exec(operating)![1]
      .split("\n")
      .reverse();
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) {
      const [, vectors, dimensions, ...sizes] = line.split("|").map((cell) => cell.trim());
      const [n, d] = [vectors, dimensions].map((count) => Number(count.replaceAll(",", "")));
      const expected = (["turbo", "compact", "small"] as const).map((profile) => {
        const bytes = n * bytesPerVector({ dimensions: d, m: 32, profile, cosine: true }) + BESIDE_ROWS;
        return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
      });
      expect(sizes.slice(0, 3), line).toEqual(expected);
    }
  });
});

/** Files of the project by their ending, with what is made or installed left out. */
function filesOf(folder: string, endings: readonly string[]): string[] {
  const LEFT_OUT = ["node_modules", "dist", "build", "prebuilds", "results"];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = join(folder, entry.name);
    if (entry.name.startsWith(".") || LEFT_OUT.includes(entry.name)) return [];
    if (entry.isDirectory()) return filesOf(name, endings);
    return endings.some((ending) => name.endsWith(ending)) ? [name] : [];
  });
}

/** What a heading is called in links, as GitHub makes it. */
const anchorOf = (heading: string): string =>
  heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(" ", "-");

function anchorsOf(document: string): Set<string> {
  const anchors = new Set<string>();
  const text = read(document).replaceAll(/^```.*?^```/gms, "");
  for (const [, heading] of text.matchAll(/^#+ (.*)$/gm)) {
    const anchor = anchorOf(heading);
    let name = anchor;
    for (let again = 1; anchors.has(name); again++) name = `${anchor}-${again}`;
    anchors.add(name);
  }
  return anchors;
}

describe("links", () => {
  const documents = filesOf(".", [".md"]);

  test("between documents lead to files, and to headings in them", () => {
    const broken = documents.flatMap((document) =>
      [
        ...read(document)
          .replaceAll(/^```.*?^```|`[^`\n]*`/gms, "")
          .matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)/g),
      ]
        .filter(([, file, anchor]) => {
          const target = relative(root, file ? resolve(root, dirname(document), file) : join(root, document));
          if (!existsSync(join(root, target))) return true;
          return anchor !== undefined && target.endsWith(".md") && !anchorsOf(target).has(anchor);
        })
        .map(([link]) => `${document}: ${link}`),
    );
    expect(documents.length).toBeGreaterThan(20);
    expect(broken).toEqual([]);
  });

  test("in code spans name folders and files that are there", () => {
    const folders = "base|native|model|storage|training|src|bench|test|examples|packing|docs";
    const broken = documents.flatMap((document) =>
      [...read(document).matchAll(new RegExp(`\`((?:${folders})/[\\w./-]*)\``, "g"))]
        .filter(([, named]) => !existsSync(join(root, named)))
        .map(([, named]) => `${document}: ${named}`),
    );
    expect(broken).toEqual([]);
  });

  test("in comments and messages lead to documents that are there", () => {
    const sources = ["base", "native", "model", "storage", "training", "src", "bench", "test", "examples", "packing"];
    const files = [...sources.flatMap((folder) => filesOf(folder, [".ts", ".mjs", ".cpp", ".hpp"])), "config.toml"];
    const broken = files.flatMap((file) =>
      [...read(file).matchAll(/\bdocs\/[\w/-]+\.md\b/g)]
        .filter(([document]) => !existsSync(join(root, document)))
        .map(([document]) => `${file}: ${document}`),
    );
    expect(files.length).toBeGreaterThan(200);
    expect(broken).toEqual([]);
  });

  test("of docs/ leave no document out: the README or a document names each", () => {
    const named = new Set(
      documents.flatMap((document) =>
        [...read(document).matchAll(/\]\(([^)#\s]+\.(?:md|svg))/g)].map(([, to]) =>
          relative(root, resolve(root, dirname(document), to)),
        ),
      ),
    );
    expect(filesOf("docs", [".md", ".svg"]).filter((file) => !named.has(file))).toEqual([]);
  });
});
