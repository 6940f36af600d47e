/**
 * The real disk, with every call that changes something reported to the trace that SQLite's calls are in (vfs/trace.ts).
 * What takes no time on a disk takes effect at once here, so that it is recorded in the order in which it happened;
 * syncs take their time, and have two records. Calls can be made to fail as on the simulated disk.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, renameSync, unlinkSync } from "node:fs";
import { diskFiles, type Files, ioError, type StoredFile } from "../../storage/files.js";
import type { Call, Operation, Verdict } from "../../storage/simulator.js";
import { newFile, newSync, type Report, traced } from "../vfs/trace.js";

/** Up to here diskFiles writes before it returns; more is written in pieces. */
const PIECE_BYTES = 64 << 10;

export class TracedFiles {
  /** Decides what becomes of each call. */
  onCall: ((call: Call) => Exclude<Verdict, "kill">) | undefined;
  /** The share of its work that a failing call does. */
  failedPart = 0;
  /** Calls so far that change something. */
  calls = 0;

  readonly files: Files = {
    ...diskFiles,
    open: async (path, mode) => {
      const id = newFile();
      if (mode === "create" && (await diskFiles.kind(path)) === undefined) {
        const make = () => closeSync(openSync(path, "wx", 0o644));
        this.change("open", { kind: "open", path, file: id, flag: true }, whole(make));
      } else {
        traced(() => ({ kind: "open", path, file: id }));
      }
      return this.file(await diskFiles.open(path, mode === "create" ? "write" : mode), id);
    },
    rename: async (path, to) => {
      this.change(
        "rename",
        { kind: "rename", path, bytes: to },
        whole(() => renameSync(path, to)),
      );
    },
    unlink: async (path) => {
      this.change(
        "unlink",
        { kind: "unlink", path },
        whole(() => unlinkSync(path)),
      );
    },
    makeDirectory: async (path) => {
      if ((await diskFiles.kind(path)) !== undefined) return;
      this.change(
        "makeDirectory",
        { kind: "makeDirectory", path },
        whole(() => mkdirSync(path)),
      );
    },
    syncDirectory: (path) => this.sync("syncDirectory", { path }, () => diskFiles.syncDirectory(path)),
  };

  private file(file: StoredFile, id: number): StoredFile {
    const { path, fd } = file;
    const change = { path, file: id };
    return {
      path,
      fd,
      pread: (length, at) => file.pread(length, at),
      size: () => file.size(),
      close: () => file.close(),
      pwrite: async (given, start) => {
        const bytes = Buffer.from(given); // the caller's may change while pieces wait
        for (let done = 0; done < bytes.length; done += PIECE_BYTES) {
          const at = start + done;
          let written: Promise<void> | undefined;
          this.change("pwrite", { ...change, kind: "write", at }, (part) => {
            const all = bytes.subarray(done, done + PIECE_BYTES);
            const piece = all.subarray(0, Math.floor(all.length * part));
            written = file.pwrite(piece, at);
            return { bytes: piece };
          });
          await written;
        }
      },
      truncate: async (at) => {
        this.change(
          "truncate",
          { ...change, kind: "truncate", at },
          whole(() => ftruncateSync(fd, at)),
        );
      },
      allocate: async (offset, length) => {
        let allocated: Promise<void> | undefined;
        const allocate = () => {
          allocated = file.allocate(offset, length);
        };
        this.change("allocate", { ...change, kind: "allocate", at: offset + length }, whole(allocate));
        await allocated;
      },
      sync: () => this.sync("sync", change, () => file.sync()),
    };
  }

  /** A call that does its work before it returns. `act` says what is different in the record, nothing where none was done. */
  private change(operation: Operation, report: Report, act: (part: number) => Partial<Report> | undefined): void {
    const verdict = this.verdict(operation, report.path!);
    traced(() => {
      const done = act(verdict === undefined ? 1 : this.failedPart);
      return done && { ...report, ...done };
    });
    if (verdict !== undefined) throw failure(verdict, operation, report.path!);
  }

  private async sync(kind: "sync" | "syncDirectory", of: { path: string; file?: number }, act: () => Promise<void>) {
    const verdict = this.verdict(kind, of.path);
    const number = newSync();
    traced(() => ({ ...of, kind, at: number }));
    if (verdict === undefined) await act();
    traced(() => ({ kind: "synced", path: of.path, file: number, flag: verdict !== undefined }));
    if (verdict !== undefined) throw failure(verdict, kind, of.path);
  }

  private verdict(operation: Operation, path: string): Verdict {
    return this.onCall?.({ number: ++this.calls, operation, path });
  }
}

/** A call that is done wholly or not at all. */
const whole = (act: () => void) => (part: number) => {
  if (part < 0.5) return undefined;
  act();
  return {};
};

function failure(verdict: Verdict, operation: string, path: string): Error {
  return ioError(Object.assign(new Error(`${verdict}, as the test asked for`), { code: verdict }), operation, path);
}
