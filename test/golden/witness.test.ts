/**
 * Digests, witness and seal as docs/frozen-format.md has them: of fixed bytes, and against buffers put together by
 * hand. A change here is a new version of the format: bundles of the old one are out there.
 */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { Json } from "../../base/types.js";
import { sealManifest } from "../../storage/manifest.js";
import { canonicalJson, sealOf, sectionHasher, witnessOf } from "../../storage/witness.js";

const shake = (...parts: Uint8Array[]) =>
  createHash("shake256", { outputLength: 32 }).update(Buffer.concat(parts)).digest("hex");

/** Eight bytes of a length below 256. */
const length = (n: number) => Buffer.from([n, 0, 0, 0, 0, 0, 0, 0]);
const text = (n: number, value: string) => Buffer.concat([length(n), Buffer.from(value)]);

const SECTIONS = [
  { name: "rows", bytes: 3, digest: "0b".repeat(32) },
  { name: "b-2", bytes: 260, digest: "0a".repeat(32) },
];
const PARAMETERS = { z: [1, -0.5, true, null, "ä\n"], a: { c: 1e21, b: {} } };
const CANONICAL = '{"a":{"b":{},"c":1e+21},"z":[1,-0.5,true,null,"ä\\n"]}';

test("SHAKE-256 is the standard's", () => {
  expect(shake()).toBe("46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"); // FIPS 202, no input
});

test("a section's digest", () => {
  const digest = sectionHasher("rows", 3)
    .update(Buffer.from([7]))
    .update(Buffer.from([8, 9]))
    .digest("hex");
  expect(digest).toBe(shake(text(21, "hebb frozen section 1"), text(4, "rows"), length(3), Buffer.from([7, 8, 9])));
  expect(digest).toBe("f48a82c34be254d9796e586946d90919fa50c465dc22c4b909e586819564f35a");
  const empty = sectionHasher("rows", 0).digest("hex");
  expect(empty).toBe(shake(text(21, "hebb frozen section 1"), text(4, "rows"), length(0)));
});

test("canonical JSON", () => {
  expect(canonicalJson(PARAMETERS)).toBe(CANONICAL);
  expect(canonicalJson(JSON.parse('{"b":1,"__proto__":{"y":2,"x":1},"B":-0,"é":"\\ud800"}'))).toBe(
    '{"B":0,"__proto__":{"x":1,"y":2},"b":1,"é":"\\ud800"}',
  );
});

test("the witness, whatever the order of the sections", () => {
  const witness = witnessOf(PARAMETERS, SECTIONS);
  const json = Buffer.from(CANONICAL);
  const byHand = [
    text(21, "hebb frozen witness 1"),
    length(json.length),
    json,
    length(8),
    length(2),
    text(3, "b-2"),
    length(8),
    Buffer.from([4, 1, 0, 0, 0, 0, 0, 0]),
    length(32),
    Buffer.alloc(32, 0x0a),
    text(4, "rows"),
    length(8),
    length(3),
    length(32),
    Buffer.alloc(32, 0x0b),
  ];
  expect(witness).toBe(shake(...byHand));
  expect(witness).toBe("cb08e5063867c4cd1a7a56e5922d16460855523c30093145736996c42764014b");
  expect(witnessOf(PARAMETERS, [...SECTIONS].reverse())).toBe(witness);
});

test("the seal covers what this release knows, but for memoryClass", () => {
  const sections = [{ name: "checksums", file: "c.bin", bytes: 0, digest: "0c".repeat(32) }];
  const fields = { parameters: { a: 1 }, generation: 4, lineage: "one", sections };
  const { seal, witness } = sealManifest({ ...fields, unknown: {} });
  const file = `{"bytes":0,"digest":"${"0c".repeat(32)}","file":"c.bin","name":"checksums"}`;
  const rest = `"version":1,"witness":"${witness}"`;
  const json = `{"format":"hebb-frozen","generation":4,"lineage":"one","parameters":{"a":1},"sections":[${file}],${rest}}`;
  const bytes = Buffer.from(json);
  const count = Buffer.from([bytes.length % 256, bytes.length >> 8, 0, 0, 0, 0, 0, 0]);
  expect(seal).toBe(shake(text(22, "hebb frozen manifest 1"), count, bytes));
  expect(seal).toBe("5a19463a88bf3b09a89c7a46718e4af9ce9db57b92e420ba01289c643183ba14");
  expect(sealOf(JSON.parse(json))).toBe(seal);
  expect(sealManifest({ ...fields, memoryClass: "deep", unknown: { more: [1] as Json } }).seal).toBe(seal);
});
