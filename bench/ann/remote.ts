/** The parent's side of protocol.ts. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { EngineName } from "./engine.js";
import type { RequestName, Requests } from "./protocol.js";

export class Remote {
  readonly name: EngineName;
  private readonly child: ChildProcess;

  constructor(name: EngineName) {
    this.name = name;
    this.child = fork(fileURLToPath(new URL("./process.js", import.meta.url)), {
      execArgv: ["--expose-gc"], // memory is read after a collection
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
        else reject(new Error(`${this.name}, ${name}: ${error}`));
      };
      const onExit = (code: number | null, signal: string | null) => {
        this.child.off("message", onMessage);
        reject(new Error(`${this.name}, ${name}: its process ended (${signal ?? `exit code ${code}`})`));
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
