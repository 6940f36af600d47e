/**
 * What a disk may hold after a crash in the middle of a recorded life: the trace (vfs/trace.ts) is played to the
 * simulated disk, which knows what a power failure can take, and what is left there becomes a directory again.
 */
import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Files, StoredFile } from "../../storage/files.js";
import { Simulator } from "../../storage/simulator.js";
import type { Entry } from "../vfs/trace.js";

/** Where the recorded directory lies on the simulated disk. */
const STORE = "/store";

/** A trace being played: the disk as it is after so many of its entries, with nothing lost yet. */
export class Player {
  private readonly simulator: Simulator;
  private readonly files: Files;
  private readonly opened = new Map<number, StoredFile>();
  /** Ends of syncs, by their numbers: how they went, and how to end those that have begun. */
  private readonly failed: Set<number>;
  private readonly syncs = new Map<number, { end: () => void; over: Promise<void> }>();
  private played = 0;

  /**
   * @param directory where the life was recorded
   * @param seed decides what failed syncs made durable
   * @param before the disk as the life found it
   */
  constructor(
    private readonly trace: readonly Entry[],
    private readonly directory: string,
    seed: number,
    before = new Simulator(seed),
  ) {
    this.simulator = before.clone(seed);
    this.files = this.simulator.files();
    this.failed = new Set(trace.filter(({ kind, flag }) => kind === "synced" && flag).map(({ file }) => file));
  }

  /**
   * The disk after the first `entries` of the trace, and after `part` of the next one where that is a write, for
   * whatever shall become of it. Moments must not go back.
   * @param seed decides what a power failure takes
   */
  async diskAt(entries: number, seed: number, part = 0): Promise<Simulator> {
    if (entries < this.played) throw new Error(`entry ${entries} is past: ${this.played} were played`);
    while (this.played < entries) await this.play(this.trace[this.played++]);
    const disk = this.simulator.clone(seed);
    const next = this.trace[entries];
    if (part > 0 && next?.kind === "write") {
      const file = await disk
        .files()
        .open(this.opened.get(next.file)!.path, "write")
        .catch(() => undefined);
      await file?.pwrite(next.bytes.subarray(0, Math.floor(next.bytes.length * part)), next.at);
    }
    return disk;
  }

  private async play({ kind, file, flag, at, path, bytes }: Entry): Promise<void> {
    const { files } = this;
    const target = this.opened.get(file)!;
    switch (kind) {
      case "open":
        this.opened.set(file, await files.open(this.place(path), flag ? "create" : "write"));
        break;
      case "write":
        await target.pwrite(bytes, at);
        break;
      case "truncate":
        await target.truncate(at);
        break;
      case "allocate":
        await target.allocate(0, at);
        break;
      case "sync":
        await this.begin(at, () => target.sync());
        break;
      case "syncDirectory":
        await this.begin(at, () => files.syncDirectory(this.place(path)));
        break;
      case "synced": {
        const sync = this.syncs.get(file);
        sync?.end();
        await sync?.over;
        break;
      }
      case "unlink":
        await files.unlink(this.place(path));
        break;
      case "rename":
        await files.rename(this.place(path), this.place(bytes.toString()));
        break;
      case "makeDirectory":
        await files.makeDirectory(this.place(path));
        break;
      case "note":
        break;
    }
  }

  private async begin(number: number, sync: () => Promise<void>): Promise<void> {
    const { simulator } = this;
    if (this.failed.has(number)) {
      simulator.onCall = () => "EIO";
      await sync().catch(() => {});
      simulator.onCall = undefined;
      return;
    }
    let end = () => {};
    const time = new Promise<void>((resolve) => {
      end = resolve;
    });
    simulator.syncTime = () => time;
    const over = sync();
    simulator.syncTime = undefined;
    this.syncs.set(number, { end, over });
  }

  private place(path: string): string {
    if (path.startsWith(this.directory)) return STORE + path.slice(this.directory.length);
    return "/"; // the directory's own, where its name is
  }
}

/** What lies on a simulated disk, in one number for equal contents. */
export function fingerprint(simulator: Simulator): string {
  const hash = createHash("sha1");
  for (const path of simulator.directories().sort()) hash.update(`${path}\n`);
  for (const [path, bytes] of [...simulator.image()].sort()) hash.update(`${path} ${bytes.length}\n`).update(bytes);
  return hash.digest("hex");
}

/** Puts the store on a simulated disk into a real directory, which is made. */
export function putOnDisk(simulator: Simulator, directory: string): void {
  const place = (path: string) => join(directory, path.slice(STORE.length));
  const isStore = (path: string) => path.startsWith(STORE);
  for (const path of simulator.directories().filter(isStore).sort()) mkdirSync(place(path), { recursive: true });
  for (const [path, bytes] of simulator.image()) {
    if (!isStore(path)) continue;
    const file = openSync(place(path), "w");
    ftruncateSync(file, bytes.length);
    // Most of index.hebb is zeros: they become holes, which take no time.
    for (let at = 0; at < bytes.length; at += PAGE.length) {
      const page = bytes.subarray(at, at + PAGE.length);
      if (!PAGE.subarray(0, page.length).equals(page)) writeSync(file, page, 0, page.length, at);
    }
    closeSync(file);
  }
}

const PAGE = Buffer.alloc(4096);
