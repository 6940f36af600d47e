/**
 * Frozen bundles and bad input: an error names the thing, the value and what was expected; what was there stays; and a
 * bundle from anywhere, however well it is sealed, is refused or answers something, and does nothing else.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { kernelTraits } from "../../native/index.js";
import { checkKernel } from "../../src/engine/frozen-kernel.js";
import { Linker } from "../../src/engine/linker.js";
import { type FrozenIndex, HebbError, type Id, type Index, open, openFrozen, readRbpx } from "../../src/index.js";
import { BundleWriter } from "../../storage/bundle-writer.js";
import { diskFiles } from "../../storage/files.js";
import { type Manifest, sealManifest } from "../../storage/manifest.js";
import { type Content, freeze } from "../support/bundle.js";
import { bytesIn, fileOf, manifestIn, reseal, touchAll } from "../support/frozen.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { flipBit, range } from "../support/tiers.js";

const path = scratch();
const [n, d] = [300, 20];
const rows = randomRows(n, d, 291);
const query = rowOf(rows, 0, d);
let index: Index;
let frozen: FrozenIndex;

beforeAll(async () => {
  index = await open(path("a.hebb"), { dimensions: d, metric: "cosine", durability: "off" });
  const ids = range(n).map((i) => (i % 40 === 7 ? `${i}`.repeat(100) : i));
  await index.putMany({ ids, vectors: rows, payloads: range(n).map((i) => ({ i })) });
  frozen = await index.freeze(path("good"), { rotation: "haar" });
});
afterAll(async () => {
  await frozen.close();
  await index.close();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await frozen.verify(); // whatever was tried
  expect(frozen.search(query, { k: 1 })).toMatchObject([{ id: 0 }]);
});

type Kind = typeof TypeError | typeof RangeError | string;
type Refusal = [name: string, call: () => unknown, kind: Kind, message: RegExp];

async function expectRefused(call: () => unknown, kind: Kind, message: RegExp): Promise<void> {
  const error = await errorOf(call);
  if (typeof kind === "string") {
    expect(error).toBeInstanceOf(HebbError);
    expect((error as HebbError).code, error.message).toBe(kind);
    expect(error.message.startsWith(`${kind}: `)).toBe(true);
    expect(error.message.lastIndexOf(`${kind}: `)).toBe(0);
  } else {
    expect(error).toBeInstanceOf(kind);
    expect(error).not.toBeInstanceOf(HebbError);
  }
  expect(error.message).toMatch(message);
}

/** Runs each case; a string is a HebbError's code. */
function refuses(cases: Refusal[]): void {
  test.each(cases)("%s", (_, call, kind, message) => expectRefused(call, kind, message));
}

describe("freeze refuses", () => {
  const into = (directory: unknown) => () => index.freeze(directory as string);
  const by = (options: unknown) => () => index.freeze(path("never"), options as object);
  afterEach(() => expect(existsSync(path("never"))).toBe(false));
  refuses([
    [
      "no directory",
      into(undefined),
      TypeError,
      /^directory is undefined; expected a path, not empty and without NUL$/,
    ],
    ["a number", into(7), TypeError, /^directory is 7; expected a path/],
    ["an empty path", into(""), TypeError, /^directory is ""; expected a path/],
    [
      "NUL in a path",
      into("a\0b"),
      TypeError,
      /^directory is "a\\u0000b"; expected a path, not empty and without NUL$/,
    ],
    [
      "null for options",
      by(null),
      TypeError,
      /^freeze: the options are null; expected an object with any of rotation, seed/,
    ],
    ["a string for options", by("haar"), TypeError, /^freeze: the options are "haar"/],
    ["an array for options", by([]), TypeError, /^freeze: the options are an array/],
    [
      "an unknown option",
      by({ rotaton: "haar" }),
      TypeError,
      /^freeze: unknown option "rotaton"; did you mean "rotation"\?/,
    ],
    [
      "an unknown rotation",
      by({ rotation: "random" }),
      TypeError,
      /^rotation is "random"; expected one of hadamard, haar$/,
    ],
    ["null for a rotation", by({ rotation: null }), TypeError, /^rotation is null; expected one of/],
    ["a negative seed", by({ seed: -1 }), RangeError, /^seed is -1; expected an integer from 0 to 9007199254740991$/],
    ["a seed beyond integers", by({ seed: 2 ** 53 }), RangeError, /^seed is 9007199254740992; expected/],
    ["a string for a seed", by({ seed: "1" }), RangeError, /^seed is "1"; expected an integer/],
    ["no bits", by({ bits: 0 }), RangeError, /^bits is 0; expected an integer from 1 to 8$/],
    ["nine bits", by({ bits: 9 }), RangeError, /^bits is 9; expected an integer from 1 to 8$/],
    ["half a bit", by({ bits: 0.5 }), RangeError, /^bits is 0.5; expected/],
    [
      "rerankFactor -1",
      by({ rerankFactor: -1 }),
      RangeError,
      /^rerankFactor is -1; expected an integer from 0 to 1024$/,
    ],
    ["rerankFactor 1025", by({ rerankFactor: 1025 }), RangeError, /^rerankFactor is 1025; expected/],
    ["a word for overlay", by({ overlay: "yes" }), TypeError, /^overlay is "yes"; expected true or false$/],
    ["null for overlay", by({ overlay: null }), TypeError, /^overlay is null; expected true or false$/],
    ["a number for settle", by({ settle: 0 }), TypeError, /^settle is 0; expected true or false$/],
    [
      "a negative generation",
      by({ generation: -1 }),
      RangeError,
      /^generation is -1; expected a string, or an integer from 0 to 9007199254740991$/,
    ],
    ["half a generation", by({ generation: 0.5 }), RangeError, /^generation is 0.5; expected a string, or an integer/],
    [
      "null for a generation",
      by({ generation: null }),
      RangeError,
      /^generation is null; expected a string, or an integer/,
    ],
    ["a number for a lineage", by({ lineage: 7 }), TypeError, /^lineage is 7; expected a string$/],
    ["a number for a class", by({ memoryClass: 7 }), TypeError, /^memoryClass is 7; expected a string$/],
  ]);

  test.each([
    [
      "a class of more than 4 KiB",
      { memoryClass: "x".repeat(4097) },
      /memoryClass has 4097 bytes of UTF-8; expected well-formed text of at most 4096/,
    ],
    ["a lineage of more than 4 KiB", { lineage: "é".repeat(2049) }, /lineage has 4098 bytes of UTF-8/],
    [
      "half a surrogate pair",
      { generation: "\ud800" },
      /generation has 3 bytes of UTF-8; expected well-formed text of at most 4096/,
    ],
  ])("%s, and leaves the bundle before", async (_, options, message) => {
    await (await index.freeze(path("kept"))).close();
    const names = readdirSync(path("kept")).sort();
    const manifest = manifestIn(path("kept"));
    await expectRefused(() => index.freeze(path("kept"), { seed: 3, ...options }), RangeError, message);
    expect(manifestIn(path("kept"))).toEqual(manifest);
    expect(readdirSync(path("kept")).sort()).toEqual(names);
    await (await openFrozen(path("kept"), { verify: "eager" })).close();
  });

  test("an index without rows, or without linked ones where it does not wait for them", async () => {
    const empty = await open(path("empty.hebb"), { dimensions: d, metric: "l2", durability: "off" });
    const attempt =
      (options = {}) =>
      () =>
        empty.freeze(path("never"), options);
    await expectRefused(
      attempt(),
      "INDEX_EMPTY",
      /the index at .*empty\.hebb has no rows; put some before it is frozen$/,
    );
    const linking = vi.spyOn(Linker.prototype, "start").mockImplementation(() => {});
    await empty.putMany({ ids: [1, 2], vectors: rows.subarray(0, 2 * d) });
    await expectRefused(
      attempt({ settle: false }),
      "INDEX_EMPTY",
      /none of the 2 rows of the index at .* is linked yet; freeze with settle: true/,
    );
    expect(readdirSync(path("never"))).toEqual([]);
    rmSync(path("never"), { recursive: true });
    linking.mockRestore();
    await (await empty.freeze(path("filled"))).close();
    await empty.delete([1, 2]);
    await expectRefused(attempt(), "INDEX_EMPTY", /has no rows/);
    await empty.close();
  });

  test("more than 8,192 dimensions", async () => {
    const wide = await open(path("wide.hebb"), { dimensions: 8193, metric: "l2", durability: "off" });
    await wide.put("one", new Float32Array(8193).fill(0.5));
    const attempt = () => wide.freeze(path("never"));
    await expectRefused(attempt, RangeError, /^the index has 8193 dimensions; a bundle has at most 8192$/);
    await wide.close();
    const widest = await open(path("widest.hebb"), { dimensions: 8192, metric: "l2", durability: "off" });
    await widest.put("one", new Float32Array(8192).fill(0.5));
    const at = await widest.freeze(path("widest"));
    expect(at.search(new Float32Array(8192))).toEqual(widest.search(new Float32Array(8192), { exact: true }));
    await at.close();
    await widest.close();
  });

  test("a place that holds something else, and leaves it alone", async () => {
    mkdirSync(path("other"));
    writeFileSync(join(path("other"), "letter.txt"), "Dear");
    mkdirSync(path("other-manifest"));
    writeFileSync(join(path("other-manifest"), "manifest.json"), '{"format":"something"}');
    writeFileSync(path("file"), "x");
    symlinkSync(path("other"), path("linked"));
    await expectRefused(
      into(path("other")),
      "NOT_A_BUNDLE",
      /other is no bundle, and holds "letter.txt"; give an empty or new directory$/,
    );
    await expectRefused(into(path("linked")), "NOT_A_BUNDLE", /linked is no bundle, and holds "letter.txt"/);
    await expectRefused(into(path("other-manifest")), "NOT_A_BUNDLE", /holds "manifest.json"/);
    await expectRefused(into(path("file")), "NOT_A_BUNDLE", /file is no directory; a bundle is one/);
    await expectRefused(into(path("a.hebb")), "NOT_A_BUNDLE", /a\.hebb is no bundle, and holds "/);
    await expectRefused(into(join(path("file"), "below")), "IO_ERROR", /file/);
    expect(readdirSync(path("other"))).toEqual(["letter.txt"]);
    expect(readFileSync(path("file"), "utf8")).toBe("x");
    expect((await index.check()).faults).toEqual([]);
  });

  test("a directory that another freeze writes to; afterwards it is free", async () => {
    const writer = await BundleWriter.open(diskFiles, path("taken"));
    await expectRefused(into(path("taken")), "STORE_LOCKED", /taken/);
    await writer.abandon();
    const both = await Promise.allSettled([1, 2].map((seed) => index.freeze(path("taken"), { seed })));
    const won = both.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const lost = both.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    expect(lost).toMatchObject([{ code: "STORE_LOCKED" }]);
    expect(manifestIn(path("taken")).witness).toBe(won[0].witness);
    await won[0].close();
    await (await index.freeze(path("taken"))).close();
  });
});

describe("a freeze that fails half-way leaves the bundle before, and nothing else", () => {
  test.each(["open", "rename", "syncDirectory"] as const)("at any %s", async (call) => {
    await (await index.freeze(path("half"))).close();
    const names = readdirSync(path("half")).sort();
    let failures = 0;
    for (let at = 0; ; at++) {
      const real = diskFiles[call] as (...given: unknown[]) => Promise<unknown>;
      let calls = 0;
      vi.spyOn(diskFiles, call).mockImplementation(((...given: unknown[]) =>
        calls++ === at
          ? Promise.reject(new HebbError("DISK_FULL", "no space"))
          : real.apply(diskFiles, given)) as never);
      const failed = await index.freeze(path("half"), { seed: 9 }).then(
        async (made) => {
          await made.close();
          return undefined;
        },
        (error: unknown) => error,
      );
      vi.restoreAllMocks();
      if (failed === undefined) break;
      failures++;
      expect(failed).toMatchObject({ code: "DISK_FULL" });
      const opened = await openFrozen(path("half"), { verify: "eager" });
      if (opened.stats().seed === 9) {
        await opened.close(); // after the renaming it is the new one
        break;
      }
      expect(opened.search(query, { k: 3 })).toEqual(index.search(query, { k: 3, exact: true }));
      await opened.close();
      const left = readdirSync(path("half")).sort();
      if (left.length > names.length) {
        // The manifest's renaming: nobody knows whether it happened, so that the files of both are there.
        expect(call).toBe("rename");
        expect(left).toEqual(expect.arrayContaining(names));
        await (await index.freeze(path("half"))).close();
      }
      expect(readdirSync(path("half")).sort()).toEqual(names);
    }
    expect(failures).toBeGreaterThan(call === "syncDirectory" ? 0 : 5);
    expect((await index.check()).faults).toEqual([]);
  });

  test("of an index that is damaged", async () => {
    const damaged = await open(path("damaged.hebb"), { dimensions: d, metric: "l2", durability: "off" });
    await damaged.putMany({ ids: range(n), vectors: rows });
    const before = await damaged.freeze(path("of-damaged"));
    await damaged.close();
    flipBit(path("damaged.hebb"), "vectors", 100);
    const again = await open(path("damaged.hebb"));
    await expectRefused(() => again.freeze(path("of-damaged"), { seed: 1 }), "INDEX_CORRUPT", /vectors/);
    await before.verify();
    expect(await before.refresh()).toBe("up-to-date");
    await before.close();
    await again.close();
  });
});

describe("openFrozen refuses", () => {
  const from = (directory: unknown, options?: unknown) => () => openFrozen(directory as string, options as object);
  refuses([
    [
      "no directory",
      from(undefined),
      TypeError,
      /^directory is undefined; expected a path, not empty and without NUL$/,
    ],
    ["NUL in a path", from("\0"), TypeError, /^directory is "\\u0000"; expected a path/],
    [
      "null for options",
      from("x", null),
      TypeError,
      /^openFrozen: the options are null; expected an object with any of verify$/,
    ],
    [
      "an unknown option",
      from("x", { verfy: "off" }),
      TypeError,
      /^openFrozen: unknown option "verfy"; did you mean "verify"\?/,
    ],
    [
      "another way to verify",
      from("x", { verify: true }),
      TypeError,
      /^verify is true; expected one of eager, lazy, off$/,
    ],
    [
      "what is not there",
      from(path("absent")),
      "NOT_A_BUNDLE",
      /absent does not exist; a frozen bundle is a directory/,
    ],
    [
      "a file",
      () => openFrozen(fileOf(path("good"), "rows")),
      "NOT_A_BUNDLE",
      /\.bin is no directory; a frozen bundle is one|is no directory/,
    ],
    [
      "a store",
      from(path("a.hebb")),
      "NOT_A_BUNDLE",
      /a\.hebb is no frozen bundle: it holds no manifest\.json\. Correct the path/,
    ],
  ]);

  test("a bundle of a newer release; an open one does not go over to it", async () => {
    cpSync(path("good"), path("newer"), { recursive: true });
    const opened = await openFrozen(path("newer"));
    const manifest = join(path("newer"), "manifest.json");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"version": 1', '"version": 2'));
    await expectRefused(
      from(path("newer")),
      "BUNDLE_VERSION",
      /version is 2; this release reads 1\. Use a newer release/,
    );
    await expectRefused(() => opened.refresh(), "BUNDLE_VERSION", /version is 2/);
    expect(opened.search(query)).toEqual(frozen.search(query));
    await opened.close();
    await (await index.freeze(path("newer"))).close(); // but it may be replaced
  });

  const replaced = (make: (file: string) => unknown) => (file: string) => {
    rmSync(file);
    make(file);
  };
  test("files that are cut, longer, gone or something else, whatever is verified", async () => {
    for (const section of ["head", "vectors", "texts", "checksums"]) {
      for (const [what, damage, message] of [
        ["cut", (file: string) => truncateSync(file, readFileSync(file).length - 1), /has \d+ bytes; expected \d+/],
        [
          "longer",
          (file: string) => writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.alloc(4096)])),
          /has \d+ bytes; expected \d+/,
        ],
        ["empty", (file: string) => truncateSync(file, 0), /has 0 bytes; expected \d+/],
        ["gone", (file: string) => rmSync(file), /is gone/],
        ["a link", replaced((file) => symlinkSync(fileOf(path("good"), section), file)), /is no plain file/],
        ["a directory", replaced(mkdirSync), /is no plain file/],
      ] as const) {
        const directory = path(`files-${section}-${what}`);
        cpSync(path("good"), directory, { recursive: true });
        damage(fileOf(directory, section));
        for (const verify of ["eager", "lazy", "off"]) {
          await expectRefused(from(directory, { verify }), "BUNDLE_CORRUPT", message);
          await expectRefused(from(directory, { verify }), "BUNDLE_CORRUPT", new RegExp(`section ${section}: `));
        }
        rmSync(directory, { recursive: true });
      }
    }
  });

  test("a manifest that points elsewhere, however well it is sealed", async () => {
    const good = manifestIn(path("good"));
    const directory = path("pointing");
    cpSync(path("good"), directory, { recursive: true });
    const rowsFile = good.sections.find(({ name }) => name === "rows")!.file;
    writeFileSync(path("outside.bin"), readFileSync(fileOf(path("good"), "rows")));
    for (const file of [
      "../outside.bin",
      path("outside.bin"),
      "./x.bin",
      ".hidden",
      "a/b.bin",
      "..",
      "manifest.json",
      "a\\b",
      "C:x",
    ]) {
      const sections = good.sections.map((one) => (one.file === rowsFile ? { ...one, file } : one));
      const { parameters, generation, lineage } = good;
      const sealed = sealManifest({ parameters, generation, lineage, sections, unknown: {} });
      const { unknown: _, ...fields } = sealed;
      writeFileSync(join(directory, "manifest.json"), JSON.stringify(fields));
      await expectRefused(
        from(directory, { verify: "off" }),
        "BUNDLE_CORRUPT",
        /sections\[\d+\]\.file is .*; expected the name of a file in the bundle/,
      );
    }
  });

  describe("parameters that are wrong, however well they are sealed", () => {
    type Parameters = { [key: string]: never } & { graph: { [key: string]: unknown } };
    const set = (key: string, value: unknown) => (p: Parameters) => Object.assign(p, { [key]: value });
    const inGraph = (key: string, value: unknown) => (p: Parameters) => Object.assign(p.graph, { [key]: value });
    const without = (key: string) => (p: Parameters) => Reflect.deleteProperty(p, key);
    const cases: [name: string, change: (p: Parameters) => unknown, message: RegExp][] = [
      ...["rows", "clusters", "blocks", "coded"].map(
        (key) => [`${key} 1e8`, set(key, 1e8), /section \S+|clusters|coded/] as [string, () => unknown, RegExp],
      ),
      ...["rows", "clusters", "blocks", "coded", "leftOut"].map(
        (key) =>
          [`${key} beyond all bounds`, set(key, 1e8 + 1), new RegExp(`parameters\\.${key}: `)] as [
            string,
            () => unknown,
            RegExp,
          ],
      ),
      ...["rows", "clusters", "blocks", "coded", "leftOut", "dimensions", "seed", "bits", "rerankFactor", "ef"].flatMap(
        (key) =>
          [-1, 0.5, "1", null, true, [1]].map(
            (value) =>
              [`${key} ${JSON.stringify(value)}`, set(key, value), new RegExp(`parameters\\.${key}: `)] as [
                string,
                () => unknown,
                RegExp,
              ],
          ),
      ),
      ...[
        "dimensions",
        "metric",
        "rows",
        "leftOut",
        "rotation",
        "seed",
        "bits",
        "rerankFactor",
        "ef",
        "clusters",
        "blocks",
        "coded",
        "graph",
        "overlay",
      ].map(
        (key) => [`no ${key}`, without(key), new RegExp(`parameters\\.${key}: `)] as [string, () => unknown, RegExp],
      ),
      ["dimensions 8193", set("dimensions", 8193), /parameters\.dimensions: /],
      ["dimensions 0", set("dimensions", 0), /parameters\.dimensions: /],
      ["no rows", set("rows", 0), /parameters\.rows: /],
      [
        "dimensions that contradict files",
        set("dimensions", 21),
        /section rotation has \d+ bytes; the parameters imply \d+/,
      ],
      [
        "dimensions that contradict more of them",
        set("dimensions", 8192),
        /section vectors has \d+ bytes; the parameters imply \d+/,
      ],
      ["one row less", set("rows", n - 1), /coded: 300; expected 299/],
      [
        "one row and code less",
        (p) => Object.assign(p, { rows: n - 1, coded: n - 1 }),
        /section state has 300 bytes; the parameters imply 299/,
      ],
      [
        "one cluster more",
        (p) => set("clusters", Number(p.clusters) + 1)(p),
        /section clusters has \d+ bytes; the parameters imply \d+/,
      ],
      [
        "one block less",
        (p) => set("blocks", Number(p.blocks) - 1)(p),
        /section codes has \d+ bytes; the parameters imply \d+/,
      ],
      ["one code more", set("coded", n + 1), /cod/],
      ["one code less", set("coded", n - 1), /cod/],
      ["no codes", set("coded", 0), /cod/],
      ["other bits", set("bits", 5), /section planes has \d+ bytes; the parameters imply \d+/],
      ["nine bits", set("bits", 9), /parameters\.bits: /],
      ["one bit", set("bits", 1), /section planes has \d+ bytes; the parameters imply 0/],
      ["another rotation", set("rotation", "hadamard"), /section rotation has \d+ bytes; the parameters imply 0/],
      ["an unknown rotation", set("rotation", "none"), /parameters\.rotation: /],
      ["another metric", set("metric", "dot"), /the graph section was written for other dimensions, metric or hnsw_m/],
      ["an unknown metric", set("metric", "l1"), /parameters\.metric: /],
      ["a seed beyond integers", set("seed", 2 ** 60), /parameters\.seed: /],
      ["ef 0", set("ef", 0), /parameters\.ef: /],
      ["ef 1e9", set("ef", 1e9), /parameters\.ef: /],
      ["rerankFactor 1025", set("rerankFactor", 1025), /parameters\.rerankFactor: /],
      ["a graph of m 1", inGraph("m", 1), /parameters\.graph\.m: /],
      ["a graph of m 129", inGraph("m", 129), /parameters\.graph\.m: /],
      ["a graph of a larger m", inGraph("m", 128), /section (rows|upper|head)/],
      ["an unknown profile", inGraph("profile", "fast"), /parameters\.graph\.profile: /],
      ["another profile", inGraph("profile", "small"), /section (rows|projection|head)/],
      ["a level multiplier of text", inGraph("levelMultiplier", "1"), /parameters\.graph\.levelMultiplier: /],
      ["a stop margin beyond bounds", inGraph("stopMargin", 1e305), /parameters\.graph\.stopMargin: /],
      ["an unknown parameter of the graph", inGraph("extra", 1), /parameters\.graph: .*extra/],
      ["an unknown parameter", set("extra", 1), /parameters: .*extra/],
      ["no graph at all", set("graph", null), /parameters\.graph: /],
      ["half an overlay", set("overlay", { shifted: 0 }), /parameters\.overlay\.adapterRank: /],
      ["an overlay of something else", set("overlay", true), /parameters\.overlay: /],
      [
        "an adapter that is not there",
        set("overlay", { adapterRank: 1, shifted: 0 }),
        /section adapter has 0 bytes; the parameters imply 160/,
      ],
      [
        "shifts that are not there",
        (p) => Object.assign(p, { overlay: { adapterRank: 0, shifted: 1 }, coded: n - 1 }),
        /section shifted has 0 bytes; the parameters imply 4/,
      ],
      [
        "shifts by the million",
        set("overlay", { adapterRank: 0, shifted: 1e8 }),
        /overlay\.shifted: 100000000 of 300 rows/,
      ],
      [
        "an adapter beyond all ranks",
        set("overlay", { adapterRank: 8193, shifted: 0 }),
        /parameters\.overlay\.adapterRank: /,
      ],
    ];
    beforeAll(() => cpSync(path("good"), path("hostile"), { recursive: true }));
    afterEach(() => cpSync(join(path("good"), "manifest.json"), join(path("hostile"), "manifest.json")));
    test.each(cases)("%s", async (_, change, message) => {
      reseal(path("hostile"), ({ parameters }) => change(parameters as Parameters));
      for (const verify of ["lazy", "eager", "off"]) {
        await expectRefused(from(path("hostile"), { verify }), "BUNDLE_CORRUPT", message);
      }
    });
    test("as they were they open", async () => {
      reseal(path("hostile"), () => {});
      await (await openFrozen(path("hostile"), { verify: "eager" })).close();
    });
  });

  describe("sections that are wrong, however well they are sealed", () => {
    /** The good bundle with other sections or parameters, as a freeze would write it. */
    async function forged(change: (content: Content, parameters: Manifest["parameters"]) => unknown): Promise<string> {
      const { sections, parameters } = structuredClone(manifestIn(path("good")));
      const names = sections.map(({ name }) => name).filter((name) => name !== "checksums");
      const content: Content = Object.fromEntries(names.map((name) => [name, bytesIn(path("good"), name)]));
      change(content, parameters);
      await freeze(diskFiles, path("forged"), content, { parameters });
      return path("forged");
    }

    test("one that is not there, longer, or shorter", async () => {
      await (await openFrozen(await forged(() => {}), { verify: "eager" })).close();
      for (const { name } of manifestIn(path("good")).sections) {
        if (name === "checksums") continue;
        for (const change of [
          (content: Content) => Reflect.deleteProperty(content, name),
          (content: Content) => Object.assign(content, { [name]: content[name].subarray(1) }),
          (content: Content) => Object.assign(content, { [name]: Buffer.concat([content[name], Buffer.of(0)]) }),
          (content: Content) => Object.assign(content, { [name]: Buffer.alloc(0) }),
        ]) {
          const directory = await forged(change);
          const failed = await openFrozen(directory).then(
            async (opened) => {
              // Sizes of texts and of upper layers follow from nothing: then it is found where it is touched, or not at all.
              expect(["texts", "upper"]).toContain(name);
              const error = await Promise.resolve()
                .then(() => touchAll(opened, query))
                .then(
                  () => undefined,
                  (cause: unknown) => cause,
                );
              await opened.close();
              return error;
            },
            (error: unknown) => error,
          );
          if (failed !== undefined) expect(failed, name).toMatchObject({ code: "BUNDLE_CORRUPT" });
          else expect(["upper", "texts"]).toContain(name); // what nobody reads
        }
      }
    });

    test("one that nobody knows", async () => {
      const directory = await forged((content) => Object.assign(content, { extra: Buffer.alloc(9) }));
      await expectRefused(
        from(directory),
        "BUNDLE_CORRUPT",
        /section extra is none that this release knows\. Copy the bundle again/,
      );
    });

    const u64 = (...values: number[]) => new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
    test.each<[string, (content: Content) => unknown, RegExp]>([
      [
        "text offsets past the end",
        (c) => Object.assign(c, { "text-offsets": u64(...range(n + 1).map(() => 2 ** 52)) }),
        /section text-offsets: row \d+ has its text from \d+ to \d+; expected/,
      ],
      [
        "text offsets that go back",
        (c) => Object.assign(c, { "text-offsets": u64(...range(n + 1, 1).reverse()) }),
        /section text-offsets: row \d+ has its text from \d+ to \d+; expected/,
      ],
      [
        "a text that is no JSON",
        (c) => c.texts.fill(0x7b, 2),
        /section texts: row \d+ has (a payload that is no JSON|an id of \d+ bytes)/,
      ],
      ["a long id past its text", (c) => c.texts.fill(0xff, 0, 2), /section texts: row \d+ has an id of \d+ bytes/],
      [
        "long ids that are gone",
        (c) => Reflect.deleteProperty(c, "texts") && Reflect.deleteProperty(c, "text-offsets"),
        /section ids: row \d+ has a long id, and none in its text/,
      ],
      ["ids of no kind", (c) => c.ids.fill(0xff), /ids/],
    ])("%s", async (_, change, message) => {
      const opened = await openFrozen(await forged(change), { verify: "eager" });
      await expectRefused(() => [...opened.entries()], "BUNDLE_CORRUPT", message);
      await expectRefused(() => opened.search(query, { k: n }), "BUNDLE_CORRUPT", message);
      await expectRefused(() => opened.searchMany(query, { k: n }), "BUNDLE_CORRUPT", message);
      await opened.close();
    });

    /** The same with an overlay: an adapter of rank 1, and two rows that are said to be shifted. */
    const overlaid = (shifted: number[], values: number) =>
      forged((content, parameters) => {
        Object.assign(parameters, { overlay: { adapterRank: 1, shifted: shifted.length }, coded: n - shifted.length });
        Object.assign(content, {
          adapter: new Uint8Array(new Float32Array(2 * d).fill(values).buffer),
          shifted: new Uint8Array(Uint32Array.from(shifted).buffer),
          shifts: new Uint8Array(new Float32Array(shifted.length * d).fill(values).buffer),
        });
      });
    test.each([
      ["past the last row", [5, n]],
      ["far past it", [0xffffffff]],
      ["twice the same", [5, 5]],
      ["in no order", [6, 5]],
    ])("shifted rows %s", async (_, shifted) => {
      const attempt = from(await overlaid(shifted, 0.5));
      await expectRefused(attempt, "BUNDLE_CORRUPT", /section shifted: /);
    });
    test.each([Number.NaN, Number.POSITIVE_INFINITY])("an adapter and shifts of %d", async (value) => {
      await expectRefused(from(await overlaid([5], value)), "BUNDLE_CORRUPT", /section (adapter|shifts): /);
    });
  });

  describe("kernels", () => {
    const traits = { id: "made-up", deterministic: true, maxDimension: 8192 };
    const check = (change: object, dimensions: number) => () => checkKernel({ ...traits, ...change }, dimensions);
    refuses([
      [
        "whose bits are its own",
        check({ deterministic: false }, 1),
        "KERNEL_UNAVAILABLE",
        /the kernel made-up does not give the bits that others give.*choose another with HEBB_KERNEL$/,
      ],
      [
        "that are exact for shorter vectors",
        check({ maxDimension: 128 }, 129),
        "KERNEL_UNAVAILABLE",
        /the kernel made-up is exact up to 128 dimensions, and the bundle has 129; choose another with HEBB_KERNEL$/,
      ],
    ]);
    test("this one serves all that a bundle may hold", () => {
      check({ maxDimension: 128 }, 128)();
      expect(kernelTraits.deterministic).toBe(true);
      expect(() => checkKernel(kernelTraits, 8192)).not.toThrow();
    });
  });
});

describe("an open bundle refuses", () => {
  const search = (asked: unknown, options?: unknown) => () => frozen.search(asked as Float32Array, options as object);
  const many = (asked: unknown, options?: unknown) => () => frozen.searchMany(asked as Float32Array, options as object);
  const holed = query.slice();
  holed[3] = Number.NaN;
  const two = Float32Array.from([...query, ...holed]);
  refuses([
    ["a query of fewer values", search(query.slice(1)), RangeError, /^query has 19 values; expected 20/],
    ["a query of more", search([...query, 1]), RangeError, /^query has 21 values; expected 20/],
    ["a query with NaN", search(holed), RangeError, /^query holds NaN at position 3; expected finite numbers$/],
    [
      "a query of zeros under cosine",
      search(new Float32Array(d)),
      RangeError,
      /^query has length 0; expected .* under cosine/,
    ],
    [
      "a query of text",
      search("near"),
      TypeError,
      /^query is "near"; expected a Float32Array \(or array\) of 20 numbers$/,
    ],
    ["no query", search(undefined), TypeError, /^query is undefined; expected/],
    ["queries of a half", many(query.slice(1)), RangeError, /^queries has 19 values; expected a multiple of 20/],
    ["queries with NaN", many(two), RangeError, /^query 1 holds NaN at position 3; expected finite numbers$/],
    ["queries of zeros under cosine", many(new Float32Array(2 * d)), RangeError, /^query 0 has length 0/],
    [
      "queries as an array",
      many([query]),
      TypeError,
      /^queries is an array of 1; expected a Float32Array of n x 20 values$/,
    ],
    ["null for options", search(query, null), TypeError, /^search: the options are null/],
    [
      "options of an index's search",
      search(query, { exact: true }),
      TypeError,
      /^search: unknown option "exact"; did you mean .* Valid: k, rerankFactor, mode, ef, include$/,
    ],
    ["k 0", search(query, { k: 0 }), RangeError, /^k is 0; expected an integer from 1 to 1000000$/],
    ["k 1.5", many(query, { k: 1.5 }), RangeError, /^k is 1.5; expected/],
    ["k 1e6 + 1", search(query, { k: 1e6 + 1 }), RangeError, /^k is 1000001; expected/],
    ["ef 0", search(query, { ef: 0, mode: "graph" }), RangeError, /^ef is 0; expected an integer from 1 to 1000000$/],
    [
      "rerankFactor -1",
      search(query, { rerankFactor: -1 }),
      RangeError,
      /^rerankFactor is -1; expected an integer from 0 to 1024$/,
    ],
    ["rerankFactor 1025", many(query, { rerankFactor: 1025 }), RangeError, /^rerankFactor is 1025; expected/],
    [
      "rerankFactor of text",
      search(query, { rerankFactor: "20" }),
      RangeError,
      /^rerankFactor is "20"; expected an integer/,
    ],
    ["an unknown mode", search(query, { mode: "tree" }), TypeError, /^mode is "tree"; expected one of scan, graph$/],
    [
      "include as a word",
      search(query, { include: "vector" }),
      TypeError,
      /^include is "vector" .*; expected a list of payload, vector$/,
    ],
    [
      "to include what there is not",
      many(query, { include: ["tier"] }),
      TypeError,
      /^include is an array of 1 with \["tier"\]; expected a list of payload, vector$/,
    ],
    [
      "an id that is none",
      () => frozen.get(1.5),
      TypeError,
      /^id is 1.5; expected a safe integer or a string of 1-512 bytes$/,
    ],
    ["an empty id", () => frozen.has(""), RangeError, /^id "" has 0 bytes of UTF-8; expected 1-512$/],
    [
      "an id that is too long",
      () => frozen.get("x".repeat(513)),
      RangeError,
      /has 513 bytes of UTF-8; expected 1-512$/,
    ],
    ["null for an id", () => frozen.get(null as unknown as Id), TypeError, /^id is null; expected/],
  ]);
});

describe("rbpx0001", () => {
  let numbered: Index;
  let bundle: FrozenIndex;
  const ids = range(50).map((i) => (i === 49 ? 2 ** 32 - 1 : 3 * i));
  beforeAll(async () => {
    numbered = await open(path("numbered.hebb"), { dimensions: d, metric: "l2", durability: "off" });
    await numbered.putMany({ ids, vectors: rows.subarray(0, 50 * d), payloads: ids.map((i) => ({ i })) });
    bundle = await numbered.freeze(path("numbered"), { seed: 2 ** 53 - 1, rerankFactor: 33 });
    await bundle.exportRbpx(path("good.rbpx"));
  });
  afterAll(async () => {
    await bundle.close();
    await numbered.close();
  });

  test("is written and read, byte by byte, and answers the same where it is put", async () => {
    const read = await readRbpx(path("good.rbpx"));
    const vectors = rows.slice(0, 50 * d);
    expect(read).toEqual({ dimensions: d, seed: 2n ** 53n - 1n, rerankFactor: 33, ids, vectors });
    const expected = Buffer.alloc(32 + 50 * (4 + 4 * d));
    expected.write("rbpx0001");
    expected.writeUInt32LE(1, 8);
    expected.writeUInt32LE(d, 12);
    expected.writeBigUInt64LE(2n ** 53n - 1n, 16);
    expected.writeUInt32LE(33, 24);
    expected.writeUInt32LE(50, 28);
    ids.forEach((id, i) => {
      const at = 32 + i * (4 + 4 * d);
      expected.writeUInt32LE(id, at);
      for (let j = 0; j < d; j++) expected.writeFloatLE(rows[i * d + j], at + 4 + 4 * j);
    });
    expect(Buffer.compare(readFileSync(path("good.rbpx")), expected)).toBe(0);

    const other = await open(path("imported.hebb"), { dimensions: read.dimensions, metric: "l2", durability: "off" });
    await other.putMany({ ids: read.ids, vectors: read.vectors });
    const again = await other.freeze(path("imported"), { seed: Number(read.seed), rerankFactor: read.rerankFactor });
    const asked = { k: 20, include: ["vector" as const] };
    expect(again.search(query, asked)).toEqual(bundle.search(query, asked));
    await again.exportRbpx(path("good.rbpx")); // over the one before
    expect(Buffer.compare(readFileSync(path("good.rbpx")), expected)).toBe(0);
    await again.close();
    await other.close();
    expect(readdirSync(path(".")).filter((name) => name.includes(".rbpx"))).toEqual(["good.rbpx"]);
  });

  test("of more than goes at once", async () => {
    const many = 15_000; // 1.26 MB
    const big = await open(path("big.hebb"), {
      dimensions: d,
      metric: "dot",
      durability: "off",
      config: { ruvector: { hnsw_m: 2, hnsw_ef_construction: 4 } },
    });
    const vectors = randomRows(many, d, 4);
    await big.putMany({ ids: range(many), vectors });
    const made = await big.freeze(path("big"));
    await made.exportRbpx(path("big.bin"));
    expect(await readRbpx(path("big.bin"))).toEqual({
      dimensions: d,
      seed: 0n,
      rerankFactor: 20,
      ids: range(many),
      vectors,
    });
    await made.close();
    await big.close();
  });

  test.each<Id>([-1, 2 ** 32, Number.MAX_SAFE_INTEGER, "7", "name"])(
    "refuses the id %j, and writes nothing",
    async (id) => {
      const odd = await open(path(`odd-${id}.hebb`), { dimensions: d, metric: "l2", durability: "off" });
      await odd.putMany({ ids: [1, id], vectors: rows.subarray(0, 2 * d) });
      const made = await odd.freeze(path("odd"));
      writeFileSync(path("before.bin"), "before");
      const message = `id ${JSON.stringify(id)} does not fit into rbpx0001; expected integers from 0 to 4294967295`;
      for (const name of ["before.bin", "after.bin"]) {
        await expectRefused(() => made.exportRbpx(path(name)), RangeError, new RegExp(`^${message}$`));
      }
      expect(readFileSync(path("before.bin"), "utf8")).toBe("before");
      expect(readdirSync(path(".")).filter((name) => /^(before|after)/.test(name))).toEqual(["before.bin"]);
      await made.close();
      await odd.close();
    },
  );

  refuses([
    [
      "a path that is none, to write",
      () => bundle.exportRbpx(""),
      TypeError,
      /^path is ""; expected one, not empty and without NUL$/,
    ],
    ["NUL in a path, to write", () => bundle.exportRbpx("a\0"), TypeError, /^path is "a\\u0000"; expected/],
    [
      "a path that is none, to read",
      () => readRbpx(7 as unknown as string),
      TypeError,
      /^path is 7; expected one, not empty and without NUL$/,
    ],
    [
      "NUL in a path, to read",
      () => readRbpx("a\0"),
      TypeError,
      /^path is "a\\u0000"; expected one, not empty and without NUL$/,
    ],
    ["a folder that is not there", () => bundle.exportRbpx(path("absent/x.rbpx")), "IO_ERROR", /absent/],
    ["a path that is a directory", () => bundle.exportRbpx(path("good")), "IO_ERROR", /good/],
    [
      "what is not there",
      () => readRbpx(path("absent.rbpx")),
      "FILE_UNSUPPORTED",
      /absent\.rbpx: there is no such file; expected a whole rbpx0001 container/,
    ],
    ["a directory", () => readRbpx(path("good")), "FILE_UNSUPPORTED", /there is no such file/],
  ]);

  const u32 = (at: number, value: number) => (bytes: Buffer) => {
    bytes.writeUInt32LE(value, at);
    return bytes;
  };
  test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
    ["nothing", () => Buffer.alloc(0), /it does not begin with rbpx0001/],
    ["a header in part", (bytes) => bytes.subarray(0, 31), /it does not begin with rbpx0001/],
    [
      "another magic",
      (bytes) => Buffer.concat([Buffer.from("rbpx0002"), bytes.subarray(8)]),
      /it does not begin with rbpx0001/,
    ],
    ["a later version", u32(8, 2), /its version is 2, and 1 is read/],
    ["no version", u32(8, 0), /its version is 0, and 1 is read/],
    ["no dimensions", u32(12, 0), /its dimension is 0; expected 1 to 8192/],
    ["too many dimensions", u32(12, 8193), /its dimension is 8193; expected 1 to 8192/],
    ["a rerank factor beyond bounds", u32(24, 1025), /its rerank factor is 1025; expected 0 to 1024/],
    ["more vectors than anybody has", u32(28, 0xffffffff), /its n is 4294967295; expected 0 to 100000000/],
    [
      "more vectors than there are",
      u32(28, 1e8),
      /it has 4232 bytes, and 100000000 vectors of 20 values take 8400000032/,
    ],
    ["one vector less", u32(28, 49), /it has 4232 bytes, and 49 vectors of 20 values take 4148/],
    ["other dimensions", u32(12, 21), /it has 4232 bytes, and 50 vectors of 21 values take 4432/],
    ["one byte less", (bytes) => bytes.subarray(0, -1), /it has 4231 bytes, and 50 vectors of 20 values take 4232/],
    ["one byte more", (bytes) => Buffer.concat([bytes, Buffer.of(0)]), /it has 4233 bytes/],
  ])("refuses %s", async (_, change, message) => {
    writeFileSync(path("bad.bin"), change(readFileSync(path("good.rbpx"))));
    await expectRefused(() => readRbpx(path("bad.bin")), "FILE_UNSUPPORTED", message);
  });

  test("of no vectors is one", async () => {
    writeFileSync(path("none.bin"), u32(28, 0)(readFileSync(path("good.rbpx")).subarray(0, 32)));
    expect(await readRbpx(path("none.bin"))).toMatchObject({ dimensions: d, ids: [], vectors: new Float32Array(0) });
  });
});
