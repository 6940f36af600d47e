/**
 * Another process in which SIGBUS is not ours: `mapped`, SQLite's own mapping of a file that is cut under it; `sent`, a
 * signal that somebody sends. A store is open, so that the kernel's handler is there. Arguments: directory, which.
 */
import { truncateSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { open } from "../../dist/src/index.js";

const [directory, which] = process.argv.slice(2);
const index = await open(join(directory, "store"), { dimensions: 4, metric: "l2" });
await index.put(1, [1, 2, 3, 4]);
await index.close();
const again = await open(join(directory, "store")); // mapped from the file
again.search([1, 2, 3, 4], { k: 1 });
if (which === "sent") {
  process.kill(process.pid, "SIGBUS");
} else {
  const path = join(directory, "other.sqlite");
  const db = new Database(path);
  db.pragma("mmap_size = 268435456");
  db.exec("CREATE TABLE t (x BLOB)");
  const insert = db.prepare("INSERT INTO t VALUES (zeroblob(100000))");
  for (let i = 0; i < 100; i++) insert.run();
  for (const _ of db.prepare("SELECT x FROM t").iterate()) truncateSync(path, 4096); // cut within the first row's transaction
}
setTimeout(() => process.exit(42), 1000); // alive
