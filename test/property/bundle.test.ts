/** Frozen bundles: what was written is what is read, and whatever is done to the files afterwards is found. */
import { link, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import type { Json } from "../../base/types.js";
import { BLOCK_BYTES, createRegion, PAGE_BYTES } from "../../native/index.js";
import { Bundle } from "../../storage/bundle.js";
import { BundleWriter } from "../../storage/bundle-writer.js";
import { diskFiles, type Files } from "../../storage/files.js";
import { formatManifest, type Manifest, parseManifest, sealManifest } from "../../storage/manifest.js";
import { Simulator } from "../../storage/simulator.js";
import { Store } from "../../storage/store.js";
import { canonicalJson } from "../../storage/witness.js";
import { type Content, contentOf, freeze, hexOf, verified } from "../support/bundle.js";
import { errorOf } from "../support/rows.js";
import { long, runs } from "../support/seed.js";
import { IDENTITY, SECTIONS } from "../support/store-model.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "hebb-bundle-"));
});
afterAll(() => rm(scratch, { recursive: true }));

const DIRECTORY = "/bundle";
const MANIFEST = `${DIRECTORY}/manifest.json`;
const SMALL: Content = {
  rows: Buffer.from("seven of them"),
  state: new Uint8Array(0),
  "a-b": new Uint8Array(70).fill(9),
};

/** The same bytes for the same length. */
const filled = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + length) % 256);

async function smallImage(): Promise<Map<string, Uint8Array>> {
  const simulator = new Simulator(1);
  await freeze(simulator.files(), DIRECTORY, SMALL, { memoryClass: "deep" });
  return simulator.image();
}

/** Opens a bundle that one file of was changed. */
function openChanged(
  image: Map<string, Uint8Array>,
  path: string,
  bytes: Uint8Array,
  verify: "eager" | "lazy" | "off" = "eager",
): Promise<Bundle> {
  return Bundle.open(Simulator.from(new Map(image).set(path, bytes), 1).files(), DIRECTORY, { verify });
}

/** All files of a bundle. */
const namesOf = ({ sections }: Manifest) => ["manifest.json", ...sections.map(({ file }) => file)].sort();

/** All that a manifest says and is held to. */
const meaning = ({ memoryClass: _, unknown: __, ...rest }: Manifest) => canonicalJson(rest as unknown as Json);

test("what was written is what is read, from disk and mapped, whatever the sizes and the chunks", async () => {
  const size = fc.oneof(
    fc.nat(300),
    fc.constantFrom(0, PAGE_BYTES, BLOCK_BYTES, BLOCK_BYTES - 1, BLOCK_BYTES + 1, 3 * BLOCK_BYTES),
    fc.nat(3 << 20),
  );
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/).filter((one) => one !== "checksums");
  const sections = fc.uniqueArray(fc.tuple(name, size), { maxLength: 5, selector: ([one]) => one });
  const chunk = fc.oneof(fc.integer({ min: 1000, max: 3 << 20 }), fc.constant(BLOCK_BYTES));
  const roundTrip = async (files: Files, directory: string, drawn: [string, number][], chunkBytes: number) => {
    const content = Object.fromEntries(drawn.map(([one, length]) => [one, filled(length)]));
    const manifest = await freeze(files, directory, content, {}, chunkBytes);
    const bundle = await Bundle.open(files, directory, { verify: "eager" });
    expect(bundle.manifest).toEqual(manifest);
    expect(await bundle.state()).toBe("up-to-date");
    const all = Object.keys(content);
    const region = createRegion(
      all.map((one) => Math.max(1, Math.ceil(content[one].length / BLOCK_BYTES)) * BLOCK_BYTES),
    );
    for (const [i, one] of all.entries()) {
      const expected = content[one];
      expect(bundle.bytesOf(one)).toBe(expected.length);
      expect(Buffer.compare(await bundle.read(one, 0, expected.length), expected)).toBe(0);
      await bundle.map(region, i, one);
      expect(Buffer.compare(region.read(i, 0, expected.length), expected)).toBe(0);
    }
    region.close();
    await bundle.close();
    for (const { file, bytes } of manifest.sections) {
      const one = await files.open(join(directory, file), "read");
      expect(await one.size()).toBe(Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES);
      await one.close();
    }
    expect((await files.list(directory)).sort()).toEqual(namesOf(manifest));
  };
  await fc.assert(
    fc.asyncProperty(sections, chunk, (...drawn) => roundTrip(new Simulator(1).files(), DIRECTORY, ...drawn)),
    runs(30),
  );
  let number = 0;
  await fc.assert(
    fc.asyncProperty(sections, chunk, async (...drawn) => {
      const directory = join(scratch, `round-${number++}`);
      await roundTrip(diskFiles, directory, ...drawn);
      await rm(directory, { recursive: true });
    }),
    runs(10), // where syncs take long, so do these
  );
});

test("every byte counts: none of a section's file, nor of the manifest, changes unseen", async () => {
  const image = await smallImage();
  const original = parseManifest(image.get(MANIFEST)!, MANIFEST);
  for (const [path, bytes] of image) {
    for (let at = 0; at < bytes.length; at++) {
      const isManifest = path === MANIFEST;
      const bits = isManifest || long ? [1, 2, 4, 8, 16, 32, 64, 128, 10, 13, 41] : [1 << (at % 8)];
      for (const bit of bits) {
        const changed = bytes.slice();
        changed[at] ^= bit;
        const opened = await openChanged(image, path, changed).catch((error: unknown) => error);
        if (opened instanceof Bundle) {
          expect(`${path} ${isManifest}`).toBe(`${MANIFEST} true`);
          expect(meaning(opened.manifest)).toBe(meaning(original));
        } else {
          const codes = isManifest ? /^(BUNDLE_CORRUPT|NOT_A_BUNDLE|BUNDLE_VERSION)$/ : /^WITNESS_MISMATCH$/;
          expect((opened as HebbError).code, `${path}, byte ${at}, ${String(opened)}`).toMatch(codes);
        }
      }
    }
  }
});

test("a file that was cut, has more, or is gone is refused before any of it is read, whatever is verified", async () => {
  const image = await smallImage();
  for (const [path, bytes] of image) {
    if (path === MANIFEST) continue;
    const { name } = parseManifest(image.get(MANIFEST)!, MANIFEST).sections.find(({ file }) => path.endsWith(file))!;
    for (const verify of ["eager", "lazy", "off"] as const) {
      for (const size of [0, 1, bytes.length - 1, bytes.length + 1, bytes.length + PAGE_BYTES]) {
        if (size < 0 || size === bytes.length) continue;
        const changed = new Uint8Array(size);
        changed.set(bytes.subarray(0, size));
        const details = { section: name, found: size, expected: bytes.length };
        await expect(openChanged(image, path, changed, verify)).rejects.toMatchObject({
          code: "BUNDLE_CORRUPT",
          details,
        });
      }
      const without = new Map(image);
      without.delete(path);
      const gone = Bundle.open(Simulator.from(without, 1).files(), DIRECTORY, { verify });
      await expect(gone).rejects.toMatchObject({ code: "BUNDLE_CORRUPT", details: { section: name } });
    }
  }
});

test("lazily a damaged block is found when it is touched, the others serve; without verification none is", async () => {
  const simulator = new Simulator(1);
  const content = { rows: filled(3 * BLOCK_BYTES + 5), last: filled(7) };
  const manifest = await freeze(simulator.files(), DIRECTORY, content);
  const path = `${DIRECTORY}/${manifest.sections.find(({ name }) => name === "rows")!.file}`;
  for (const damagedBlock of [0, 1, 3]) {
    const bytes = simulator.image().get(path)!;
    bytes[damagedBlock * BLOCK_BYTES] ^= 4;
    for (const verify of ["lazy", "off"] as const) {
      const bundle = await openChanged(simulator.image(), path, bytes, verify);
      const region = createRegion([4 * BLOCK_BYTES]);
      await bundle.map(region, 0, "rows");
      for (const block of [0, 1, 2, 3]) {
        const read = () => region.read(0, block * BLOCK_BYTES, 1);
        if (verify === "lazy" && block === damagedBlock) expect(read).toThrow(HebbError);
        else expect(read()[0]).toBe(bytes[block * BLOCK_BYTES]);
      }
      await expect(bundle.verify()).rejects.toMatchObject({ code: "WITNESS_MISMATCH", details: { section: "rows" } });
      region.close();
    }
  }
});

test("damaged checksums are found on opening", async () => {
  const image = await smallImage();
  const [path, bytes] = [...image].find(([name]) => name.includes("checksums"))!;
  const changed = bytes.slice();
  changed[0] ^= 1;
  const details = { section: "checksums" };
  await expect(openChanged(image, path, changed, "lazy")).rejects.toMatchObject({ code: "WITNESS_MISMATCH", details });
  await (await openChanged(image, path, changed, "off")).close();
});

/** The small bundle's manifest as JSON, changed; with `resealed`, witness and seal say what they should. */
type Fields = { [key: string]: Json } & { sections: { [key: string]: Json }[] };
async function changedText(change: (fields: Fields) => void, resealed = false): Promise<string> {
  const fields = JSON.parse(Buffer.from((await smallImage()).get(MANIFEST)!).toString()) as Fields;
  change(fields);
  if (!resealed) return JSON.stringify(fields);
  const { parameters, generation, lineage, memoryClass, sections } = fields as unknown as Manifest;
  const { witness, seal } = sealManifest({ parameters, generation, lineage, memoryClass, sections, unknown: {} });
  return JSON.stringify({ ...fields, witness, seal });
}

describe("manifests", () => {
  test("whatever is changed is refused with a code, or changes nothing that counts", async () => {
    const text = await changedText(() => {});
    const original = parseManifest(text, MANIFEST);
    const json = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
    const key = fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "bytes", "toString", "unknown"));
    const step = fc.record({ place: fc.nat(), how: fc.constantFrom("replace", "remove", "add", "swap"), key, json });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 4 }), (steps) => {
        const root = JSON.parse(text);
        for (const { place, how, key: name, json: value } of steps) {
          const places: [parent: { [key: string]: Json }, key: string][] = [];
          const walk = (node: Json) => {
            if (typeof node !== "object" || node === null) return;
            for (const one of Object.keys(node)) {
              places.push([node as { [key: string]: Json }, one]);
              walk((node as { [key: string]: Json })[one]);
            }
          };
          walk(root);
          if (places.length === 0) break;
          const [parent, at] = places[place % places.length];
          const [other, from] = places[(place * 7) % places.length];
          const set = (to: string, what: Json) =>
            Object.defineProperty(parent, to, { value: what, enumerable: true, configurable: true, writable: true });
          if (how === "remove") delete parent[at];
          else if (how === "add") set(Array.isArray(parent) ? at : name, value);
          else set(at, how === "swap" ? JSON.parse(JSON.stringify(other[from] ?? null)) : value);
        }
        let parsed: Manifest;
        try {
          parsed = parseManifest(JSON.stringify(root), MANIFEST);
        } catch (error) {
          expect((error as HebbError).code, String(error)).toMatch(/^(BUNDLE_CORRUPT|NOT_A_BUNDLE|BUNDLE_VERSION)$/);
          return;
        }
        expect(meaning(parsed)).toBe(meaning(original));
        expect(parseManifest(formatManifest(parsed), MANIFEST)).toEqual(parsed);
      }),
      runs(2000),
    );
  });

  test("texts and bytes of any kind are refused with a code", () => {
    const texts = fc.oneof(fc.string(), fc.json(), fc.string({ unit: "binary" }), fc.uint8Array({ maxLength: 300 }));
    fc.assert(
      fc.property(texts, (text) => {
        expect(() => parseManifest(text, MANIFEST)).toThrow(HebbError);
      }),
      runs(1000),
    );
    for (const text of [
      "[".repeat(60_000),
      `{"format":"hebb-frozen","version":1,"a":${"[".repeat(40)}${"]".repeat(40)}}`,
    ]) {
      expect(() => parseManifest(text, MANIFEST)).toThrow("BUNDLE_CORRUPT");
    }
  });

  test("what a message names", async () => {
    const cases: [field: string, change: (fields: Fields) => void][] = [
      ["witness", (m) => (m.witness = "0".repeat(64))],
      ["witness", (m) => (m.witness = String(m.witness).toUpperCase())],
      ["seal", (m) => (m.seal = "0".repeat(64))],
      ["seal", (m) => (m.lineage = "another")],
      ["seal", (m) => (m.sections[0].file = "another.bin")],
      ["version", (m) => (m.version = 0)],
      ["version", (m) => (m.version = "1")],
      ["version", (m) => delete m.version],
      ["parameters", (m) => (m.parameters = [])],
      ["generation", (m) => (m.generation = -1)],
      ["generation", (m) => (m.generation = 2 ** 53)],
      ["lineage", (m) => delete m.lineage],
      ["lineage", (m) => (m.lineage = "x".repeat(4097))],
      ["parameters.a[1].b", (m) => (m.parameters = { a: [0, { b: "\ud800" }] })],
      ["memoryClass", (m) => (m.memoryClass = 3)],
      ["sections", (m) => (m.sections = {} as never)],
      ["sections", (m) => (m.sections = [])],
      ["sections", (m) => (m.sections = Array(65).fill(m.sections[0]))],
      ["sections[1]", (m) => (m.sections[1] = null as never)],
      ["sections[1].bytes", (m) => (m.sections[1].bytes = 0.5)],
      ["sections[1].bytes", (m) => (m.sections[1].bytes = -1)],
      ["sections[1].digest", (m) => (m.sections[1].digest = "0")],
      ["sections[1].more", (m) => (m.sections[1].more = "0")],
      ["sections[1].name", (m) => (m.sections[1].name = m.sections[0].name)],
      ["sections[1].file", (m) => (m.sections[1].file = m.sections[0].file)],
      ["bytes of section checksums", (m) => (m.sections.find(({ name }) => name === "rows")!.bytes = 2 ** 53 - 1)],
      ["bytes of section checksums", (m) => (m.sections = m.sections.filter(({ name }) => name !== "checksums"))],
    ];
    for (const [field, change] of cases) {
      const text = await changedText(change);
      expect(() => parseManifest(text, MANIFEST), field).toThrow(
        expect.objectContaining({ code: "BUNDLE_CORRUPT", details: { path: MANIFEST, field } }),
      );
    }
    const other = await changedText((m) => (m.format = "other"));
    expect(() => parseManifest(other, MANIFEST)).toThrow(expect.objectContaining({ code: "NOT_A_BUNDLE" }));
    const newer = await changedText((m) => (m.version = 2));
    expect(() => parseManifest(newer, MANIFEST)).toThrow(expect.objectContaining({ code: "BUNDLE_VERSION" }));
  });

  test("names of files that lie elsewhere, hide or deceive are refused, however well sealed", async () => {
    const hostile = [
      "",
      ".",
      "..",
      "../x",
      "/etc/passwd",
      "a/b",
      "a\\b",
      "C:x",
      "x\0",
      "x\n",
      "x\x7f",
      "x\u0085",
      ".new-x",
    ];
    for (const file of [...hostile, "manifest.json", "x".repeat(256), "é".repeat(128), "\ud800x", 7, null]) {
      const text = await changedText((m) => (m.sections[0].file = file), true);
      expect(() => parseManifest(text, MANIFEST), String(file)).toThrow(
        expect.objectContaining({ code: "BUNDLE_CORRUPT", details: { path: MANIFEST, field: "sections[0].file" } }),
      );
    }
    for (const name of ["", "A", "1a", "a_b", "a.b", "x".repeat(33), "__proto__", "é"]) {
      const text = await changedText((m) => (m.sections[0].name = name), true);
      expect(() => parseManifest(text, MANIFEST), name).toThrow("sections[0].name");
    }
    const fine = await changedText((m) => (m.sections[0].file = "überall, ok..bin"), true);
    expect(parseManifest(fine, MANIFEST).sections[0].file).toBe("überall, ok..bin");
  });

  test("a key twice is refused, at any depth; text that looks like keys is not", async () => {
    const text = await changedText((m) => (m.parameters = { a: '": "x":\\" :', b: { 'c":': 1 } }), true);
    expect(parseManifest(text, MANIFEST).parameters.a).toBe('": "x":\\" :');
    for (const [from, to] of [
      ['"version":1', '"version":1,"version":1'],
      ['"b":{', '"b":{"x":1,"\\u0078":1,'],
      ['"bytes":', '"bytes":1,"bytes":'],
    ]) {
      expect(text).toContain(from);
      expect(() => parseManifest(text.replace(from, to), MANIFEST)).toThrow("a key twice");
    }
  });

  test("sizes: 64 KiB in all, 4 KiB a string, on reading and on writing", async () => {
    const fits = { text: "x".repeat(4096), ["k".repeat(4096)]: 1 };
    const parameters = (more: { [key: string]: Json }) => (m: Fields) => (m.parameters = more);
    expect(parseManifest(await changedText(parameters(fits), true), MANIFEST).parameters).toEqual(fits);
    const text = await changedText(() => {});
    expect(parseManifest(text + " ".repeat((64 << 10) - text.length), MANIFEST).version).toBe(1);
    const image = await smallImage();
    const tooLong = Buffer.from(text + " ".repeat((64 << 10) + 1 - text.length));
    await expect(openChanged(image, MANIFEST, tooLong)).rejects.toThrow("more than 65536 bytes");

    const files = new Simulator(1).files();
    const much = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, "x".repeat(4000)]));
    const refused: [Json, string][] = [
      [{ a: { b: "é".repeat(2049) } }, "parameters.a.b has 4098 bytes"],
      [{ ["k".repeat(4097)]: 1 }, "key parameters.kkk"],
      [{ a: Number.NaN }, "parameters.a is NaN"],
      [much, "expected at most 65536"],
    ];
    for (const [wrong, message] of refused) {
      const frozen = freeze(files, DIRECTORY, SMALL, { parameters: wrong as Manifest["parameters"] });
      await expect(frozen).rejects.toThrow(message);
      await expect(frozen).rejects.toThrow(RangeError);
      expect(await files.list(DIRECTORY)).toEqual([]);
    }
  });

  test("__proto__ is a key like any other", async () => {
    const files = new Simulator(1).files();
    const parameters = JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":1}}');
    await freeze(files, DIRECTORY, SMALL, { parameters });
    const file = await files.open(MANIFEST, "write");
    const text = Buffer.from(await file.pread(1 << 16, 0)).toString();
    await file.pwrite(Buffer.from(text.replace("{", '{"__proto__":{"format":"other"},')), 0);
    await freeze(files, DIRECTORY, SMALL, { parameters });
    const { manifest } = await verified(files, DIRECTORY);
    expect(Object.keys(manifest.parameters)).toEqual(["__proto__", "constructor"]);
    expect(Object.keys(manifest.unknown)).toEqual(["__proto__"]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe("replacing", () => {
  test("who has the old bundle mapped keeps it; files that both name stay, the others go", async () => {
    for (const [files, directory] of [
      [diskFiles, join(scratch, "replaced")],
      [new Simulator(1).files(), DIRECTORY],
    ] as const) {
      const content = { rows: filled(2 * BLOCK_BYTES), state: filled(100) };
      const first = await freeze(files, directory, content);
      const old = await Bundle.open(files, directory, { verify: "lazy" });
      const region = createRegion([2 * BLOCK_BYTES]);
      await old.map(region, 0, "rows");
      const again = await freeze(files, directory, content);
      expect(again).toEqual(first);
      expect(await old.state()).toBe("up-to-date");
      const second = await freeze(files, directory, { ...content, rows: filled(5) });
      expect(second.witness).not.toBe(first.witness);
      expect(await old.state()).toBe("replaced");
      expect((await files.list(directory)).sort()).toEqual(namesOf(second));
      expect(Buffer.compare(region.read(0, 0, 2 * BLOCK_BYTES), content.rows)).toBe(0);
      expect(await contentOf(old)).toEqual(hexOf(content)); // its files are open still
      await old.close();
      expect(Buffer.compare(region.read(0, 0, 2 * BLOCK_BYTES), content.rows)).toBe(0);
      const gone = await errorOf(() => old.verify());
      expect(gone).toMatchObject({
        code: "BUNDLE_CORRUPT",
        details: { section: expect.stringMatching(/^(checksums|rows)$/) },
      });
      expect(gone.message).toContain("is gone, as after another freeze");
      expect(await freeze(files, directory, content)).toEqual(first);
      await old.verify(); // by name they are the same again
      expect(await old.state()).toBe("up-to-date");
      expect(Buffer.compare(region.read(0, 0, 2 * BLOCK_BYTES), content.rows)).toBe(0);
      region.close();
      await files.unlink(join(directory, "manifest.json"));
      expect(await old.state()).toBe("missing");
    }
  });

  test("the seal tells apart what the witness does not", async () => {
    const files = new Simulator(1).files();
    const first = await freeze(files, DIRECTORY, SMALL, { generation: "a" });
    const bundle = await Bundle.open(files, DIRECTORY, { verify: "lazy" });
    const second = await freeze(files, DIRECTORY, SMALL, { generation: "b" });
    expect(second.witness).toBe(first.witness);
    expect(await bundle.state()).toBe("replaced");
  });

  test("fields that this release does not know are carried over; those it knows are not", async () => {
    const files = new Simulator(1).files();
    await freeze(files, DIRECTORY, SMALL, { memoryClass: "deep" });
    const file = await files.open(MANIFEST, "write");
    const text = Buffer.from(await file.pread(1 << 16, 0)).toString();
    await file.pwrite(Buffer.from(text.replace("{", '{"later":{"x":[1]},"unknown":2,')), 0);
    await freeze(files, DIRECTORY, SMALL);
    const { manifest } = await verified(files, DIRECTORY);
    expect(manifest.unknown).toEqual({ later: { x: [1] }, unknown: 2 });
    expect(manifest.memoryClass).toBeUndefined();
  });

  test("a damaged bundle, one of a newer release, and what a freeze left are replaced", async () => {
    const image = await smallImage();
    const text = Buffer.from(image.get(MANIFEST)!).toString();
    const left = [`${DIRECTORY}/.new-rows-0123456789abcdef`, `${DIRECTORY}/rows-0123456789abcdef.bin`];
    for (const manifest of [
      text.slice(0, 60),
      text.replace('"version": 1', '"version": 9'),
      text.replace("rows", "Rows"),
      undefined,
    ]) {
      const changed = new Map(image);
      if (manifest === undefined) changed.delete(MANIFEST);
      else changed.set(MANIFEST, Buffer.from(manifest));
      for (const path of left) changed.set(path, Buffer.from("x"));
      const files = Simulator.from(changed, 1).files();
      const next = await freeze(files, DIRECTORY, { rows: filled(9) });
      expect((await verified(files, DIRECTORY)).content).toEqual(hexOf({ rows: filled(9) }));
      expect((await files.list(DIRECTORY)).sort()).toEqual(namesOf(next));
    }
  });

  test("a directory that holds something else is refused and left alone", async () => {
    const other = join(scratch, "other");
    const refuse = async (directory: string, name: string) => {
      const before = await readdir(directory);
      await expect(BundleWriter.open(diskFiles, directory)).rejects.toMatchObject({ code: "NOT_A_BUNDLE" });
      await expect(BundleWriter.open(diskFiles, directory)).rejects.toThrow(JSON.stringify(name));
      expect(await readdir(directory)).toEqual(before);
    };
    await mkdir(other);
    for (const [name, text] of [
      ["manifest.json", '{"name":"app"}'],
      ["manifest.json", ""],
      ["manifest.json", '{"x":{\n  "format": "hebb-frozen"}'],
      ["rows-0123456789abcdef.bin.old", ""],
      [".new-rows-xyz", ""],
    ]) {
      await writeFile(join(other, name), text);
      await refuse(other, name);
      await rm(join(other, name));
    }
    await symlink(join(scratch, "nowhere"), join(other, "manifest.json"));
    await refuse(other, "manifest.json");
    const live = join(scratch, "live");
    await (await Store.open(live, { create: IDENTITY, sections: SECTIONS })).close();
    await expect(BundleWriter.open(diskFiles, live)).rejects.toMatchObject({ code: "NOT_A_BUNDLE" });
    const file = join(scratch, "file");
    await writeFile(file, "mine");
    await expect(BundleWriter.open(diskFiles, file)).rejects.toMatchObject({ code: "NOT_A_BUNDLE" });
  });

  test("what lies beside a bundle stays", async () => {
    const directory = join(scratch, "beside");
    await freeze(diskFiles, directory, SMALL);
    await writeFile(join(directory, "README"), "mine");
    await freeze(diskFiles, directory, { rows: filled(9) });
    expect(await readFile(join(directory, "README"), "utf8")).toBe("mine");
  });
});

test("a directory has one freeze at a time, and no lock file", async () => {
  const missing = join(scratch, "deep", "locked");
  for (const [files, directory] of [
    [diskFiles, missing],
    [new Simulator(1).files(), DIRECTORY],
  ] as const) {
    const writer = await BundleWriter.open(files, directory);
    const second = BundleWriter.open(files, directory);
    await expect(second).rejects.toMatchObject({ code: "STORE_LOCKED" });
    await expect(second).rejects.toThrow("another freeze writes into");
    expect(await files.list(directory)).toEqual([]);
    await writer.abandon();
    await writer.abandon();
    await freeze(files, directory, SMALL);
    await (await BundleWriter.open(files, directory)).abandon();
    await verified(files, directory);
  }
});

test("an abandoned freeze leaves what was there, and nothing else", async () => {
  const content = { rows: filled(100), state: filled(5000) };
  const files = new Simulator(1).files();
  await freeze(files, DIRECTORY, content);
  const names = (await files.list(DIRECTORY)).sort();
  const writer = await BundleWriter.open(files, DIRECTORY);
  for (const [name, bytes] of Object.entries({ ...content, more: filled(70) })) {
    const sink = await writer.section(name, bytes.length);
    await sink.write(bytes);
    await sink.finish();
  }
  await (await writer.section("unfinished", 9)).write(filled(3));
  await writer.abandon();
  expect((await files.list(DIRECTORY)).sort()).toEqual(names);
  expect((await verified(files, DIRECTORY)).content).toEqual(hexOf(content));
});

test("mistakes of a caller are named", async () => {
  const files = new Simulator(1).files();
  const writer = await BundleWriter.open(files, DIRECTORY);
  for (const name of ["Rows", "", "a/b", "../x", "checksums", "x".repeat(33)]) {
    await expect(writer.section(name, 1)).rejects.toThrow(RangeError);
  }
  for (const bytes of [-1, 0.5, Number.NaN]) {
    await expect(writer.section("rows", bytes)).rejects.toThrow(`bytes of section rows is ${bytes}`);
  }
  const sink = await writer.section("rows", 4);
  await expect(writer.section("rows", 1)).rejects.toThrow(RangeError);
  await sink.write(filled(3));
  await expect(sink.write(filled(2))).rejects.toThrow("5 bytes written; expected 4");
  await expect(sink.finish()).rejects.toThrow("3 bytes written; expected 4");
  await expect(writer.publish({ parameters: {}, generation: 0, lineage: "" })).rejects.toThrow("rows is not");
  await writer.abandon();
  expect(await files.list(DIRECTORY)).toEqual([]);
  await freeze(files, DIRECTORY, SMALL);
  const bundle = await Bundle.open(files, DIRECTORY, { verify: "lazy" });
  expect(bundle.bytesOf("none")).toBeUndefined();
  await expect(bundle.read("none", 0, 1)).rejects.toThrow("it has a-b, checksums, rows, state");
  await expect(bundle.read("rows", 10, 4)).rejects.toThrow(RangeError);
  await expect(bundle.read("rows", -1, 1)).rejects.toThrow(RangeError);
});

test("paths that hold no bundle, and files that are no plain files", async () => {
  const open = (directory: string) => Bundle.open(diskFiles, directory, { verify: "eager" });
  await expect(open(join(scratch, "absent"))).rejects.toMatchObject({ code: "NOT_A_BUNDLE" });
  const directory = join(scratch, "plain");
  await mkdir(directory);
  await expect(open(directory)).rejects.toThrow("holds no manifest.json");
  const { sections } = await freeze(diskFiles, directory, SMALL);
  await expect(open(join(directory, "manifest.json"))).rejects.toMatchObject({ code: "NOT_A_BUNDLE" });
  const aside = join(scratch, "aside");
  for (const [name, code] of [
    ["manifest.json", "NOT_A_BUNDLE"],
    [sections[0].file, "BUNDLE_CORRUPT"],
  ]) {
    const path = join(directory, name);
    await rename(path, aside);
    await symlink(aside, path);
    await expect(open(directory)).rejects.toMatchObject({ code });
    await rm(path);
    await mkdir(path);
    await expect(open(directory)).rejects.toMatchObject({ code });
    await rm(path, { recursive: true });
    await link(aside, path); // a plain file under another name too
    await (await open(directory)).close();
    await rm(aside);
  }
  const linked = join(scratch, "linked");
  await symlink(directory, linked);
  await (await open(linked)).close();
  expect((await stat(linked)).isDirectory()).toBe(true);
});
