/**
 * The order in which a store's files are written and synced, read off the calls themselves: under every durability no
 * commit of the catalog and no checkpoint holds more of the log than is durable, and the log is cut only where both
 * hold, durably, what goes. `HEBB_SEED=n` draws the same lives again.
 */
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import type { Durability } from "../../src/index.js";
import { lifeOf, live } from "../support/index-life.js";
import { memoryScratch } from "../support/rows.js";
import { long } from "../support/seed.js";
import { orderOf } from "../support/trace-order.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const path = memoryScratch();

test.each<Durability>(["sync", "interval", "off"])("no follower passes the durable log: %s", async (durability) => {
  const prng = new Prng(SEED);
  for (let i = 0; i < (long ? 40 : 1); i++) {
    const kinds = [...lifeOf(prng, 8), "bulk", "pause", "put", "checkpoint", "put", "reopen"] as const;
    const life = await live(path(`${durability}-${i}`), kinds, durability);
    const { commits, checkpoints, cuts } = await orderOf(life, (name) => path(`${durability}-${i}-${name}`));
    const replay = `HEBB_SEED=${SEED}, ${life.name}`;
    for (const { lsn, durable } of [...commits, ...checkpoints]) expect(lsn, replay).toBeLessThanOrEqual(durable);
    for (const { change, index, catalog } of cuts) {
      expect(change, replay).toBeLessThanOrEqual(Math.min(index, catalog));
    }
    // There was something to see.
    expect(commits.filter(({ lsn }) => lsn > 0).length, replay).toBeGreaterThan(1);
    expect(Math.min(checkpoints.length, cuts.length), replay).toBeGreaterThan(1);
  }
});
