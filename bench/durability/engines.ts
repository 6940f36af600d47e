/** What rows are put into: Hebb, SQLite and LMDB, each so that an acknowledged row survives a power failure. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { open } from "../../src/index.js";
import { loadRival } from "../rivals.js";

export interface Engine {
  /** Acknowledges one row. */
  put(id: number, vector: Float32Array, payload: object): Promise<void>;
  /** Puts many, with one sync. */
  fill(vectors: Float32Array, dimensions: number): Promise<void>;
  /** One checkpoint, where there is such a thing that does not run by itself. */
  checkpoint?(): Promise<void>;
  close(): Promise<void>;
}

export const ENGINES = ["hebb", "sqlite", "lmdb"] as const;
export type EngineName = (typeof ENGINES)[number];

interface LmdbModule {
  open(options: object): {
    put(key: number, value: Buffer): Promise<boolean>;
    batch(task: () => void): Promise<boolean>;
    close(): Promise<void>;
  };
}

const bytesOf = (vector: Float32Array, payload: object): Buffer =>
  Buffer.concat([
    Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength),
    Buffer.from(JSON.stringify(payload)),
  ]);

/** @returns undefined where the engine is not installed */
export async function openEngine(name: EngineName, folder: string, dimensions: number): Promise<Engine | undefined> {
  if (name === "hebb") return openHebb(folder, dimensions);
  if (name === "sqlite") return openSqlite(folder);
  const lmdb = loadRival("lmdb")?.module as LmdbModule | undefined;
  return lmdb && openLmdb(lmdb, folder);
}

async function openHebb(folder: string, dimensions: number): Promise<Engine> {
  const index = await open(join(folder, "rows.hebb"), { dimensions, metric: "l2", durability: "sync" });
  return {
    put: (id, vector, payload) => index.put(id, vector, payload as { i: number }),
    async fill(vectors) {
      const ids = Array.from({ length: vectors.length / dimensions }, (_, i) => i);
      await index.putMany({ ids, vectors, payloads: ids.map((i) => ({ i })) });
      await index.settle();
      await index.checkpoint();
    },
    checkpoint: () => index.checkpoint(),
    close: () => index.close(),
  };
}

async function openSqlite(folder: string): Promise<Engine> {
  const db = new Database(join(folder, "rows.sqlite"));
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL"); // each commit syncs; checkpoints run by themselves, every 1,000 pages
  db.exec("CREATE TABLE row (id INTEGER PRIMARY KEY, vector BLOB NOT NULL, payload TEXT NOT NULL)");
  const insert = db.prepare("INSERT OR REPLACE INTO row VALUES (?, ?, ?)");
  const row = (id: number, vector: Float32Array, payload: object) =>
    insert.run(id, Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength), JSON.stringify(payload));
  // What is put in one turn of the event loop shares a transaction, as it does in the others.
  let waiting: { id: number; vector: Float32Array; payload: object; done: () => void }[] = [];
  const commit = db.transaction(() => {
    for (const { id, vector, payload } of waiting) row(id, vector, payload);
  });
  const flush = () => {
    commit();
    const group = waiting;
    waiting = [];
    for (const { done } of group) done();
  };
  return {
    put: (id, vector, payload) =>
      new Promise((done) => {
        if (waiting.length === 0) setImmediate(flush);
        waiting.push({ id, vector, payload, done });
      }),
    async fill(vectors, dimensions) {
      db.transaction(() => {
        for (let i = 0; i * dimensions < vectors.length; i++) {
          row(i, vectors.subarray(i * dimensions, (i + 1) * dimensions), { i });
        }
      })();
    },
    async close() {
      db.close();
    },
  };
}

function openLmdb(lmdb: LmdbModule, folder: string): Engine {
  // Without `overlappingSync` a put resolves only once it is on disk.
  const db = lmdb.open({
    path: join(folder, "rows.lmdb"),
    encoding: "binary",
    keyEncoding: "uint32",
    overlappingSync: false,
  });
  return {
    async put(id, vector, payload) {
      await db.put(id, bytesOf(vector, payload));
    },
    async fill(vectors, dimensions) {
      await db.batch(() => {
        for (let i = 0; i * dimensions < vectors.length; i++) {
          void db.put(i, bytesOf(vectors.subarray(i * dimensions, (i + 1) * dimensions), { i }));
        }
      });
    },
    close: () => db.close(),
  };
}
