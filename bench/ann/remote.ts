/** The parent's side of protocol.ts. */
import { type RemoteOptions, RemoteProcess } from "../remote.js";
import type { EngineName } from "./engine.js";
import type { Requests } from "./protocol.js";

export type { RemoteOptions } from "../remote.js";

export class Remote extends RemoteProcess<Requests> {
  readonly engine: EngineName;

  /** Called by the engine's name where nothing else is given. */
  constructor(engine: EngineName, { label = engine, ...options }: RemoteOptions = {}) {
    super(new URL("./process.js", import.meta.url), { label, ...options });
    this.engine = engine;
  }
}
