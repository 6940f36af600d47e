/** A process of its own that answers requests, one at a time; what they are, each bench's protocol says. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Requests by name: what goes out, what comes back. */
type Protocol<Requests> = { [Name in keyof Requests]: [unknown, unknown] };

export type Handlers<Requests extends Protocol<Requests>> = {
  [Name in keyof Requests]: (input: Requests[Name][0]) => Promise<Requests[Name][1]>;
};

export interface RemoteOptions {
  /** What tables and errors call it. */
  label?: string;
  /** Forces a kernel (`HEBB_KERNEL`). */
  kernel?: string;
  /** Processors it may use, where `taskset` is there; default: all. */
  processors?: number[];
}

/** The parent's side. */
export class RemoteProcess<Requests extends Protocol<Requests>> {
  readonly label: string;
  private readonly child: ChildProcess;

  constructor(script: URL, { label, kernel, processors }: RemoteOptions & { label: string }) {
    this.label = label;
    const node = ["--expose-gc"]; // memory is read after a collection
    this.child = fork(fileURLToPath(script), {
      ...(processors
        ? { execPath: "taskset", execArgv: ["-c", processors.join(","), process.execPath, ...node] }
        : { execArgv: node }),
      env: kernel === undefined ? process.env : { ...process.env, HEBB_KERNEL: kernel },
      serialization: "advanced", // typed arrays as they are
    });
  }

  /** One request at a time; rejects where the process fails or ends. */
  ask<Name extends keyof Requests & string>(
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

/** The child's side: answers what the parent asks until it is ended. */
export function answerRequests<Requests extends Protocol<Requests>>(handlers: Handlers<Requests>): void {
  process.on("message", ({ name, input }: { name: keyof Requests; input: never }) => {
    handlers[name](input).then(
      (output) => process.send!({ output }),
      (error: unknown) =>
        process.send!({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
}
