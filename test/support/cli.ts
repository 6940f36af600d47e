/** The command `hebb` in tests. */
import { vi } from "vitest";
import { run } from "../../src/cli/program.js";

export interface Said {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the command in this process: the same from the arguments to the exit code, without starting Node each time. */
export async function hebb(...args: string[]): Promise<Said> {
  const said: Said = { code: null, out: "", err: "" };
  const spies = (["out", "err"] as const).map((to) =>
    vi.spyOn(process[`std${to}`], "write").mockImplementation((text) => {
      said[to] += String(text);
      return true;
    }),
  );
  try {
    said.code = await run(args);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return said;
}
