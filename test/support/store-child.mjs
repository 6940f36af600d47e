/**
 * Another process that uses a store. Arguments: what to do, and the directory.
 * `race`: opens and closes until it had the store so many times, and while it has it makes a file that nobody else may
 * have made; prints how often it tried.
 * `write`: puts until killed, and prints the LSN of each put once it is durable.
 */
import { closeSync, openSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { Store } from "../../dist/storage/store.js";

const [what, directory, rounds] = process.argv.slice(2);
const options = {
  create: { dimensions: 3, metric: "cosine", config: {} },
  sections: () => [{ kind: 1, name: "rows", stride: 8, reserveBytes: 1 << 20 }],
};

async function open() {
  const store = await Store.open(directory, options);
  for await (const { records } of store.replay()) for (const { lsn } of records) apply(store, lsn);
  return store;
}

function apply(store, lsn) {
  store.region.write(0, (lsn % 100_000) * 8, new Uint8Array(new Float64Array([lsn]).buffer));
}

if (what === "race") {
  let tries = 0;
  for (let wins = 0; wins < Number(rounds); tries++) {
    try {
      const store = await open();
      closeSync(openSync(join(directory, "..", "winner"), "wx")); // throws where someone else has the store too
      wins++;
      unlinkSync(join(directory, "..", "winner"));
      await store.close();
    } catch (error) {
      if (error.code !== "STORE_LOCKED") throw error;
      await new Promise((resolve) => setTimeout(resolve, 2 * Math.random()));
    }
  }
  console.log(tries);
} else {
  const store = await open();
  console.log(`open ${store.log.lastLsn}`);
  for (let n = 1; ; n++) {
    const { last } = await store.log.append([{ type: 1, payload: new Uint8Array(n % 3000) }]);
    await store.log.sync();
    apply(store, last);
    console.log(String(last));
    if (n % 20 === 0) await store.checkpoint(last);
  }
}
