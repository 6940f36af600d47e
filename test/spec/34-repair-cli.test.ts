/** `hebb check` and `hebb repair` on damaged stores: what they print, and how they exit. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it } from "vitest";
import { open } from "../../src/index.js";
import { hebb } from "../support/cli.js";
import { changeBytes, garble } from "../support/damage.js";
import { range } from "../support/tiers.js";

const folder = mkdtempSync(join(tmpdir(), "hebb-repair-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let store: string;
let next = 0;
beforeEach(async () => {
  store = join(folder, `store-${next++}.hebb`);
  const index = await open(store, { dimensions: 2, metric: "l2", durability: "off" });
  await index.putMany(range(40).map((id) => ({ id, vector: [id, 1], payload: { id } })));
  await index.settle();
  await index.close();
});

it("a sound store", async () => {
  expect(await hebb("check", store)).toMatchObject({ code: 0, err: "" });
  expect(await hebb("repair", store)).toMatchObject({
    code: 0,
    err: "",
    out: expect.stringMatching(/: nothing to repair \(/),
  });
  const { code, out } = await hebb("repair", store, "--json");
  expect({ code, report: JSON.parse(out) }).toEqual({
    code: 0,
    report: { ok: true, repaired: false, faults: [], rebuilt: [], lost: [] },
  });
});

it("damage to what is derived: check names it, repair makes it anew", async () => {
  garble(store, "rows", 0);
  const checked = await hebb("check", store);
  expect(checked).toMatchObject({ code: 1, err: "" });
  expect(checked.out).toMatch(
    /^INDEX_CORRUPT rows at \d+: section rows, block 0, offset \d+: checksum 0x\w+ stored, 0x\w+ computed\n/,
  );
  const { code, out, err } = await hebb("repair", store);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toMatch(
    /^INDEX_CORRUPT rows at .*\nmade anew: the graph's rows and lists, of 40 nodes\n.*: repaired \(.*\)\n$/,
  );
  expect((await hebb("check", store)).code).toBe(0);
});

it("a loss: nothing changes, and the exit code is 1, until it is accepted", async () => {
  garble(store, "vectors", 0);
  const told = await hebb("repair", store);
  expect(told).toMatchObject({ code: 1, err: "" });
  expect(told.out).toMatch(/would be lost: 40 rows: their vectors cannot be read.* \(id 0, 1, 2,.*, and 20 more\)\n/);
  expect(told.out).toMatch(/nothing was changed; --accept-loss drops what would be lost \(.*\)\n$/);
  expect((await hebb("check", store)).code).toBe(1);
  const { code, out } = await hebb("repair", store, "--accept-loss", "--json");
  const report = JSON.parse(out);
  expect({ code, report }).toMatchObject({
    code: 0,
    report: { ok: true, repaired: true, lost: [{ what: "rows", count: 40 }] },
  });
  expect(report.lost[0].ids).toEqual(range(40));
  expect((await hebb("check", store)).code).toBe(0);
});

it("a store that cannot be opened: check prints the fault with its code, repair what can be done", async () => {
  changeBytes(join(store, "index.hebb"), 0, 65_536, (byte, i) => (i % 32_768 < 8 ? byte : byte ^ 0x11));
  const checked = await hebb("check", store);
  expect(checked).toMatchObject({ code: 1, err: "" });
  expect(checked.out).toMatch(
    /^INDEX_CORRUPT index.hebb at 0: index.hebb: both meta slots are damaged .* \(the store cannot be opened\)\n.*: 1 fault \(/,
  );
  const { out } = await hebb("check", store, "--json");
  expect(JSON.parse(out)).toMatchObject({
    ok: false,
    faults: [{ code: "INDEX_CORRUPT", section: "index.hebb", offset: 0 }],
  });
  const repaired = await hebb("repair", store, "--accept-loss");
  expect(repaired).toMatchObject({ code: 1, out: "" });
  expect(repaired.err).toMatch(
    /^hebb: INDEX_CORRUPT: index.hebb: both meta slots.*Restore the whole store from a copy\n$/,
  );
});

it("without its catalog a store cannot be opened either", async () => {
  rmSync(join(store, "catalog.sqlite"));
  const { code, out } = await hebb("check", store);
  expect(code).toBe(1);
  expect(out).toMatch(/^CATALOG_CORRUPT catalog at 0: .*catalog.sqlite is missing.* \(the store cannot be opened\)\n/);
  expect((await hebb("repair", store)).out).toMatch(/would be lost: 40 payloads: /);
  expect((await hebb("repair", store, "--accept-loss")).code).toBe(0);
  expect((await hebb("check", store)).code).toBe(0);
});

it("no store, and wrong arguments", async () => {
  expect(await hebb("repair", join(folder, "nowhere"))).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringMatching(/^hebb: STORE_NOT_FOUND: /),
  });
  expect(await hebb("repair", store, "--accept")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^hebb: USAGE: unknown option '--accept'/),
  });
  expect((await hebb("repair", "--help")).out).toMatch(/--accept-loss/);
});
