/** The parent's side of protocol.ts. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { EngineName } from "./engine.js";
import type { RequestName, Requests } from "./protocol.js";

export interface RemoteOptions {
  /** What tables and errors call it; default: the engine's name. */
  label?: string;
  /** Forces a kernel (`HEBB_KERNEL`). */
  kernel?: string;
  /** Processors it may use, where `taskset` is there; default: all. */
  processors?: number[];
}

export class Remote {
  readonly engine: EngineName;
  readonly label: string;
  private readonly child: ChildProcess;

  constructor(engine: EngineName, { label = engine, kernel, processors }: RemoteOptions = {}) {
    this.engine = engine;
    this.label = label;
    const node = ["--expose-gc"]; // memory is read after a collection
    this.child = fork(fileURLToPath(new URL("./process.js", import.meta.url)), {
      ...(processors
        ? { execPath: "taskset", execArgv: ["-c", processors.join(","), process.execPath, ...node] }
        : { execArgv: node }),
      env: kernel === undefined ? process.env : { ...process.env, HEBB_KERNEL: kernel },
      serialization: "advanced", // typed arrays as they are
    });
  }

  /** One request at a time; rejects where the engine fails or its process ends. */
  ask<Name extends RequestName>(
    name: Name,
    ...input: Requests[Name][0] extends undefined ? [] : [Requests[Name][0]]
  ): Promise<Requests[Name][1]> {
    return new Promise((resolve, reject) => {
      const onMessage = ({ output, error }: { output: Requests[Name][1]; error?: string }) => {
        this.child.off("exit", onExit);
        if (error === undefined) resolve(output);
        else reject(new Error(`${this.label}, ${name}: ${error}`));
      };
      const onExit = (code: number | null, signal: string | null) => {
        this.child.off("message", onMessage);
        reject(new Error(`${this.label}, ${name}: its process ended (${signal ?? `exit code ${code}`})`));
      };
      this.child.once("message", onMessage);
      this.child.once("exit", onExit);
      this.child.send({ name, input: input[0] });
    });
  }

  /** Ends the process whatever it is doing. */
  end(): void {
    this.child.kill();
  }
}
