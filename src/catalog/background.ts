/** The main thread's side of worker.ts: tasks in, promises out. */
import { Worker } from "node:worker_threads";
import { type ErrorCode, HebbError } from "../../base/errors.js";

type Task = { task: "check" | "checkpoint" | "truncate" } | { task: "indexes"; indexes: string[] };
export type Request = Task & { id: number };
export type Reply =
  | { id: number; value: unknown; failure?: undefined }
  | { id: number; failure: { code?: ErrorCode; message: string; details?: Record<string, unknown> } };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Started with the first task; never keeps the process alive by itself once idle. */
export class Background {
  readonly #path: string;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #nextId = 1;

  constructor(path: string) {
    this.#path = path;
  }

  run(task: Task): Promise<unknown> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ ...task, id } satisfies Request);
    });
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  #start(): Worker {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: { path: this.#path },
      execArgv: [], // the program's own, such as --input-type, need not suit a worker
    });
    worker.on("message", (reply: Reply) => this.#settle(reply));
    worker.on("error", (error) => this.#fail(error));
    worker.on("exit", (code) => this.#fail(`it ended with code ${code}`));
    return worker;
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker?.unref();
    if (reply.failure === undefined) {
      waiting?.resolve(reply.value);
    } else {
      const { code, message, details } = reply.failure;
      waiting?.reject(code === undefined ? new Error(message) : new HebbError(code, message, details));
    }
  }

  #fail(cause: unknown): void {
    this.#worker = undefined;
    const error = new HebbError(
      "IO_ERROR",
      `catalog.sqlite: the background thread failed: ${String(cause)}`,
      {},
      cause,
    );
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
