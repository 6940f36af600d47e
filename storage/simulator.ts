/**
 * A disk in memory that fails on command, behind the same interface as the real one. Everything it
 * decides comes from one seed, so that every failure replays.
 *
 * - Kill (the process dies): everything written survives; a write under way may be cut short.
 * - Power failure: what was not synced may be lost, in part and in any order. Each sector (512 bytes
 *   or 4 KiB) of a file holds any one of the contents it had since its last sync, and so does the
 *   file's size, independently. A name not followed by `syncDirectory` may vanish or be the old one;
 *   a rename happens wholly or not at all.
 * - Error: a call fails with EIO or ENOSPC, having done any part of its work. A failed sync makes an
 *   arbitrary part durable and forgets the rest, as kernels do: a second sync would not bring it back.
 */
import { dirname } from "node:path";
import { HebbError } from "../base/errors.js";
import { Prng } from "../base/prng.js";
import { type Files, ioError, type Lock, lockedError, type OpenMode, type StoredFile } from "./files.js";

export type Operation =
  | "open"
  | "pread"
  | "pwrite"
  | "truncate"
  | "sync"
  | "allocate"
  | "rename"
  | "unlink"
  | "makeDirectory"
  | "syncDirectory";

/** A call about to happen. `number` counts the calls that can change something, from 1; reads do not count. */
export interface Call {
  number: number;
  operation: Operation;
  path: string;
}

/** What becomes of a call: undefined lets it happen. */
export type Verdict = undefined | "EIO" | "ENOSPC" | "kill";

/** Thrown by every call of a process that was killed. */
export class Killed extends Error {
  constructor() {
    super("the simulated process was killed");
    this.name = "Killed";
  }
}

type Change = { at: number; bytes: Uint8Array } | { size: number };

/** A file: what it holds now, what it surely held after a power failure, and the changes in between. */
class Inode {
  now = new Uint8Array(0);
  durable = new Uint8Array(0);
  pending: Change[] = [];
}

type Entry = Inode | "directory";

/** A change of names that happens wholly or not at all. */
interface Renaming {
  directory: string;
  changes: [path: string, entry: Entry | undefined][];
}

function applied(content: Uint8Array, change: Change): Uint8Array<ArrayBuffer> {
  const size = "size" in change ? change.size : Math.max(content.length, change.at + change.bytes.length);
  // A copy only where the size changes: sizes change rarely, contents often.
  const result = size === content.length ? (content as Uint8Array<ArrayBuffer>) : new Uint8Array(size);
  if (result !== content) result.set(content.subarray(0, size));
  if ("bytes" in change) result.set(change.bytes, change.at);
  return result;
}

export class Simulator {
  /** Decides what becomes of each call. */
  onCall: ((call: Call) => Verdict) | undefined;
  /** Calls so far that could change something. */
  calls = 0;
  /** Where given, a sync takes until this resolves, and covers what was there when it began. Else it takes no time. */
  syncTime: (() => Promise<void>) | undefined;

  private readonly prng: Prng;
  private process = 0;
  private names = new Map<string, Entry>([["/", "directory"]]);
  private durableNames = new Map<string, Entry>([["/", "directory"]]);
  private pendingNames: Renaming[] = [];
  private readonly locks = new Map<string, { mode: "exclusive" | "shared"; count: number }>();

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }

  /** The process dies. Its files stay as they are, what was not synced can still be lost by a later power failure. */
  kill(): void {
    this.process++;
    this.locks.clear();
  }

  /** The power fails: the process dies, and everything not synced is in doubt. */
  powerFailure(): void {
    this.kill();
    const lost = new Set<string>();
    for (const { changes } of this.pendingNames) {
      // Changes of the same name keep their order: one can only happen after the one before it did.
      if (changes.some(([path]) => lost.has(path)) || this.prng.below(2) === 0) {
        for (const [path] of changes) lost.add(path);
      } else {
        for (const [path, entry] of changes) set(this.durableNames, path, entry);
      }
    }
    this.pendingNames = [];
    for (const path of [...this.durableNames.keys()].sort()) {
      if (path !== "/" && this.durableNames.get(dirname(path)) !== "directory") this.durableNames.delete(path);
    }
    this.names = new Map(this.durableNames);
    for (const entry of this.names.values()) {
      if (entry === "directory") continue;
      entry.durable = this.survivor(entry);
      entry.now = entry.durable.slice();
      entry.pending = [];
    }
  }

  /** All files by path, for tests that damage or restore them. */
  image(): Map<string, Uint8Array> {
    const files = [...this.names].filter((pair): pair is [string, Inode] => pair[1] instanceof Inode);
    return new Map(files.map(([path, inode]) => [path, inode.now.slice()]));
  }

  /** All directories. */
  directories(): string[] {
    return [...this.names.keys()].filter((path) => this.names.get(path) === "directory");
  }

  /** As `powerFailure`, where nothing survives that was not synced: the least that can be left. */
  loseUnsynced(): void {
    this.pendingNames = [];
    for (const entry of this.durableNames.values()) {
      if (entry !== "directory") entry.pending = [];
    }
    this.powerFailure();
  }

  /** The same disk once more, for another future. */
  clone(seed: number): Simulator {
    const copies = new Map<Entry | undefined, Entry | undefined>([
      [undefined, undefined],
      ["directory", "directory"],
    ]);
    const copy = <T extends Entry | undefined>(entry: T): T => {
      if (!copies.has(entry)) {
        const { now, durable, pending } = entry as Inode;
        copies.set(
          entry,
          Object.assign(new Inode(), { now: now.slice(), durable: durable.slice(), pending: [...pending] }),
        );
      }
      return copies.get(entry) as T;
    };
    const names = (of: Map<string, Entry>) => new Map([...of].map(([path, entry]) => [path, copy(entry)]));
    const clone = new Simulator(seed);
    clone.names = names(this.names);
    clone.durableNames = names(this.durableNames);
    clone.pendingNames = this.pendingNames.map(({ directory, changes }) => ({
      directory,
      changes: changes.map(([path, entry]) => [path, copy(entry)]),
    }));
    return clone;
  }

  /** A new disk that durably holds these files (and their directories). */
  static from(image: Map<string, Uint8Array>, seed: number): Simulator {
    const simulator = new Simulator(seed);
    for (const [path, bytes] of image) {
      const inode = new Inode();
      inode.durable = bytes.slice();
      inode.now = bytes.slice();
      simulator.names.set(path, inode);
      for (let at = dirname(path); !simulator.names.has(at); at = dirname(at)) simulator.names.set(at, "directory");
    }
    simulator.durableNames = new Map(simulator.names);
    return simulator;
  }

  /** The file system as a process born now sees it. */
  files(): Files {
    const process = this.process;
    const step = <T>(operation: Operation, path: string, act: () => T, partly?: (verdict: Verdict) => void): T => {
      if (process !== this.process) throw new Killed();
      if (operation !== "pread") this.calls++;
      const verdict = this.onCall?.({ number: this.calls, operation, path });
      if (verdict === undefined) return act();
      partly?.(verdict);
      if (verdict === "kill") {
        this.kill();
        throw new Killed();
      }
      throw ioError(Object.assign(new Error(`simulated ${verdict}`), { code: verdict }), operation, path);
    };
    const entry = (path: string): Entry | undefined => this.names.get(path);
    const inode = (path: string, operation: string): Inode => {
      const found = entry(path);
      if (found instanceof Inode) return found;
      throw new HebbError("IO_ERROR", `${operation} ${path}: no such file`, { path, operation });
    };
    const rename = (directory: string, changes: Renaming["changes"]) => {
      for (const [path, to] of changes) set(this.names, path, to);
      this.pendingNames.push({ directory, changes });
    };
    const maybe = (act: () => void) => () => {
      if (this.prng.below(2) === 0) act();
    };

    const elapse = async () => {
      if (this.syncTime !== undefined) await this.syncTime();
      if (process !== this.process) throw new Killed();
    };

    const hold = (path: string, mode: "exclusive" | "shared"): Lock => {
      const lock = this.locks.get(path) ?? { mode, count: 0 };
      lock.count++;
      this.locks.set(path, lock);
      return {
        release: async () => {
          if (--lock.count === 0 && this.locks.get(path) === lock) this.locks.delete(path);
        },
      };
    };

    const open = async (path: string, mode: OpenMode): Promise<StoredFile> => {
      const create = mode === "create" && entry(path) === undefined;
      if (create) {
        if (entry(dirname(path)) !== "directory") throw new HebbError("IO_ERROR", `open ${path}: no such directory`);
        const make = () => rename(dirname(path), [[path, new Inode()]]);
        step("open", path, make, maybe(make));
      } else if (process !== this.process) {
        throw new Killed();
      }
      const file = inode(path, "open");
      const change = (...changes: Change[]) => {
        for (const one of changes) {
          file.now = applied(file.now, one);
          file.pending.push(one);
        }
      };
      const resize = (size: number) => () => change({ size });
      return {
        path,
        fd: -1,
        pwrite: async (bytes, at) => {
          const copy = Uint8Array.from(bytes);
          step(
            "pwrite",
            path,
            () => change({ at, bytes: copy }),
            () => change({ at, bytes: copy.subarray(0, this.prng.below(copy.length + 1)) }),
          );
        },
        pread: async (length, at) => step("pread", path, () => file.now.slice(at, at + length)),
        size: async () => file.now.length,
        truncate: async (length) => step("truncate", path, resize(length), maybe(resize(length))),
        allocate: async (offset, length) => {
          const grow = resize(Math.max(file.now.length, offset + length));
          step("allocate", path, grow, maybe(grow));
        },
        sync: async () => {
          const settle = (durable: Uint8Array<ArrayBuffer>, covered: number) => {
            file.durable = durable;
            file.pending = file.pending.slice(covered);
          };
          const last = file.pending.at(-1);
          const fail = (verdict: Verdict) => {
            if (verdict !== "kill") settle(this.survivor(file), file.pending.length);
          };
          step("sync", path, () => {}, fail);
          await elapse();
          // 0 where another sync, which began later and ended before, has covered it already.
          const covered = last === undefined ? 0 : file.pending.indexOf(last) + 1;
          settle(file.pending.slice(0, covered).reduce<Uint8Array<ArrayBuffer>>(applied, file.durable), covered);
        },
        close: async () => {},
      };
    };

    return {
      open,
      rename: async (from, to) => {
        const file = inode(from, "rename");
        const move = () =>
          rename(dirname(from), [
            [from, undefined],
            [to, file],
          ]);
        step("rename", from, move, maybe(move));
      },
      unlink: async (path) => {
        inode(path, "unlink");
        const remove = () => rename(dirname(path), [[path, undefined]]);
        step("unlink", path, remove, maybe(remove));
      },
      list: async (path) => {
        if (process !== this.process) throw new Killed();
        return [...this.names.keys()].filter((name) => name !== "/" && dirname(name) === path).map(basename);
      },
      makeDirectory: async (path) => {
        if (entry(path) !== undefined) return;
        const make = () => rename(dirname(path), [[path, "directory"]]);
        step("makeDirectory", path, make, maybe(make));
      },
      syncDirectory: async (path) => {
        const covered = this.pendingNames.filter((pending) => pending.directory === path);
        const settle = () => {
          for (const one of this.pendingNames.filter((pending) => covered.includes(pending))) {
            for (const [name, to] of one.changes) set(this.durableNames, name, to);
          }
          this.pendingNames = this.pendingNames.filter((pending) => !covered.includes(pending));
        };
        step("syncDirectory", path, () => {}, maybe(settle));
        await elapse();
        settle();
      },
      kind: async (path) => {
        if (process !== this.process) throw new Killed();
        const found = entry(path);
        return found instanceof Inode ? "file" : found;
      },
      lock: async (path, mode): Promise<Lock> => {
        await open(path, "create");
        const held = this.locks.get(path);
        if (held !== undefined && !(held.mode === "shared" && mode === "shared")) {
          throw lockedError(path, mode, held.mode === "exclusive" ? globalThis.process.pid : undefined);
        }
        return hold(path, mode);
      },
      lockDirectory: async (path, mode): Promise<Lock | undefined> => {
        if (process !== this.process) throw new Killed();
        if (entry(path) !== "directory") throw new HebbError("IO_ERROR", `lock directory ${path}: no such directory`);
        const held = this.locks.get(path);
        return held === undefined || (held.mode === "shared" && mode === "shared") ? hold(path, mode) : undefined;
      },
    };
  }

  /** What a file may hold after a power failure. */
  private survivor(inode: Inode): Uint8Array<ArrayBuffer> {
    const { pending } = inode;
    const all = pending.length;
    const sector = this.prng.below(2) === 0 ? 512 : 4096;
    const style = this.prng.below(4);
    const upTo = this.prng.below(all + 1);
    /** How many of the changes reached the disk, drawn anew for each sector. */
    const reached = [
      () => 0,
      () => all,
      () => Math.min(all, upTo + this.prng.below(2)), // in order, the last one torn
      () => this.prng.below(all + 1), // in any order
    ][style];
    let size = inode.durable.length;
    let longest = size;
    const sizes = [size];
    for (const change of pending) {
      size = "size" in change ? change.size : Math.max(size, change.at + change.bytes.length);
      sizes.push(size);
      longest = Math.max(longest, size);
    }
    const content = new Uint8Array(longest);
    content.set(inode.durable);
    const reachedOf = Array.from({ length: Math.ceil(longest / sector) }, reached);
    pending.forEach((change, index) => {
      const from = "size" in change ? change.size : change.at;
      const to = "size" in change ? longest : change.at + change.bytes.length;
      for (let at = from; at < to; ) {
        const number = Math.floor(at / sector);
        const end = Math.min(to, (number + 1) * sector);
        if (index < reachedOf[number]) {
          if ("size" in change) content.fill(0, at, end);
          else content.set(change.bytes.subarray(at - change.at, end - change.at), at);
        }
        at = end;
      }
    });
    return content.slice(0, sizes[reached()]);
  }
}

function set(names: Map<string, Entry>, path: string, entry: Entry | undefined): void {
  if (entry === undefined) names.delete(path);
  else names.set(path, entry);
}

function basename(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
