/** The child's side of open.ts: one bundle, opened once and asked once. Modules are loaded before it is told which. */
import { openFrozen } from "../../src/index.js";
import { answerRequests } from "../remote.js";
import { foundIn } from "./hits.js";

export interface Opened {
  /** Milliseconds from before `openFrozen` until it resolved, and until after the first result. */
  openMs: number;
  firstMs: number;
  rows: Int32Array;
}

export interface OpenRequests {
  open: [{ directory: string; verify: "lazy" | "off"; query: Float32Array; k: number }, Opened];
}

answerRequests<OpenRequests>({
  async open({ directory, verify, query, k }) {
    const start = performance.now();
    const frozen = await openFrozen(directory, { verify });
    const openMs = performance.now() - start;
    const hits = frozen.search(query, { k });
    const firstMs = performance.now() - start;
    await frozen.close();
    return { openMs, firstMs, rows: foundIn([hits], k).rows };
  },
});
