// One step of the test of the package: its name, its time, and what went wrong.
import { execFile } from "node:child_process";

let done = 0;
let wrong = 0;
export const passed = () => done;
export const failed = () => wrong;

/** Runs and counts one step; what it returns is said beside its name. */
export async function step(name, work) {
  const start = performance.now();
  const took = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  try {
    const said = await work();
    done++;
    console.log(`ok   ${name} (${took()})${said ? `: ${said}` : ""}`);
  } catch (error) {
    wrong++;
    console.log(`FAIL ${name} (${took()})\n${String(error.message ?? error).replaceAll(/^/gm, "     ")}`);
  }
}

/** Throws with `message` unless `held`. */
export function expect(held, message) {
  if (!held) throw new Error(message);
}

/** Runs a program to its end; resolves to its status and output, whatever became of it. */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    execFile(command, args, { encoding: "utf8", maxBuffer: 1 << 26, ...options }, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
  });
}

/** The output of a program that has to succeed. */
export async function output(command, args, options) {
  const { status, stdout, stderr } = await run(command, args, options);
  expect(status === 0, `${command} ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}
